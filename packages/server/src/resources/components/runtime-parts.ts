// What runs of a component in all of its clusters, as one: lines in order of time, and instances to choose from. A cluster that is away takes nothing from the others.
import type { LogLine } from "@berth/contract/resources/components.ts";
import { cause, renderCause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import { EngineFailure, refOf, type Engine, type Instance, type LogOptions, type Ref } from "../../engines/engine.ts";
import type { ResourceDeps } from "../deps.ts";
import type { StackHandle } from "../stacks/service.ts";
import type { ComponentRow } from "./store.ts";

export interface RunsIn {
  /** As it is called there. */
  readonly ref: Ref;
  readonly cluster: string;
  readonly engine: Engine;
}
export interface Running extends RunsIn {
  readonly instance: Instance;
}
/** `away`: why a cluster did not answer, of each that did not. */
export interface LookedAt {
  readonly running: readonly Running[];
  readonly away: readonly Error[];
}
type Deps = Pick<ResourceDeps, "db" | "places" | "addedClusters" | "clock">;

/** Where these run: in the stack's own cluster first, then in the others of each. */
export async function runIn(deps: Deps, stack: StackHandle, rows: readonly ComponentRow[], trx: Db = deps.db): Promise<RunsIn[]> {
  const ids = rows.map(({ id }) => id);
  const parts =
    ids.length === 0
      ? []
      : await trx
          .selectFrom("components as c")
          .innerJoin("clusters as k", "k.id", "c.cluster_id")
          .select(["c.part_of", "k.name"])
          .where("c.part_of", "in", ids)
          .orderBy("k.name")
          .execute();
  return rows.flatMap(({ id, name }) =>
    [stack.cluster, ...parts.filter(({ part_of: of }) => of === id).map((part) => part.name)].map((cluster) => ({
      // What was imported is in a namespace of its own in the stack's cluster alone.
      ref: refOf(cluster === stack.cluster ? stack : { name: stack.name }, name),
      cluster,
      engine: deps.places.engine(cluster),
    })),
  );
}

/** Those in a cluster, if one is named. Errors: `not_found` for one that nothing of it is placed in. `of`: all; `what`: as users call it. */
export function inCluster<Part extends { readonly cluster: string }>(
  of: readonly Part[],
  cluster: string | undefined,
  what: string,
): readonly Part[] {
  if (cluster === undefined) return of;
  const there = of.filter((one) => one.cluster === cluster);
  if (there.length > 0) return there;
  const clusters = [...new Set(of.map((one) => one.cluster))];
  const hint = clusters.length === 0 ? `${what} has no components yet.` : `${what} runs in ${clusters.join(", ")}.`;
  throw new BerthError("not_found", { kind: "cluster", name: cluster, hint });
}

/** Lines of one of several; where its cluster does not answer, a line of Berth's that says so. */
export async function* linesIn(
  deps: Deps,
  { ref, cluster, engine }: RunsIn,
  options: LogOptions,
  signal: AbortSignal,
): AsyncIterable<LogLine & { cluster: string }> {
  try {
    for await (const line of engine.logs(ref, options, signal)) yield { ...line, cluster };
  } catch (error) {
    if (signal.aborted || !isAway(error)) throw error;
    const why = error instanceof EngineFailure ? error.failure : cause("cluster_unreachable", { cluster, reason: error.message });
    yield { at: deps.clock().toISOString(), instance: cluster, stream: "berth", text: renderCause(why).sentence, cursor: "", cluster };
  }
}

/** Whether it says that a cluster does not answer now, and nothing else. */
export const isAway = (error: unknown): error is EngineFailure | BerthError =>
  (error instanceof EngineFailure && error.retryable) ||
  (error instanceof BerthError && (error.code === "engine_unavailable" || error.code === "other_server"));

/** Running ones, with the engine of each. Errors: those of the engine, when no cluster answers. */
export async function runningIn(of: readonly RunsIn[], signal: AbortSignal): Promise<LookedAt> {
  const looks = await Promise.allSettled(of.map(async (one) => ({ one, seen: await one.engine.observe(one.ref, signal) })));
  const failed = looks.filter((look) => look.status === "rejected");
  const bad = failed.find(({ reason }) => failed.length === looks.length || !isAway(reason));
  if (bad !== undefined) throw bad.reason;
  return {
    running: looks.flatMap((look) =>
      look.status === "rejected"
        ? []
        : (look.value.seen?.instances ?? [])
            .filter(({ phase }) => phase === "running")
            .map((instance) => ({ ...look.value.one, instance })),
    ),
    away: failed.map(({ reason }) => reason as Error),
  };
}
