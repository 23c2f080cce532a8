// What services are given. app.ts constructs it once; nothing here is reached for globally.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { BlobStore } from "../blobs/store.ts";
import type { Access } from "../db/permissions.ts";
import type { WantedHost } from "../core/hosts.ts";
import type { KubeFacts, WantedKube } from "../core/kube-clusters.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import type { TokenCheck } from "../db/tokens.ts";
import type { Views } from "../db/views.ts";
import type { Engine } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";

/** A cluster's two ports, by cluster name. */
export interface Places {
  engine(cluster: string): Engine;
  traffic(cluster: string): Traffic;
  /** The cluster of a stack for which nobody names one. */
  readonly standard: string;
  /** Whether this server drives it: then it has the keys of its secrets. */
  owns(cluster: string): boolean;
}

/** How a Docker host elsewhere or a Kubernetes cluster is doing. */
export interface PlaceState {
  readonly connected: boolean;
  /** Why it is not. */
  readonly reason?: string;
  readonly since: Date;
  /** Of a Docker host. */
  readonly edgeVersion?: string;
}

/** Docker hosts elsewhere and Kubernetes clusters, as this server reaches them. */
export interface AddedClusters {
  /** Whether the daemon can be used. Errors: `host_unusable`. */
  checkHost(host: WantedHost, signal: AbortSignal): Promise<void>;
  /** Whether the cluster can be used, and what it says of itself. Errors: `cluster_unusable`. */
  checkKube(wanted: WantedKube, signal: AbortSignal): Promise<KubeFacts>;
  /** The same of one that is known and is reached in another way from now on. `has`: it has stacks, so that it must be the same cluster. Errors: `cluster_unusable`. */
  checkRenewed(wanted: WantedKube, has: { readonly stacks: boolean }, signal: AbortSignal): Promise<KubeFacts>;
  /** Connects what was added, and lets go of what was removed. */
  refresh(): Promise<void>;
  /** undefined for what this server does not drive. */
  state(cluster: string): PlaceState | undefined;
  /** Takes off what Berth has put there for itself. Errors: `engine_unavailable` when it does not answer. */
  clear(cluster: string, signal: AbortSignal): Promise<void>;
}

export interface ResourceDeps {
  readonly db: Db;
  /** For what is asked for again and again. */
  readonly views: Views;
  readonly access: Access;
  readonly tokens: TokenCheck;
  readonly blobs: BlobStore;
  readonly secretBox: SecretBox;
  readonly places: Places;
  readonly addedClusters: AddedClusters;
  /** The installation's id. */
  readonly installation: () => string;
  /** What names of images begin with that this installation builds and pushes. */
  readonly registry?: string | undefined;
  readonly clock: () => Date;
  /** Whether an image that was built from the plan at that time stands on base images that were made anew since: then it is built again. */
  readonly isOnOldBases: (plan: BuildPlan, builtAt: Date) => boolean;
}
