// An object as it would be if what Berth put were put again, and everything that others have of it stayed.
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";

/** undefined: beside what somebody changed it is no valid object, such as two ports of one name. Errors: as of KubeApi.request. */
export function asPut<T extends KubeObject>(api: KubeApi, object: KubeObject, signal: AbortSignal): Promise<T | undefined> {
  return api.apply<T>(object, { force: true, dryRun: true, signal }).catch((error: unknown) => {
    if (error instanceof KubeError && error.status === 422) return undefined;
    throw error;
  });
}
