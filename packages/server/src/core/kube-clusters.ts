// A Kubernetes cluster as somebody adds it: what its kubeconfig gives, and what has to be found out by asking it. Pure.
import type { ClusterBuilder, NewClusterBuilder, NewKubernetes } from "@berth/contract/resources/clusters.ts";
import type { HostFacts } from "./hosts.ts";
import { readKubeconfig, type ClusterAccess } from "./kubeconfig.ts";

/** A Kubernetes cluster, without what is secret of it. */
export interface KubeFacts {
  /** Of its API. */
  readonly server: string;
  /** The kubeconfig's context; `in-cluster` for the service account of the pod that Berth runs in. */
  readonly context: string;
  /** Where routes are attached. */
  readonly gateway: { readonly namespace: string; readonly name: string };
  /** Where the gateway takes requests, of users and of this server. */
  readonly address: { readonly host: string; readonly port: number };
  /** What builds its images there; absent: the server's own builder does. */
  readonly builder?: ClusterBuilder;
}

/** What a cluster that is not its server's own machine is. */
export type PlaceFacts = HostFacts | KubeFacts;

export const isKube = (facts: PlaceFacts): facts is KubeFacts => "gateway" in facts;

/** As whom the cluster is asked: as a kubeconfig says, or as the pod that this server is. */
export type KubeAccess = ClusterAccess | "in-cluster";

export interface WantedKube {
  readonly access: KubeAccess;
  readonly context: string;
  /** Absent: the only one that there is. */
  readonly gateway?: KubeFacts["gateway"];
  /** Absent: as the gateway's status says. */
  readonly address?: KubeFacts["address"];
  /** Absent: none is wanted. */
  readonly builder?: ClusterBuilder;
  readonly domain: string;
}

export interface KubeRefusal {
  readonly server: string;
  readonly reason: string;
  readonly hint: string;
}

const inCluster = "in-cluster";
/** Of BuildKit, as its makers publish it. */
const buildkitImage = "docker.io/moby/buildkit:v0.26.3";
const usualCacheGb = 20;

/** What was not said of a builder is what is usual. */
export const builderOf = ({ mode, image, cacheGb = usualCacheGb }: NewClusterBuilder): ClusterBuilder => ({
  mode,
  image: image ?? (mode === "rootless" ? `${buildkitImage}-rootless` : buildkitImage),
  cacheGb,
});

/** Nothing is asked yet: whether the cluster is there, and can be used, shows when somebody does. */
export function wantedKube(
  { kubeconfig, context, gateway, address, builder }: NewKubernetes,
  domain: string | undefined,
): { readonly wanted: WantedKube } | { readonly refusal: KubeRefusal } {
  let access: KubeAccess = inCluster;
  let named = inCluster;
  if (kubeconfig === undefined) {
    if (context !== undefined)
      return { refusal: { server: inCluster, reason: "a context belongs to a kubeconfig, and none was given", hint: "Give both." } };
  } else {
    const read = readKubeconfig(kubeconfig, { context });
    if ("refusal" in read) return { refusal: { server: "its kubeconfig", reason: read.refusal.reason, hint: read.refusal.hint } };
    ({ access, context: named } = read.config);
  }
  const server = access === inCluster ? inCluster : access.server;
  if (domain === undefined)
    return {
      refusal: {
        server,
        reason: "it has no domain, so that nobody could reach what runs there",
        hint: "Have a wildcard DNS name lead to its gateway (*.apps.example.com), and give --domain apps.example.com.",
      },
    };
  const where = gateway === undefined ? undefined : gatewayOf(gateway);
  const door = address === undefined ? undefined : addressOf(address);
  return {
    wanted: {
      access,
      context: named,
      domain,
      ...(where === undefined ? {} : { gateway: where }),
      ...(door === undefined ? {} : { address: door }),
      ...(builder === undefined ? {} : { builder: builderOf(builder) }),
    },
  };
}

/** `namespace/name`, as the contract's pattern has it. */
function gatewayOf(text: string): KubeFacts["gateway"] {
  const [namespace = "", name = ""] = text.split("/");
  return { namespace, name };
}

/** `host`, `host:port` or `[address]:port`; 80 without a port. */
export function addressOf(text: string): KubeFacts["address"] {
  const parts = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const bare = parts === null ? text : undefined;
  return { host: bare ?? parts?.[1] ?? parts?.[2] ?? "", port: Number(parts?.[3] ?? 80) };
}
