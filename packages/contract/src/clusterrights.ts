// The least rights that Berth needs in a Kubernetes cluster, as the objects that an administrator applies there. Pure data: the command line prints it, the chart installs it,
// and tests run the engine as that account. Each right is one that the engine asks for; a test fails for any other.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/

export interface RightsRule {
  readonly apiGroups: readonly [string];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels: Readonly<Record<string, string>> };
  readonly [more: string]: unknown;
}

/** Where Berth keeps what is of no stack. */
export const ownNamespace = "berth-system";
/** Where what builds images lives, apart from Berth and from every stack: no stack's namespace can have this name. */
export const builderNamespace = "berth--builder";
/** What reads across the cluster; bound once. */
export const clusterRole = "berth";
/** What writes in the namespace of a stack; bound in each namespace that Berth makes. Its binding has the same name. */
export const stackRole = "berth-stack";
/** On each namespace of a stack, and on no other: where `berth-stack` may be bound. */
export const stackLabel = "berth.stack";
/** What the API server says to who binds it elsewhere. */
export const boundElsewhere = "Berth binds its role only in namespaces that it made for a stack";

const rbac = "rbac.authorization.k8s.io";
const admission = "admissionregistration.k8s.io";

/** Across the cluster: what is found by labels, and the way to a namespace for a stack. No Secret is among it. */
export const clusterRules: readonly RightsRule[] = [
  { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["configmaps", "services"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["list"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  { apiGroups: ["gateway.networking.k8s.io"], resources: ["gateways"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes"], verbs: ["list", "watch"] },
  { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: ["list", "watch"] },
  { apiGroups: ["apps"], resources: ["deployments"], verbs: ["list", "watch"] },
  { apiGroups: ["batch"], resources: ["jobs"], verbs: ["list"] },
  { apiGroups: [""], resources: ["namespaces"], verbs: ["get", "create"] },
  { apiGroups: [rbac], resources: ["rolebindings"], resourceNames: [stackRole], verbs: ["create", "patch"] },
  { apiGroups: [rbac], resources: ["clusterroles"], resourceNames: [stackRole], verbs: ["bind"] },
];

/** In Berth's own namespace: the epoch of each installation. */
export const ownRules: readonly RightsRule[] = [
  { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "create", "update", "delete"] },
];

/** In the namespace of a stack. `namespaces` is that namespace itself. */
export const stackRules: readonly RightsRule[] = [
  { apiGroups: [""], resources: ["namespaces"], verbs: ["patch", "delete"] },
  { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "create", "patch", "delete"] },
  { apiGroups: ["batch"], resources: ["jobs"], verbs: ["get", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
  // A WebSocket is opened by a GET, which servers before 1.35 take for enough.
  { apiGroups: [""], resources: ["pods/exec", "pods/attach", "pods/portforward"], verbs: ["get", "create"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "create", "update", "patch", "delete"] },
  { apiGroups: [""], resources: ["secrets"], verbs: ["get", "list", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["default"], verbs: ["get", "patch"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["get", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["services"], verbs: ["create", "patch", "delete"] },
  { apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes"], verbs: ["create", "patch", "delete"] },
  { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["create", "patch"] },
  { apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: ["create", "patch", "delete"] },
  { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: ["create", "patch", "delete"] },
  { apiGroups: ["metrics.k8s.io"], resources: ["pods"], verbs: ["list"] },
];

/** In the namespace of builders, where one is wanted: to make it, and to speak to it. Its pods are found by the right to list them across the cluster. */
export const builderRules: readonly RightsRule[] = [
  { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "create", "patch", "delete"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["get", "create", "delete"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["create", "patch", "delete"] },
  { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["create", "patch", "delete"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
  { apiGroups: [""], resources: ["pods/exec"], verbs: ["get", "create"] },
];

/** In a namespace that others made, to look at what is in it and to make it a stack's: everything else comes with `berth-stack`, which Berth then binds there as in its own. */
export const importRules: readonly RightsRule[] = [
  { apiGroups: [""], resources: ["namespaces"], verbs: ["patch"] },
  { apiGroups: [""], resources: ["configmaps", "secrets"], verbs: ["get"] },
  { apiGroups: ["networking.k8s.io"], resources: ["ingresses"], verbs: ["list"] },
  { apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: ["list"] },
  { apiGroups: ["apps"], resources: ["statefulsets"], verbs: ["list"] },
  { apiGroups: ["batch"], resources: ["cronjobs"], verbs: ["list"] },
];

/** Pods that make namespaces of their own keep to no stricter level, rootless ones included: their system calls are not filtered. */
export const builderLevel = { "pod-security.kubernetes.io/enforce": "privileged" } as const;

const labels = { "app.kubernetes.io/name": "berth", "app.kubernetes.io/part-of": "berth" };

export interface RightsOf {
  /** Where the account lives. */
  readonly namespace: string;
  /** A ServiceAccount's name. */
  readonly account: string;
  /** Images are built in the cluster. */
  readonly builder?: boolean;
  /** Namespaces of others, which are to be imported. */
  readonly imports?: readonly string[];
}

/** In the order in which they are applied. */
export function clusterRights({ namespace, account, builder = false, imports = [] }: RightsOf): readonly Manifest[] {
  const subjects = [{ kind: "ServiceAccount", name: account, namespace }];
  const roleRef = (kind: "ClusterRole" | "Role", name: string) => ({ apiGroup: rbac, kind, name });
  const binding = `berth:${namespace}:${account}`;
  return [
    ...[...new Set([ownNamespace, namespace])].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } })),
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: account, namespace, labels } },
    { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name: clusterRole, labels }, rules: clusterRules },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: binding, labels },
      roleRef: roleRef("ClusterRole", clusterRole),
      subjects,
    },
    { apiVersion: `${rbac}/v1`, kind: "Role", metadata: { name: "berth", namespace: ownNamespace, labels }, rules: ownRules },
    {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata: { name: binding, namespace: ownNamespace, labels },
      roleRef: roleRef("Role", "berth"),
      subjects,
    },
    { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name: stackRole, labels }, rules: stackRules },
    ...bindingPolicy(namespace, account),
    ...(builder ? builderRights(binding, subjects) : []),
    ...imports.flatMap((name) => importRights(name, binding, subjects)),
  ];
}

function importRights(namespace: string, binding: string, subjects: readonly object[]): readonly Manifest[] {
  const role = "berth-import";
  return [
    { apiVersion: `${rbac}/v1`, kind: "Role", metadata: { name: role, namespace, labels }, rules: importRules },
    {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata: { name: `${binding}:import`, namespace, labels },
      roleRef: { apiGroup: rbac, kind: "Role", name: role },
      subjects,
    },
  ];
}

/** The namespace of builders is made here: the account could make it, and could not give itself rights in it. */
function builderRights(binding: string, subjects: readonly object[]): readonly Manifest[] {
  const role = "berth-builder";
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: builderNamespace, labels: { ...labels, ...builderLevel } } },
    { apiVersion: `${rbac}/v1`, kind: "Role", metadata: { name: role, namespace: builderNamespace, labels }, rules: builderRules },
    {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata: { name: binding, namespace: builderNamespace, labels },
      roleRef: { apiGroup: rbac, kind: "Role", name: role },
      subjects,
    },
  ];
}

/** What roles cannot say: where the account may bind `berth-stack`, and to whom. Without it, who has the account's token could bind it in any namespace. */
function bindingPolicy(namespace: string, account: string): readonly Manifest[] {
  const name = `${account}.${namespace}`;
  return [
    {
      apiVersion: `${admission}/v1`,
      kind: "ValidatingAdmissionPolicy",
      metadata: { name, labels },
      spec: {
        failurePolicy: "Fail",
        matchConstraints: {
          resourceRules: [{ apiGroups: [rbac], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["rolebindings"] }],
        },
        matchConditions: [{ name: "by-berth", expression: `request.userInfo.username == "system:serviceaccount:${namespace}:${account}"` }],
        validations: [
          {
            expression: `has(namespaceObject.metadata.labels) && "${stackLabel}" in namespaceObject.metadata.labels`,
            message: boundElsewhere,
          },
          {
            expression: `object.subjects.all(s, s.kind == "ServiceAccount" && s.name == "${account}" && s.namespace == "${namespace}")`,
            message: "Berth binds its role only to itself",
          },
        ],
      },
    },
    {
      apiVersion: `${admission}/v1`,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name, labels },
      spec: { policyName: name, validationActions: ["Deny"] },
    },
  ];
}

/** Two lines for a shell of whoever applied the objects: they leave `berth.kubeconfig`, which has the account's token and nobody else's. The token is good for a year, or for as long as the cluster gives one at most. */
export function kubeconfigLines({
  namespace,
  account,
}: {
  readonly namespace: string;
  readonly account: string;
}): readonly [string, string] {
  const draft = "kubectl --kubeconfig draft.kubeconfig config";
  return [
    `kubectl config view --raw --minify --flatten > draft.kubeconfig && ${draft} set-credentials berth --token="$(kubectl -n ${namespace} create token ${account} --duration=8760h)"`,
    `${draft} set-context --current --user=berth && ${draft} view --raw --minify --flatten > berth.kubeconfig; rm draft.kubeconfig`,
  ];
}
