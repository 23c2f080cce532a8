// What a refusal or the silence of a cluster means to whoever asked the engine for something.
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError, KubeProtocolError, KubeUnreachable } from "../../kubernetes/errors.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { EngineFailure } from "../engine.ts";
import type { Condition } from "./objects.ts";

/** ms. */
const lookPatience = 5_000;

/** What may be over without anybody deploying again. */
const passes: ReadonlySet<string> = new Set(["webhook_down", "cluster_quota_exceeded"]);

/** Nobody answered: the work waits, and is tried again. */
export function unreachable(cluster: string, error: Error): EngineFailure {
  return new EngineFailure(cause("cluster_unreachable", { cluster, reason: error.message }), { retryable: true, cause: error });
}

/** A refusal that the planner or a user is to see; undefined: it is none of those. */
export function failureOf(cluster: string, error: unknown): EngineFailure | undefined {
  if (error instanceof KubeUnreachable || error instanceof KubeProtocolError) return unreachable(cluster, error);
  if (!(error instanceof KubeError)) return undefined;
  const refused = refusalOf(error.message);
  if (refused !== undefined) return new EngineFailure(refused, { retryable: passes.has(refused.code), cause: error });
  // As an apply says it of a field that its kind does not have: with the status of a server in trouble.
  if (/failed to create typed patch object|field not declared in schema/.test(error.message)) return notTaken(error);
  // It is there and in trouble of its own.
  if (error.status >= 500 || error.status === 429) return unreachable(cluster, error);
  if (error.conflicts.length > 0) {
    const [{ field, manager } = { field: "", manager: "" }] = error.conflicts;
    return new EngineFailure(cause("field_conflict", { field, manager, count: error.conflicts.length }, [event(error.message)]), {
      retryable: false,
      cause: error,
    });
  }
  // A plugin of the API server, such as the one that knows no such priority class. The account of a new namespace is only waited for.
  const [, plugin] = error.status === 403 ? (/ is forbidden: (?!error looking up service account)([^\n]*)/.exec(error.message) ?? []) : [];
  if (plugin !== undefined) {
    const denied = cause("admission_denied", { by: "the API server's admission", reason: plugin }, [event(error.message)]);
    return new EngineFailure(denied, { retryable: false, cause: error });
  }
  // Not as it is: what an engine sends is made of what somebody wrote.
  return error.status === 422 || error.status === 400 ? notTaken(error) : undefined;
}

function notTaken(error: KubeError): EngineFailure {
  const why = cause("object_refused", { reason: error.message.slice(0, 500) }, [event(error.message)]);
  return new EngineFailure(why, { retryable: false, cause: error });
}

/** Why a cluster takes an object or a pod not, from its own words; undefined: they are none of a refusal. */
export function refusalOf(message: string): Cause | undefined {
  const evidence = [event(message)];
  const quota = /exceeded quota: ([^,]+), requested: (.*?), used: (.*?), limited: ([^\n]*)/.exec(message);
  if (quota !== null)
    return cause(
      "cluster_quota_exceeded",
      { quota: quota[1] ?? "", asked: quota[2] ?? "", used: quota[3] ?? "", most: quota[4] ?? "" },
      evidence,
    );
  const webhook = /admission webhook "([^"]+)" denied the request:? ?([^\n]*)/.exec(message);
  if (webhook !== null)
    return cause("admission_denied", { by: `the webhook ${webhook[1] ?? ""}`, reason: webhook[2] || "it says no more" }, evidence);
  const calling = /failed calling webhook "([^"]+)": ([^\n]*)/.exec(message);
  if (calling !== null) return cause("webhook_down", { webhook: calling[1] ?? "", reason: calling[2] ?? "" }, evidence);
  const security = /violates PodSecurity "([^"]+)": ([^\n]*)/.exec(message);
  if (security !== null)
    return cause("admission_denied", { by: `the pod security level ${security[1] ?? ""}`, reason: security[2] ?? "" }, evidence);
  const rights = /User "([^"]+)" cannot (\w+) resource "([^"]+)"/.exec(message);
  if (rights !== null)
    return cause("cluster_rights_missing", { user: rights[1] ?? "", verb: rights[2] ?? "", resource: rights[3] ?? "" }, evidence);
  // As the API says it of who may make a binding, and may not bind this role.
  const binds =
    /^(?:rolebindings\.\S+ "[^"]*" is forbidden: )user "([^"]+)" .*attempting to grant RBAC permissions not currently held/s.exec(message);
  if (binds !== null) return cause("cluster_rights_missing", { user: binds[1] ?? "", verb: "bind", resource: "clusterroles" }, evidence);
  return undefined;
}

export const event = (text: string): Cause["evidence"][number] => ({ kind: "event", text: text.slice(0, 4_096) });

/** What a cluster's refusals and silence are to whoever asked an engine. */
export async function asking<T>(cluster: string, api: Pick<KubeApi, "find">, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof KubeError && isTerminating(error))
      throw new EngineFailure(await heldNow(api, error.details.name ?? ""), { retryable: true, cause: error });
    throw failureOf(cluster, error) ?? error;
  }
}

export const isTerminating = (error: KubeError): boolean =>
  error.status === 403 && (error.details.causes ?? []).some(({ reason }) => reason === "NamespaceTerminating");

/** Asked on the way of a failure: what cannot be found out is left out. */
async function heldNow(api: Pick<KubeApi, "find">, name: string): Promise<Cause> {
  const unknown: Namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
  const found = await api.find<Namespace>({ kind: "Namespace", name }, { timeout: lookPatience }).catch((error: unknown) => {
    if (failureOf("", error) === undefined && !(error instanceof KubeError)) throw error;
    return unknown;
  });
  return terminating(found ?? unknown);
}

export interface Namespace extends KubeObject {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** What the cluster says of what is left in it, once it has looked. https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace */
export function terminating({ metadata, status }: Namespace): Cause {
  const conditions = ["NamespaceFinalizersRemaining", "NamespaceContentRemaining", "NamespaceDeletionDiscoveryFailure"].flatMap((type) =>
    (status?.conditions ?? []).filter((one) => one.type === type && one.status === "True"),
  );
  const [first] = conditions;
  const held = first?.message === undefined ? "" : `: ${first.message.slice(0, 300)}`;
  return cause(
    "namespace_terminating",
    { namespace: metadata.name, held },
    conditions.map(({ message = "" }) => event(message)),
  );
}
