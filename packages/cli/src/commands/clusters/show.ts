// `berth clusters show`
import type { ClusterBuilder } from "@berth/contract/resources/clusters.ts";
import { defineCommand, required } from "../../command.ts";
import { when } from "../../output/time.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["clusters", "show"],
  scope: "none",
  summary: "Show a cluster and what it can do",
  arguments: { cluster: required("its name") },
  examples: [["berth clusters show local", "engine, version, isolation and capabilities"]],
  async run(ctx, { arguments: { cluster: name } }) {
    const cluster = await (await ctx.api()).showCluster({ params: { cluster: name } }, { signal: ctx.signal });
    const state = cluster.host ?? cluster.kubernetes;
    showObject(ctx, cluster, [
      ["cluster", ctx.out.paint.bold(cluster.name)],
      ["called before", cluster.formerNames?.join(", ")],
      ["engine", cluster.engine],
      ["answers", cluster.reachable ? "yes" : "no"],
      ["version", cluster.version],
      ["isolation", cluster.isolation.join(", ") || "-"],
      ["stacks", `${String(cluster.stacks)}${cluster.drainingSince === undefined ? "" : ", and takes no new ones"}`],
      ["domain", cluster.domain],
      ["host", cluster.host?.endpoint],
      ["API", cluster.kubernetes?.server],
      ["context", cluster.kubernetes?.context],
      ["gateway", cluster.kubernetes && `${cluster.kubernetes.gateway} at ${cluster.kubernetes.address}`],
      ["builder", cluster.kubernetes?.builder && builderLine(cluster.kubernetes.builder)],
      ["connected", state && (state.connected ? `yes, since ${when(state.since ?? "")}` : `no: ${state.reason ?? "not yet"}`)],
      ["edge", cluster.host?.edgeVersion],
      ["created", when(cluster.createdAt)],
      [
        "can",
        Object.entries(cluster.capabilities)
          .filter(([, value]) => value === true)
          .map(([name_]) => name_)
          .join(", ") || undefined,
      ],
      [
        "cannot",
        Object.entries(cluster.capabilities)
          .filter(([, value]) => value === false)
          .map(([name_]) => name_)
          .join(", ") || undefined,
      ],
    ]);
  },
});

const builderLine = ({ mode, image, cacheGb }: ClusterBuilder): string =>
  `${mode}, ${image}, ${cacheGb === 0 ? "cache on its node" : `${String(cacheGb)} GB of cache`}`;
