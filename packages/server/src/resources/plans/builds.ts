// Which builds a definition needs: one for each distinct context and options, however many components share it.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { renderCause, type Cause } from "@berth/contract/causes.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { detectBuildPlan, type DetectOptions } from "../../core/buildplan/detect.ts";
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import type { BuildOptions } from "../../db/tables-stacks.ts";
import type { SourceTree } from "../../core/buildplan/source.ts";
import type { Db } from "../../db/pool.ts";
import { findReusable, type BuildRow } from "../builds/store.ts";
import type { ResourceDeps } from "../deps.ts";

export interface NeededBuild {
  readonly context: string;
  readonly source: string;
  readonly key: string;
  readonly options: BuildOptions;
  readonly components: readonly string[];
}

/** Changes when the way that plans are executed does, so that old artifacts are not taken for new ones. */
const recipe = 1;

export function buildKey(source: string, options: BuildOptions): string {
  return contentHash({ recipe, source, options });
}

/** What is built for a context: a source and the folder inside of it. */
export interface ContextSource {
  readonly source: string;
  readonly root: string;
}

/** Errors: `invalid_request` when a context has no source. */
export function neededBuilds(
  components: Readonly<Record<string, ComponentSpec>>,
  sources: ReadonlyMap<string, ContextSource>,
  prefer: BuildOptions["prefer"],
  /** Folders that an earlier build of these was given already. */
  before: readonly string[] = [],
): NeededBuild[] {
  const builds = new Map<string, NeededBuild>();
  for (const [name, spec] of Object.entries(components)) {
    if (spec.build === undefined) continue;
    const from = sources.get(spec.build.context);
    if (from === undefined)
      throw new BerthError("invalid_request", { reason: `the context ${spec.build.context} of ${name} has no source` });
    const { source, root } = from;
    // Components that share a context share an image.
    const sharing = Object.values(components).filter(({ build }) => build?.context === spec.build?.context);
    const mounted = sharing.flatMap(({ volumes }) => volumes.filter(({ readOnly }) => readOnly !== true).map(({ path }) => path));
    const writable = prefer === "image" ? [...new Set([...mounted, ...before])].sort() : [];
    const options: BuildOptions = {
      prefer,
      ...(root === "." ? {} : { root }),
      ...(spec.build.dockerfile === undefined ? {} : { dockerfile: spec.build.dockerfile }),
      ...(spec.build.target === undefined ? {} : { target: spec.build.target }),
      ...(spec.build.args === undefined ? {} : { args: spec.build.args }),
      ...(spec.build.secrets === undefined ? {} : { secrets: spec.build.secrets }),
      ...(writable.length === 0 ? {} : { writable }),
    };
    const key = buildKey(source, options);
    const known = builds.get(key);
    builds.set(key, { context: spec.build.context, source, key, options, components: [...(known?.components ?? []), name] });
  }
  return [...builds.values()];
}

/** A build with these inputs that succeeded on the base images of now, or is under way. */
export async function reusableBuild(
  { isOnOldBases }: Pick<ResourceDeps, "isOnOldBases">,
  trx: Db,
  stackId: string,
  key: string,
): Promise<BuildRow | undefined> {
  const known = await findReusable(trx, stackId, key);
  if (known === undefined || known.plan === null || known.started_at === null) return known;
  return isOnOldBases(known.plan, known.started_at) ? undefined : known;
}

/** What detection is told; the same for the plan that is shown and for the build that is run. */
export function detectOptions(options: BuildOptions): DetectOptions {
  return {
    root: options.root ?? ".",
    prefer: options.prefer,
    ...(options.dockerfile === undefined ? {} : { dockerfile: options.dockerfile }),
    ...(options.target === undefined ? {} : { target: options.target }),
  };
}

/** The plan for an uploaded context. Errors: `plan_not_possible` with the cause's sentence. */
export function planFor(tree: SourceTree, context: string, options: BuildOptions): BuildPlan {
  const detected = detectBuildPlan(tree, detectOptions(options));
  if (!detected.ok) throw planError(detected.cause, context);
  return detected.plan;
}

export function planError(why: Cause, context: string): BerthError {
  const said = renderCause(why);
  return new BerthError(
    "plan_not_possible",
    { reason: said.sentence.replace(/\.$/, "") + (context === "." ? "" : ` (${context})`), hint: said.next },
    { details: why },
  );
}
