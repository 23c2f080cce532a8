// What a cluster's own builder is made of: one BuildKit in a namespace apart from Berth and from every stack, its cache, and who may connect to it, which is nobody. Pure.
import { builderLevel, builderNamespace } from "@berth/contract/clusterrights.ts";
import type { ClusterBuilder } from "@berth/contract/resources/clusters.ts";
import { digest, mark } from "../../engines/kubernetes/names.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";

export interface BuilderOrder {
  readonly installation: string;
  readonly builder: ClusterBuilder;
  /** Bytes that its pod may use, builds included. */
  readonly memory: number;
  /** Registries that are asked without TLS. */
  readonly plainHttp: readonly string[];
}

type Made = KubeObject & { readonly spec: object };

export interface BuilderObjects {
  readonly namespace: KubeObject;
  readonly config: KubeObject & { readonly data: Readonly<Record<string, string>> };
  /** Absent: the cache is on the pod's node. */
  readonly claim: Made | undefined;
  readonly policy: Made;
  readonly deployment: Made;
  /** Its pods, of any revision. */
  readonly selector: string;
  /** Of what its pod is made of, as a label of the pod. */
  readonly revision: string;
}

export const builderContainer = "buildkitd";
const builderLabel = "berth.builder";
/** GB of cache on a node's own disk. */
const cacheOnNode = 10;

/** As one of them finds its files and its socket: https://github.com/moby/buildkit/tree/v0.26.3/examples/kubernetes */
const modes = {
  rootless: {
    // The volume is a folder above BuildKit's own: that one gets modes of which the kubelet would otherwise take care again at each start, file by file.
    volume: "/home/user/.local/share",
    root: "/home/user/.local/share/buildkit",
    socket: "unix:///run/user/1000/buildkit/buildkitd.sock",
    // Namespaces of its own are all that it makes; those of processes would need a /proc that no pod is given.
    args: ["--oci-worker-no-process-sandbox"],
    container: {
      runAsUser: 1000,
      runAsGroup: 1000,
      privileged: false,
      // Both keep whoever is not root from making namespaces.
      seccompProfile: { type: "Unconfined" },
      appArmorProfile: { type: "Unconfined" },
    },
    pod: { fsGroup: 1000, fsGroupChangePolicy: "OnRootMismatch" },
  },
  privileged: {
    volume: "/var/lib/buildkit",
    root: "/var/lib/buildkit",
    socket: "unix:///run/buildkit/buildkitd.sock",
    args: [],
    container: { privileged: true },
    pod: {},
  },
} as const;

/** Several installations may have one in the same cluster. */
export const builderName = (installation: string): string => `builder-${digest(installation).slice(0, 8)}`;

export const builderSelector = (installation: string): string => `${builderLabel}=${builderName(installation)}`;

export function builderObjects(order: BuilderOrder): BuilderObjects {
  const { installation, builder, memory } = order;
  const name = builderName(installation);
  const labels = { "app.kubernetes.io/managed-by": "berth", "app.kubernetes.io/name": "berth-builder", [builderLabel]: name };
  const metadata = { namespace: builderNamespace, name, labels, annotations: { [mark.installation]: installation } };
  const text = configText(order);
  const { container, pod, volume, args, socket } = modes[builder.mode];
  const probe = { exec: { command: ["buildctl", "debug", "workers"] }, timeoutSeconds: 10 };
  const spec = {
    terminationGracePeriodSeconds: 5,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: pod,
    containers: [
      {
        name: builderContainer,
        image: builder.image,
        args: ["--config", "/etc/berth/buildkitd.toml", ...args],
        // For the client beside it, by which it is asked and reached.
        env: [{ name: "BUILDKIT_HOST", value: socket }],
        startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 120 },
        readinessProbe: { ...probe, periodSeconds: 10 },
        livenessProbe: { ...probe, periodSeconds: 30, failureThreshold: 4 },
        // Why it ends is told by its last words where it says nothing else.
        terminationMessagePolicy: "FallbackToLogsOnError",
        resources: { requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: String(memory) } },
        securityContext: container,
        volumeMounts: [
          { name: "cache", mountPath: volume },
          { name: "config", mountPath: "/etc/berth", readOnly: true },
        ],
      },
    ],
    volumes: [
      {
        name: "cache",
        ...(builder.cacheGb === 0
          ? { emptyDir: { sizeLimit: `${String(2 * cacheOnNode)}G` } }
          : { persistentVolumeClaim: { claimName: name } }),
      },
      { name: "config", configMap: { name } },
    ],
  };
  const revision = digest(JSON.stringify([spec, text]));
  return {
    namespace: {
      apiVersion: apiVersionOf("Namespace"),
      kind: "Namespace",
      metadata: { name: builderNamespace, labels: { "app.kubernetes.io/managed-by": "berth", ...builderLevel } },
    },
    config: { apiVersion: apiVersionOf("ConfigMap"), kind: "ConfigMap", metadata, data: { "buildkitd.toml": text } },
    claim:
      builder.cacheGb === 0
        ? undefined
        : {
            apiVersion: apiVersionOf("PersistentVolumeClaim"),
            kind: "PersistentVolumeClaim",
            metadata,
            spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: `${String(builder.cacheGb)}G` } } },
          },
    policy: {
      apiVersion: apiVersionOf("NetworkPolicy"),
      kind: "NetworkPolicy",
      metadata,
      spec: {
        podSelector: { matchLabels: { [builderLabel]: name } },
        policyTypes: ["Ingress", "Egress"],
        ingress: [],
        egress: [
          {
            ports: [
              { port: 53, protocol: "UDP" },
              { port: 53, protocol: "TCP" },
            ],
          },
          { to: outside },
        ],
      },
    },
    deployment: {
      apiVersion: apiVersionOf("Deployment"),
      kind: "Deployment",
      metadata,
      spec: {
        replicas: 1,
        revisionHistoryLimit: 0,
        // One cache is one BuildKit's.
        strategy: { type: "Recreate" },
        selector: { matchLabels: { [builderLabel]: name } },
        template: { metadata: { labels: { ...labels, [mark.revision]: revision } }, spec },
      },
    },
    selector: builderSelector(installation),
    revision,
  };
}

/** Whatever builds fetch and push, pods of the cluster included; only not what tells a machine of a cloud its node's own credentials. */
const outside = [
  { ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] } },
  { ipBlock: { cidr: "::/0", except: ["fe80::/10", "fd00:ec2::254/128"] } },
  { namespaceSelector: {} },
];

/** https://github.com/moby/buildkit/blob/v0.26.3/docs/buildkitd.toml.md; what JSON writes of a name is a string of TOML too. */
function configText({ builder, plainHttp }: BuilderOrder): string {
  const bytes = (builder.cacheGb === 0 ? cacheOnNode : builder.cacheGb * 0.8) * 1e9;
  return [
    `root = ${JSON.stringify(modes[builder.mode].root)}`,
    "[worker.containerd]",
    "enabled = false",
    "[worker.oci]",
    "enabled = true",
    "gc = true",
    `maxUsedSpace = ${String(Math.floor(bytes))}`,
    ...plainHttp.toSorted().flatMap((host) => [`[registry.${JSON.stringify(host)}]`, "http = true"]),
    "",
  ].join("\n");
}
