// The config and secret references that a release of a component made now would have.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { BerthError } from "../../core/errors.ts";
import { resolveConfig, type SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import { newestVersions } from "../secrets/store.ts";
import type { StackHandle } from "../stacks/service.ts";
import { newestConfigs } from "./store.ts";

/** Errors: `secret_not_found` when the spec names a secret that is not set, for its instances or for its build. `coming` are versions that secrets get before the release is made. */
export async function resolveIntent(
  trx: Db,
  stack: Pick<StackHandle, "id" | "runEnv">,
  componentId: string | undefined,
  spec: ComponentSpec,
  coming: ReadonlyMap<string, number> = new Map(),
): Promise<{ config: Record<string, string>; secretRefs: Record<string, SecretRef> }> {
  const config = await newestConfigs(trx, stack.id, componentId);
  const forBuild = Object.values(spec.build?.secrets ?? {});
  const versions = await newestVersions(trx, stack.id, [...Object.values(spec.secrets), ...forBuild]);
  const versionOf = (secret: string): number => {
    const version = coming.get(secret) ?? versions.get(secret);
    if (version === undefined) throw new BerthError("secret_not_found", { secret });
    return version;
  };
  forBuild.forEach(versionOf);
  const secretRefs = Object.fromEntries(
    Object.entries(spec.secrets).map(([variable, secret]) => [variable, { secret, version: versionOf(secret) }]),
  );
  return { config: resolveConfig(config.stack?.values ?? {}, spec, config.component?.values ?? {}, stack.runEnv), secretRefs };
}
