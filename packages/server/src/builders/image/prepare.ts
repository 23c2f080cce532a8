// What is built, for builders of images of every kind: the plan's own recipe as a Dockerfile, or the repository's. Starts nothing.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Catalogue } from "../../core/image/catalogue.ts";
import type { DockerfileFeatures } from "../../core/image/dockerfile.ts";
import { compileIgnore, type Ignored } from "../../core/image/ignore.ts";
import { imageRecipe, staticServer } from "../../core/image/recipe.ts";
import type { BlobReader, BuildRequest } from "../builder.ts";
import type { ContextOf } from "./context.ts";
import { generatedScript, ownScript, type Script } from "./instructions.ts";
import { readOwnFile, refuseOwnFile, refusePlan, type Dialect } from "./ownfile.ts";

export interface Preparing {
  readonly blobs: BlobReader;
  /** Asked whenever a base is needed: it changes while the server runs. */
  readonly catalogue: () => Catalogue;
  /** The text of Berth's own file server for static sites. */
  readonly staticServer: () => Promise<string>;
}

export interface PreparedBuild {
  readonly script: Script;
  /** What the context leaves out. */
  readonly ignored: Ignored;
  /** What Berth adds to the context, beside the Dockerfile. */
  readonly extra: ContextOf["extra"];
}

export type Preparation = { readonly ok: true; readonly build: PreparedBuild } | { readonly ok: false; readonly cause: Cause };

/** Causes: those of `imageRecipe` for a plan that was detected, those of `readOwnFile` and `refuseOwnFile` for a Dockerfile. */
export async function prepareBuild(
  deps: Preparing,
  request: BuildRequest,
  dialect: Dialect,
  features: DockerfileFeatures,
  signal: AbortSignal,
): Promise<Preparation> {
  if (request.plan.kind === "dockerfile") {
    const found = await readOwnFile(deps.blobs, request, signal);
    if (!found.ok) return found;
    const refused = refuseOwnFile(found.file, request, dialect);
    if (refused !== undefined) return { ok: false, cause: refused };
    return { ok: true, build: { script: ownScript(found.file), ignored: found.file.ignored, extra: [] } };
  }
  const outcome = imageRecipe(request.plan, deps.catalogue(), Object.keys(request.env), request.writable);
  if (!outcome.ok) return outcome;
  const { recipe } = outcome;
  const extra = recipe.needsStaticServer ? [{ path: staticServer.inContext, content: Buffer.from(await deps.staticServer()) }] : [];
  return { ok: true, build: { script: generatedScript(recipe, features), ignored: compileIgnore(recipe.ignore), extra } };
}

/** What the plan alone tells that a builder of this dialect lacks. */
export function checkImagePlan(plan: BuildPlan, catalogue: Catalogue, dialect: Dialect): Cause | undefined {
  if (plan.kind === "dockerfile") return refusePlan(plan, dialect);
  const outcome = imageRecipe(plan, catalogue);
  return outcome.ok ? undefined : outcome.cause;
}
