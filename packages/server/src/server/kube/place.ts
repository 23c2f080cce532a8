// All that reaches a Kubernetes cluster: its engine, its gateway's traffic, and what builds for it. Each thread has its own; both keep nothing that matters.
import { cause } from "@berth/contract/causes.ts";
import type { Builder } from "../../builders/builder.ts";
import type { Config } from "../../config.ts";
import { KubernetesEngine } from "../../engines/kubernetes/engine.ts";
import { GatewayTraffic } from "../../engines/kubernetes/gateway-traffic.ts";
import type { Log } from "../../db/log.ts";
import type { KubePlace, OpenPlace } from "../places.ts";
import type { Logins } from "../registries.ts";
import { kubeApi } from "./access.ts";

export interface KubePlaceDeps {
  readonly config: Config;
  readonly installation: string;
  readonly logins: Logins;
  readonly log: Log;
  /** Signs what pins a probe. */
  readonly probeKey: Buffer;
  /** What builds images and pushes them; undefined: nothing does. */
  readonly pusher: Builder | undefined;
}

export function openKubePlace(deps: KubePlaceDeps, { cluster, facts, access }: KubePlace): OpenPlace {
  const { config, installation, logins, log, probeKey } = deps;
  const api = kubeApi(access, config);
  if (api === undefined) throw new Error(`cluster ${cluster} is reached from a pod, and this is none`);
  const engine = new KubernetesEngine({
    api,
    cluster,
    installation,
    registries: { find: logins.find, proxies: config.networkEnv },
    ...(config.images.os === undefined ? {} : { archiveImage: config.images.os }),
    onTrouble: (error) => log.warn({ cluster, error: error.message }, "a cluster told no changes for a moment"),
  });
  const { gateway, address: door } = facts;
  const traffic = new GatewayTraffic({ api, cluster, installation, pods: engine.pods, standing: engine.standing, gateway, door, probeKey });
  return {
    cluster,
    engine,
    traffic,
    builder: deps.pusher ?? withoutBuilder(cluster, config),
    async close() {
      await engine[Symbol.asyncDispose]();
      await api.close();
    },
  };
}

/** Refuses each build in words. */
function withoutBuilder(cluster: string, { registry }: Config): Builder {
  const missing = cause("cluster_builder_missing", {
    cluster,
    missing: registry === undefined ? "there is no registry to push to" : "this server builds no images itself",
  });
  return {
    kind: "image",
    check: () => Promise.resolve(missing),
    build: () => Promise.resolve({ ok: false, cause: missing }),
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
  };
}
