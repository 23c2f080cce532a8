// What a server says of builds for a Kubernetes cluster when it has nothing that could make and push them. No cluster is asked for that.
import { describe, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { readConfig } from "../../config.ts";
import { silentLog } from "../../db/log.ts";
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
  it.each([
    [{}, "there is no registry to push to"],
    [{ BERTH_REGISTRY: "registry.example.com/berth" }, "this server builds no images itself"],
  ])("are refused before they start, with %j", async (env, missing) => {
    const opened = openKubePlace(
      {
        config: { ...readConfig({ BERTH_HOME: "/nonexistent" }), registry: Object.values(env)[0] },
        installation: "i",
        logins: { find: () => Promise.resolve(undefined), readable: () => Promise.resolve([]) },
        log: silentLog,
        probeKey: Buffer.from("key"),
        pusher: undefined,
      },
      place,
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
