// What a pass writes of what it saw: only what differs from what the component's row says.
import { canonicalJson } from "../../core/canonical.ts";
import { emptyMemory, type Memory, type Progress } from "../../core/rollout/plan.ts";
import type { Trx } from "../../db/transaction.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { recordObservation } from "./observation.ts";
import { instancesDigest, type TrackStep } from "./track.ts";

export const memoryOf = (loaded: Loaded): Memory => ({ ...emptyMemory, ...loaded.component.memory });

export type Write = (trx: Trx) => Promise<unknown>;

/** What was found, in one transaction; none when there is nothing to write. */
export async function write(context: PassContext, writes: readonly (Write | undefined)[]): Promise<void> {
  const some = writes.filter((one) => one !== undefined);
  if (some.length > 0)
    await context.commit(async (trx) => {
      for (const one of some) await one(trx);
    });
}

/** What is seen now, when it differs from what the component's row says. */
export function record(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  done: TrackStep,
  wanted: number,
  rollout: { open: boolean; failed?: boolean },
): Write | undefined {
  const seen = loaded.component.observed.instances;
  const changed =
    instancesDigest(done.instances) !== digestOfViews(seen, done) ||
    canonicalJson(loaded.component.memory) !== canonicalJson(done.memory) ||
    loaded.component.ready !== done.progress.available;
  const state = {
    rolloutOpen: rollout.open,
    lastRolloutFailed:
      rollout.failed === true ||
      loaded.component.state === "failed" ||
      (loaded.component.state === "progressing" && loaded.stable === undefined && !rollout.open),
  };
  if (!changed && !stateDiffers(loaded, done.progress, wanted, state)) return undefined;
  return (trx) =>
    recordObservation(trx, loaded, {
      instances: done.instances,
      progress: done.progress,
      memory: done.memory,
      wanted,
      at: deps.clock(),
      released: loaded.stable !== undefined,
      ...state,
    });
}

function digestOfViews(seen: Loaded["component"]["observed"]["instances"], done: TrackStep): string {
  const known = new Map(seen.map((view) => [view.id, view]));
  const same =
    seen.length === done.instances.length &&
    done.instances.every((instance) => {
      const view = known.get(instance.id);
      return (
        view !== undefined &&
        view.phase === instance.phase &&
        view.ready === instance.ready &&
        view.pid === instance.pid &&
        view.restarts === instance.restarts &&
        view.cause?.code === instance.cause?.code
      );
    });
  return same ? instancesDigest(done.instances) : "";
}

function stateDiffers(
  loaded: Loaded,
  progress: Progress,
  wanted: number,
  rollout: { rolloutOpen: boolean; lastRolloutFailed: boolean },
): boolean {
  const { component } = loaded;
  if (rollout.rolloutOpen) return component.state !== "progressing";
  if (loaded.stable === undefined) return component.state !== (rollout.lastRolloutFailed ? "failed" : "new");
  if (component.stopped) return component.state !== "stopped";
  if (component.kind === "cron") return component.state !== "scheduled";
  return component.state !== (progress.available >= wanted ? "healthy" : "degraded");
}
