// What a server says of builds for a Kubernetes cluster when it has nothing that could make and push them. No cluster is asked for that.
import { describe, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { readConfig } from "../../config.ts";
import type { BlobStore } from "../../blobs/store.ts";
import { silentLog } from "../../db/log.ts";
import { pathsOf } from "../../paths.ts";
import type { KubePlace } from "../places.ts";
import { openKubePlace } from "./place.ts";

const place: KubePlace = {
  kind: "kubernetes",
  cluster: "prod",
  connected: true,
  facts: {
    server: "https://127.0.0.1:1",
    context: "main",
    gateway: { namespace: "default", name: "public" },
    address: { host: "127.0.0.1", port: 1 },
  },
  access: { server: "https://127.0.0.1:1", auth: { kind: "token", token: "t" } },
};
const plan = {} as BuildPlan;

describe("builds for a cluster", () => {
  const registry = "registry.example.com/berth";
  const builder = { mode: "rootless", image: "buildkit", cacheGb: 0 } as const;

  it.each([
    [{}, undefined, "there is no registry to push to"],
    [{ registry }, undefined, "this server builds no images itself"],
    [{ registry }, builder, "this server has no buildctl, by which it would speak to the cluster's own builder"],
  ])("are refused before they start, with %j and the builder %j", async (given, own, missing) => {
    const config = { ...readConfig({ BERTH_HOME: "/nonexistent", PATH: "/nowhere" }), registry: undefined, ...given };
    const opened = openKubePlace(
      {
        config,
        paths: pathsOf(config.home, config.runDir),
        blobs: {} as BlobStore,
        installation: "i",
        logins: { find: () => Promise.resolve(undefined), readable: () => Promise.resolve([]) },
        log: silentLog,
        probeKey: Buffer.from("key"),
        pusher: undefined,
      },
      own === undefined ? place : { ...place, facts: { ...place.facts, builder: own } },
    );
    try {
      expect(await opened.builder.check(plan, "stack")).toMatchObject({
        code: "cluster_builder_missing",
        params: { cluster: "prod", missing },
      });
    } finally {
      await opened.close();
    }
  });
});
