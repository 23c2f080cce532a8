// Berth's rights in the namespace of a stack: where its account has only what `berth clusters rbac` prints, it binds its role there to itself. Who may do everything anyway gets no
// binding. What is missing is told by the call that misses it (`cluster_rights_missing`).
import { setTimeout as sleep } from "node:timers/promises";
import { boundElsewhere, stackRole } from "@berth/contract/clusterrights.ts";
import type { KubeApi, Sendable } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";

/** ms that API servers may take to hear of a new binding, or of whose a namespace is. */
const patience = 10_000;
const pause = 20;
const group = "rbac.authorization.k8s.io";

/** Resolves when the cluster grants them, or when that takes too long. Errors: as of KubeApi.request. */
export async function ensureRights(api: KubeApi, namespace: string, signal: AbortSignal): Promise<void> {
  if (await mayDeploy(api, namespace, signal)) return;
  const binding = {
    apiVersion: apiVersionOf("RoleBinding"),
    kind: "RoleBinding",
    metadata: { namespace, name: stackRole, labels: { "app.kubernetes.io/managed-by": "berth" } },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: stackRole },
    subjects: [subjectOf(await ownName(api, signal))],
  };
  await bind(api, binding, signal);
  for (const end = performance.now() + patience; performance.now() < end; await sleep(pause, undefined, { signal }))
    if (await mayDeploy(api, namespace, signal)) return;
}

/** The namespace is a stack's since a moment ago: an API server that has not heard of it takes it for another's. */
async function bind(api: KubeApi, binding: Sendable, signal: AbortSignal): Promise<void> {
  for (const end = performance.now() + patience; ; await sleep(pause, undefined, { signal })) {
    try {
      await api.apply(binding, { force: true, signal });
      return;
    } catch (error) {
      if (!(error instanceof KubeError) || !error.message.includes(boundElsewhere) || performance.now() > end) throw error;
    }
  }
}

/** A right that only the role of stacks has, and whoever may do more. */
async function mayDeploy(api: KubeApi, namespace: string, signal: AbortSignal): Promise<boolean> {
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { namespace, verb: "create", group: "apps", resource: "deployments" } },
  };
  const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const { status } = await api.request<{ readonly status?: { readonly allowed?: boolean } }>("POST", path, { body, signal });
  return status?.allowed === true;
}

/** As the cluster knows who asks. https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review */
async function ownName(api: KubeApi, signal: AbortSignal): Promise<string> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const { status } = await api.request<{ readonly status?: { readonly userInfo?: { readonly username?: string } } }>("POST", path, {
    body,
    signal,
  });
  return status?.userInfo?.username ?? "";
}

function subjectOf(user: string): object {
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user) ?? [];
  if (namespace === undefined) return { kind: "User", apiGroup: group, name: user };
  return { kind: "ServiceAccount", namespace, name };
}
