// What a rollout's release is made of, once its build has ended: the intent that was accepted, fitted to what the source's app.json asks for.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { fitAppEnv, generatedSecrets, injectedNames } from "../../core/release/appenv.ts";
import type { ReleaseContent, ReleaseRuntime } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import type { RolloutRow } from "../../resources/rollouts/store.ts";
import { ensureSecret } from "../../resources/secrets/generate.ts";
import { newestVersions } from "../../resources/secrets/store.ts";
import type { Loaded } from "./load.ts";

export interface Built {
  readonly artifactDigest: string;
  /** undefined: an image from outside, which has none. */
  readonly plan: BuildPlan | undefined;
  readonly runtime: ReleaseRuntime;
}

/** Makes the secrets that are to be generated, in the caller's transaction; a cause when something required is set by nobody. */
export async function contentOf(
  trx: Db,
  secretBox: SecretBox,
  loaded: Loaded,
  rollout: RolloutRow,
  built: Built,
): Promise<ReleaseContent | { readonly lacking: Cause }> {
  const { stack, component } = loaded;
  const versions = await newestVersions(trx, stack.id, generatedSecrets(built.plan?.app));
  const fitted = fitAppEnv(
    built.plan?.app,
    { config: rollout.config, secretRefs: rollout.secret_refs },
    injectedNames(
      rollout.spec,
      loaded.siblings.map((sibling) => sibling.component),
    ),
    (secret) => versions.get(secret),
  );
  if (fitted.missing.length > 0)
    return {
      lacking: cause(
        "env_missing",
        { component: component.name, names: fitted.missing.join(", ") },
        fitted.missing.flatMap((name) => described(built.plan, name)),
      ),
    };
  const secretRefs = { ...fitted.secretRefs };
  for (const { variable, secret } of fitted.generate)
    secretRefs[variable] = {
      secret,
      version: await ensureSecret(
        trx,
        secretBox,
        { id: stack.id, name: stack.name, teamId: stack.team_id },
        { secret, component: component.name, by: rollout.created_by },
      ),
    };
  return { artifactDigest: built.artifactDigest, config: fitted.config, secretRefs, spec: rollout.spec, runtime: built.runtime };
}

function described(plan: BuildPlan | undefined, name: string): Cause["evidence"] {
  const description = plan?.app?.env[name]?.description;
  return description === undefined ? [] : [{ kind: "file", text: `app.json: ${name}: ${description}`.slice(0, 4096) }];
}
