// The config and secret references that a release of a component made now would have.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { BerthError } from "../../core/errors.ts";
import { resolveConfig, type SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import { newestVersions } from "../secrets/store.ts";
import type { StackHandle } from "../stacks/service.ts";
import { newestConfig } from "./store.ts";

/** Errors: `secret_not_found` when the spec names a secret that is not set. */
export async function resolveIntent(trx: Db, stack: Pick<StackHandle, "id" | "runEnv">, componentId: string | undefined, spec: ComponentSpec): Promise<{ config: Record<string, string>; secretRefs: Record<string, SecretRef> }> {
  const ofStack = await newestConfig(trx, { stackId: stack.id, componentId: null });
  const ofComponent = componentId === undefined ? undefined : await newestConfig(trx, { stackId: stack.id, componentId });
  const versions = await newestVersions(trx, stack.id, Object.values(spec.secrets));
  const secretRefs = Object.fromEntries(Object.entries(spec.secrets).map(([variable, secret]) => {
    const version = versions.get(secret);
    if (version === undefined) throw new BerthError("secret_not_found", { secret });
    return [variable, { secret, version }];
  }));
  return { config: resolveConfig(ofStack?.values ?? {}, spec, ofComponent?.values ?? {}, stack.runEnv), secretRefs };
}
