// Whether a release that a deployment would make now is the one that serves already: asked when a plan is shown and again when it is applied, so that both say the same.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { fitAppEnv, generatedSecrets, injectedNames, type FittedIntent, type Intent } from "../../core/release/appenv.ts";
import { builtRuntime, chooseCommand, releaseHash } from "../../core/release/release.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { Db } from "../../db/pool.ts";
import type { BuildRow } from "../builds/store.ts";
import { isEverywhere } from "../components/parts.ts";
import type { ComponentRow } from "../components/store.ts";
import { findRelease } from "../releases/store.ts";
import { openRollout } from "../rollouts/store.ts";
import { newestVersions } from "../secrets/store.ts";

/** The intent with what the source's app.json asks for. `stackId` is undefined for a stack that is yet to be made. */
export async function fitted(
  trx: Db,
  stackId: string | undefined,
  app: BuildPlan["app"],
  intent: Intent,
  spec: ComponentSpec,
  siblings: readonly string[],
): Promise<FittedIntent> {
  const versions = stackId === undefined ? new Map<string, number>() : await newestVersions(trx, stackId, generatedSecrets(app));
  return fitAppEnv(app, intent, injectedNames(spec, siblings), (secret) => versions.get(secret));
}

export interface Candidate {
  readonly component: ComponentRow;
  readonly spec: ComponentSpec;
  readonly intent: Intent;
  readonly siblings: readonly string[];
}

/** The release that this would make is the one that serves, and nothing else is on its way. */
export async function isLive(trx: Db, { component, spec, intent, siblings }: Candidate, build: BuildRow | undefined): Promise<boolean> {
  if (
    build?.phase !== "succeeded" ||
    build.plan === null ||
    build.artifact_digest === null ||
    component.stable_release_id === null ||
    component.stopped
  )
    return false;
  if ((await openRollout(trx, component.id)) !== undefined) return false;
  if (!(await isEverywhere(trx, component, spec))) return false;
  const chosen = chooseCommand(component.name, spec, build.plan);
  if (!chosen.ok) return false;
  const { config, secretRefs, generate, missing } = await fitted(trx, component.stack_id, build.plan.app, intent, spec, siblings);
  if (generate.length > 0 || missing.length > 0) return false;
  const stable = await findRelease(trx, component.stable_release_id);
  const runtime = builtRuntime(chosen.runtime, build.artifact_reference);
  return stable?.hash === releaseHash({ artifactDigest: build.artifact_digest, config, secretRefs, spec, runtime });
}
