// The cluster's word on a release before anything of it is there: each object is tried, and nothing is stored. What an API server has not heard yet of a namespace that was made or
// changed just now is no word on the release.
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import type { SecurityLevel } from "./surroundings.ts";

/** ms within which API servers hear of a namespace's level, and a new one gets the account of its pods. */
const patience = 10_000;
const pause = 100;

/** `level`: of the namespace, as it was written last; undefined where it is not Berth's to say. Errors: as of KubeApi.request. */
export async function tryOut(
  api: Pick<KubeApi, "create">,
  trials: readonly KubeObject[],
  level: () => Promise<SecurityLevel | undefined>,
  signal: AbortSignal,
): Promise<void> {
  const end = performance.now() + patience;
  for (const trial of trials) while (!(await isTaken(api, trial, level, end, signal))) await sleep(pause, undefined, { signal });
}

/** false: asked too early. */
async function isTaken(
  api: Pick<KubeApi, "create">,
  trial: KubeObject,
  level: () => Promise<SecurityLevel | undefined>,
  end: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await api.create(trial, { dryRun: true, strict: true, signal });
    return true;
  } catch (error) {
    if (!(error instanceof KubeError) || performance.now() > end || !(await isEarly(error, level))) throw error;
    return false;
  }
}

async function isEarly({ message }: KubeError, level: () => Promise<SecurityLevel | undefined>): Promise<boolean> {
  if (/error looking up service account/.test(message)) return true;
  const [, held] = /violates PodSecurity "(\w+):/.exec(message) ?? [];
  const wanted = held === undefined ? undefined : await level();
  return wanted !== undefined && wanted !== held;
}
