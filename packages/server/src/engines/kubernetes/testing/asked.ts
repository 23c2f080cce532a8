// A Kubernetes client that notes which rights its calls need, as the API server would check them.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#review-your-request-attributes
import type { RightsRule } from "@berth/contract/clusterrights.ts";
import type { ClusterAccess } from "../../../core/kubeconfig.ts";
import { KubeApi, type Method, type RequestOptions } from "../../../kubernetes/api.ts";

/** What a call needs: `namespace` is absent for the whole cluster. */
export interface Need {
  readonly namespace: string | undefined;
  readonly group: string;
  /** With its subresource: `pods/log`. */
  readonly resource: string;
  readonly name: string | undefined;
  readonly verb: string;
}

export class AskingApi extends KubeApi {
  readonly #note: (need: Need) => void;

  constructor(access: ClusterAccess, note: (need: Need) => void) {
    super(access);
    this.#note = note;
  }

  override request<T>(method: Method, path: string, options: RequestOptions = {}): Promise<T> {
    const isApply = options.type === "application/apply-patch+yaml";
    for (const need of needsOf(method, path, isApply)) this.#note(need);
    return super.request<T>(method, path, options);
  }

  override stream(path: string, options: Parameters<KubeApi["stream"]>[1] = {}): ReturnType<KubeApi["stream"]> {
    for (const need of needsOf("GET", path)) this.#note(options.query?.["watch"] === true ? { ...need, verb: "watch" } : need);
    return super.stream(path, options);
  }

  override webSocket(...args: Parameters<KubeApi["webSocket"]>): ReturnType<KubeApi["webSocket"]> {
    // https://github.com/kubernetes/kubernetes/issues/133515: from 1.35 on a WebSocket needs `create` too.
    for (const need of needsOf("GET", args[0])) for (const verb of ["get", "create"]) this.#note({ ...need, verb });
    return super.webSocket(...args);
  }
}

const verbs: Readonly<Record<Method, string>> = { GET: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** None for what is no resource, such as `/version`, and for what everybody may ask about themselves. */
function needsOf(method: Method, path: string, isApply = false): Need[] {
  const [, core, named, rest = ""] = /^\/(?:api\/(v1)|apis\/([^/]+)\/[^/]+)\/(.*)$/.exec(path) ?? [];
  if (core === undefined && named === undefined) return [];
  const group = named ?? "";
  const parts = rest.split("/");
  const inNamespace = parts[0] === "namespaces" && parts.length > 2;
  const [resource = "", name, subresource] = inNamespace ? parts.slice(2) : parts;
  if (resource.startsWith("selfsubject")) return [];
  const need = {
    // A namespace is in itself.
    namespace: inNamespace ? parts[1] : resource === "namespaces" ? name : undefined,
    group,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    name,
  };
  if (method === "GET" && name === undefined) return [{ ...need, verb: "list" }];
  const verb = verbs[method];
  return isApply
    ? [
        { ...need, verb },
        { ...need, verb: "create" },
      ]
    : [{ ...need, verb }];
}

/** One of a rule's rights, as `GROUP/RESOURCE VERB`. */
export function rightsIn(rules: readonly RightsRule[]): { readonly right: string; readonly names: readonly string[] | undefined }[] {
  return rules.flatMap(({ apiGroups: [group], resources, verbs: all, resourceNames }) =>
    resources.flatMap((resource) => all.map((verb) => ({ right: `${group}/${resource} ${verb}`, names: resourceNames }))),
  );
}

export const rightOf = ({ group, resource, verb }: Need): string => `${group}/${resource} ${verb}`;
