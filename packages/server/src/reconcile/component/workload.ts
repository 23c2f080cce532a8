// From a stored release to the workload that an engine runs: secrets are opened here, at the last moment, and nowhere else.
import { posix } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { imageRoot } from "../../core/image/recipe.ts";
import { siblingEnv } from "../../core/release/release.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { refOf, type Workload } from "../../engines/engine.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import { openSecrets } from "../../resources/secrets/store.ts";
import type { Loaded } from "./load.ts";
import { recordOf } from "./record.ts";

/** Errors: `secret_not_found`, `secret_unreadable`. */
export async function workloadOf(
  db: Db,
  secretBox: SecretBox,
  loaded: Pick<Loaded, "component" | "stack" | "siblings" | "ownerId">,
  release: ReleaseRow,
): Promise<Workload> {
  const secrets = await openSecrets(db, secretBox, loaded.stack.id, release.secret_refs);
  for (const [variable, ref] of Object.entries(release.secret_refs))
    if (!(variable in secrets)) throw new BerthError("secret_not_found", { secret: ref.secret });
  const { startup, readiness, liveness } = release.spec.probes;
  return {
    ref: refOf(loaded.stack, loaded.component.name),
    stackId: loaded.stack.id,
    kind: release.spec.kind,
    releaseHash: release.hash,
    releaseNumber: release.number,
    command: release.runtime.command,
    ...artifactOf(release),
    env: { ...siblingEnv(loaded.siblings), ...release.config, ...secrets },
    secretValues: Object.values(secrets),
    ports: release.spec.ports,
    volumes: release.spec.volumes,
    resources: release.spec.resources,
    probes: {
      ...(startup === undefined ? {} : { startup }),
      ...(readiness === undefined ? {} : { readiness }),
      ...(liveness === undefined ? {} : { liveness }),
    },
    restart: release.spec.restart,
    gracePeriod: release.spec.gracePeriod,
    securityProfile: release.spec.securityProfile,
    ...(release.spec.kubernetes === undefined ? {} : { kubernetes: release.spec.kubernetes }),
    record: await recordOf(db, loaded, release),
  };
}

/** What runs, and what of its surroundings is not in it already: an image brings its own. */
function artifactOf({
  artifact_kind,
  artifact_digest,
  runtime,
}: ReleaseRow): Pick<Workload, "artifact" | "workdir" | "artifactEnv" | "tools"> {
  return artifact_kind === "image"
    ? {
        artifact: { kind: "image", reference: runtime.reference ?? artifact_digest, ...runtime.image },
        workdir: runtime.workdir === "." ? "." : posix.resolve(runtime.image === undefined ? imageRoot : "/", runtime.workdir),
        artifactEnv: {},
        tools: [],
      }
    : { artifact: { kind: "bundle", digest: artifact_digest }, workdir: runtime.workdir, artifactEnv: runtime.env, tools: runtime.tools };
}

/** Why a release cannot be started for want of a secret, which trying again does not mend; undefined = another error. */
export function secretCause(error: unknown): Cause | undefined {
  if (!(error instanceof BerthError)) return undefined;
  if (error.code === "secret_not_found") return cause("secret_missing", error.params);
  return error.code === "secret_unreadable" ? cause("secret_unreadable", error.params) : undefined;
}
