// The kinds of objects that Berth uses, and where a Kubernetes API has them. Pure; nothing here is asked of a cluster.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris

interface KindFacts {
  readonly apiVersion: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const namespaced = (apiVersion: string, plural: string): KindFacts => ({ apiVersion, plural, namespaced: true });
const clusterWide = (apiVersion: string, plural: string): KindFacts => ({ apiVersion, plural, namespaced: false });

const kinds = {
  Namespace: clusterWide("v1", "namespaces"),
  Node: clusterWide("v1", "nodes"),
  Pod: namespaced("v1", "pods"),
  Service: namespaced("v1", "services"),
  ConfigMap: namespaced("v1", "configmaps"),
  Secret: namespaced("v1", "secrets"),
  PersistentVolumeClaim: namespaced("v1", "persistentvolumeclaims"),
  ResourceQuota: namespaced("v1", "resourcequotas"),
  ServiceAccount: namespaced("v1", "serviceaccounts"),
  Event: namespaced("v1", "events"),
  Deployment: namespaced("apps/v1", "deployments"),
  StatefulSet: namespaced("apps/v1", "statefulsets"),
  ReplicaSet: namespaced("apps/v1", "replicasets"),
  Job: namespaced("batch/v1", "jobs"),
  CronJob: namespaced("batch/v1", "cronjobs"),
  EndpointSlice: namespaced("discovery.k8s.io/v1", "endpointslices"),
  Ingress: namespaced("networking.k8s.io/v1", "ingresses"),
  NetworkPolicy: namespaced("networking.k8s.io/v1", "networkpolicies"),
  HTTPRoute: namespaced("gateway.networking.k8s.io/v1", "httproutes"),
  Gateway: namespaced("gateway.networking.k8s.io/v1", "gateways"),
  HorizontalPodAutoscaler: namespaced("autoscaling/v2", "horizontalpodautoscalers"),
  PodDisruptionBudget: namespaced("policy/v1", "poddisruptionbudgets"),
  Role: namespaced("rbac.authorization.k8s.io/v1", "roles"),
  RoleBinding: namespaced("rbac.authorization.k8s.io/v1", "rolebindings"),
  StorageClass: clusterWide("storage.k8s.io/v1", "storageclasses"),
} as const satisfies Readonly<Record<string, KindFacts>>;

export type Kind = keyof typeof kinds;

export const allKinds = Object.keys(kinds) as readonly Kind[];

export function isKind(kind: string): kind is Kind {
  return Object.hasOwn(kinds, kind);
}

/** As an object of the kind has it, such as `apps/v1`. */
export function apiVersionOf(kind: Kind): string {
  return kinds[kind].apiVersion;
}

export function isNamespaced(kind: Kind): boolean {
  return kinds[kind].namespaced;
}

/**
 * The path of one object, or of the whole collection when `name` is left out; without `namespace` the collection is that of all namespaces.
 * Throws a TypeError for what can be no path: an object without its namespace, a namespace for a kind that has none, a name that would change the path.
 */
export function pathOf(kind: Kind, namespace?: string, name?: string, subresource?: string): string {
  const { apiVersion, plural, namespaced } = kinds[kind];
  const isCore = !apiVersion.includes("/");
  const parts = [isCore ? "api" : "apis", ...apiVersion.split("/")];
  if (namespace !== undefined) {
    if (!namespaced) throw new TypeError(`a ${kind} has no namespace`);
    parts.push("namespaces", segment(namespace));
  } else if (namespaced && name !== undefined) throw new TypeError(`the ${kind} ${name} needs its namespace`);
  parts.push(plural);
  if (name !== undefined) parts.push(segment(name));
  if (subresource !== undefined) {
    if (name === undefined) throw new TypeError(`${subresource} is a part of one object: a name is needed`);
    parts.push(segment(subresource));
  }
  return `/${parts.join("/")}`;
}

/** What the API itself refuses as a name (IsValidPathSegmentName) is refused before it can lead elsewhere. */
function segment(name: string): string {
  if (name === "" || name === "." || name === ".." || /[/%?#\\]/.test(name)) throw new TypeError(`${JSON.stringify(name)} can be no name`);
  return encodeURIComponent(name);
}
