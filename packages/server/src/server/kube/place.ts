// All that reaches a Kubernetes cluster: its engine, its gateway's traffic, and what builds for it. Each thread has its own; both keep nothing that matters.
import { cause } from "@berth/contract/causes.ts";
import type { BlobStore } from "../../blobs/store.ts";
import type { Builder } from "../../builders/builder.ts";
import type { Config } from "../../config.ts";
import { KubernetesEngine } from "../../engines/kubernetes/engine.ts";
import { GatewayTraffic } from "../../engines/kubernetes/gateway-traffic.ts";
import type { Log } from "../../db/log.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import type { Paths } from "../../paths.ts";
import type { KubePlace, OpenPlace } from "../places.ts";
import type { Logins } from "../registries.ts";
import { kubeApi } from "./access.ts";
import { openKubeBuilder, type KubeBuilder } from "./builder.ts";

export interface KubePlaceDeps {
  readonly config: Config;
  readonly paths: Paths;
  readonly blobs: BlobStore;
  readonly installation: string;
  readonly logins: Logins;
  readonly log: Log;
  /** Signs what pins a probe. */
  readonly probeKey: Buffer;
  /** What builds images and pushes them, for clusters that have no builder of their own; undefined: nothing does. */
  readonly pusher: Builder | undefined;
}

export function openKubePlace(deps: KubePlaceDeps, { cluster, facts, access }: KubePlace): OpenPlace {
  const { config, installation, logins, log, probeKey } = deps;
  const api = kubeApi(access, config);
  if (api === undefined) throw new Error(`cluster ${cluster} is reached from a pod, and this is none`);
  const onTrouble = (error: Error): void => log.warn({ cluster, error: error.message }, "a cluster told no changes for a moment");
  const engine = new KubernetesEngine({
    api,
    cluster,
    installation,
    registries: { find: logins.find, proxies: config.networkEnv },
    ...(config.images.os === undefined ? {} : { archiveImage: config.images.os }),
    onTrouble,
  });
  const { gateway, address: door } = facts;
  const traffic = new GatewayTraffic({ api, cluster, installation, pods: engine.pods, gateway, door, probeKey, onTrouble });
  const own = ownBuilder(deps, cluster, facts, api);
  return {
    cluster,
    engine,
    traffic,
    builder: own ?? deps.pusher ?? withoutBuilder(cluster, config, facts),
    async close() {
      await own?.close();
      await traffic[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await api.close();
    },
  };
}

/** undefined: it has none, or this server lacks what it takes to use it. */
function ownBuilder(deps: KubePlaceDeps, cluster: string, { builder }: KubePlace["facts"], api: KubeApi): KubeBuilder | undefined {
  const { config, log } = deps;
  const program = config.buildctl;
  if (builder === undefined || config.registry === undefined || program === undefined) return undefined;
  return openKubeBuilder(deps, { api, cluster, builder, program, log });
}

/** Refuses each build in words. */
function withoutBuilder(cluster: string, { registry }: Config, { builder }: KubePlace["facts"]): Builder {
  const missing = cause("cluster_builder_missing", {
    cluster,
    missing:
      registry === undefined
        ? "there is no registry to push to"
        : builder === undefined
          ? "this server builds no images itself"
          : "this server has no buildctl, by which it would speak to the cluster's own builder",
  });
  return {
    kind: "image",
    check: () => Promise.resolve(missing),
    build: () => Promise.resolve({ ok: false, cause: missing }),
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
  };
}
