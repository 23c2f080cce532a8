// What surrounds the components of a stack in a cluster: its namespace with the level of security that pods keep to, and who may open connections to them. Pure; `render` shows it.
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Workload } from "../engine.ts";
import { mark, namespaceOf } from "./names.ts";

/** Who leads users' requests to instances. Absent: whoever is in a namespace that is no stack of Berth. */
export interface Doors {
  /** Namespaces in which the gateway's own pods run. */
  readonly namespaces?: readonly string[];
  /** Where it is no pod, or one in its node's network: ranges of addresses it comes from, as in `10.0.0.0/24`. */
  readonly addresses?: readonly string[];
}

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
export type SecurityLevel = "baseline" | "privileged";
export const levelKey = "pod-security.kubernetes.io/enforce";

/** The pods that fill and read volumes need `baseline` too, so that no stack has less; what a component may ask for is decided before it comes here. */
export const levelFor = (profile: Workload["securityProfile"] | undefined): SecurityLevel =>
  profile === "privileged" ? "privileged" : "baseline";

/** `level`: undefined leaves the level to whoever else has set it. */
export function namespaceObject(
  installation: string,
  { ref, stackId }: Pick<Workload, "stackId"> & { readonly ref: Pick<Workload["ref"], "stack" | "namespace"> },
  level: SecurityLevel | undefined,
): KubeObject {
  const labels = {
    "app.kubernetes.io/managed-by": "berth",
    [mark.installation]: installation,
    [mark.stack]: ref.stack,
    [mark.stackId]: stackId,
  };
  const leveled = level === undefined ? { labels } : { labels: { ...labels, [levelKey]: level }, annotations: { [mark.level]: level } };
  return { apiVersion: apiVersionOf("Namespace"), kind: "Namespace", metadata: { name: namespaceOf(ref), ...leveled } };
}

/** The level that a namespace is to have, and `undefined` where it is not Berth's to say: somebody else has set or removed it. Never lowered: other components may need it. */
export function levelOf(found: KubeObject | undefined, wanted: SecurityLevel): SecurityLevel | undefined {
  const now = found?.metadata.labels?.[levelKey];
  const ours = found?.metadata.annotations?.[mark.level];
  if (now !== ours) return undefined;
  return now === "privileged" ? now : wanted;
}

/**
 * Connections come from the same stack and from where users are led in; the node of a pod, which probes it, may always (that is Kubernetes' own rule). Whom a pod opens
 * connections to is not limited. It holds where the cluster's network enforces policies.
 */
export function networkPolicyOf(
  installation: string,
  ref: Pick<Workload["ref"], "stack" | "namespace">,
  doors: Doors | undefined,
): KubeObject & { readonly spec: object } {
  const labels = {
    "app.kubernetes.io/managed-by": "berth",
    "app.kubernetes.io/part-of": ref.stack,
    [mark.installation]: installation,
    [mark.stack]: ref.stack,
  };
  return {
    apiVersion: apiVersionOf("NetworkPolicy"),
    kind: "NetworkPolicy",
    metadata: { namespace: namespaceOf(ref), name: "berth-stack", labels },
    spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [{ podSelector: {} }, ...peersOf(doors)] }] },
  };
}

function peersOf(doors: Doors | undefined): object[] {
  if (doors === undefined) return [{ namespaceSelector: { matchExpressions: [{ key: mark.stack, operator: "DoesNotExist" }] } }];
  const { namespaces = [], addresses = [] } = doors;
  return [
    ...namespaces.map((name) => ({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } } })),
    ...addresses.map((cidr) => ({ ipBlock: { cidr } })),
  ];
}
