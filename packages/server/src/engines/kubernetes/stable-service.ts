// How a component's Service is called, through which everybody inside of the cluster reaches what serves.
import type { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import type { Ref } from "../engine.ts";
import { mark } from "./names.ts";
import { roleOfRoutes } from "./routes.ts";

/**
 * The component's own name, unless a Service of somebody else has it: in a namespace that Berth did not make, that one keeps its name, its ports and its users, and Berth's own
 * stands beside it as `web--stable`. Errors: as of KubeApi.request.
 */
export async function stableService(
  api: KubeApi,
  installation: string,
  { component, namespace }: Ref,
  signal: AbortSignal,
): Promise<string> {
  if (namespace === undefined) return component;
  // Found by its name: Berth has the right to list them, and none to get one.
  const [found] = await listed<KubeObject>(api, "Service", { namespace, fields: `metadata.name=${component}`, signal });
  const { [mark.installation]: owner, [mark.role]: role } = found?.metadata.labels ?? {};
  return found === undefined || (owner === installation && role === roleOfRoutes) ? component : `${component}--stable`;
}
