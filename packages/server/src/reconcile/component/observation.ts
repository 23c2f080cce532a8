// Turns what a pass saw into the component's row and into events that people can follow.
import type { SeenInstance } from "@berth/contract/resources/components.ts";
import { componentState } from "../../core/rollout/outcome.ts";
import { duration } from "../../core/words.ts";
import type { Memory, Progress } from "../../core/rollout/plan.ts";
import type { Db } from "../../db/pool.ts";
import type { Instance } from "../../engines/engine.ts";
import { saveObservation } from "../../resources/components/store.ts";
import { stackEvents, type EventParts } from "../../resources/intent.ts";
import type { Loaded } from "./load.ts";

export function instanceView(instance: Instance): SeenInstance {
  const address = Object.values(instance.addresses)[0];
  return {
    id: instance.id,
    track: instance.track,
    release: instance.releaseNumber,
    phase: instance.phase,
    ready: instance.ready,
    restarts: instance.restarts,
    ...(instance.startedAt === undefined ? {} : { startedAt: instance.startedAt }),
    ...(instance.pid === undefined ? {} : { pid: instance.pid }),
    ...(address === undefined ? {} : { address: `${address.host}:${address.port}` }),
    ...(instance.cause === undefined ? {} : { cause: instance.cause }),
    probes: instance.probes.slice(-10).map(({ at, probe, ok, detail }) => ({ at, probe, ok, detail })),
  };
}

export interface SeenNow {
  readonly instances: readonly Instance[];
  readonly progress: Progress;
  readonly memory: Memory;
  readonly wanted: number;
  readonly at: Date;
  readonly rolloutOpen: boolean;
  readonly lastRolloutFailed: boolean;
  readonly released: boolean;
}

/** Writes what was seen, with an event for each instance and for the component that changed. */
export async function recordObservation(trx: Db, loaded: Loaded, seen: SeenNow): Promise<void> {
  const { component, stack } = loaded;
  const views = seen.instances.map(instanceView);
  const state = componentState({
    kind: component.kind,
    deleting: component.delete_requested_at !== null,
    stopped: component.stopped,
    released: seen.released,
    rolloutOpen: seen.rolloutOpen,
    lastRolloutFailed: seen.lastRolloutFailed,
    wanted: seen.wanted,
    available: seen.progress.available,
  });
  const scope = { name: stack.name, teamId: stack.team_id };
  const events = instanceEvents(component.observed.instances, seen.instances);
  if (state !== component.state) events.push({ code: "component_state", params: { state } });
  await stackEvents(
    trx,
    scope,
    events.map((event) => ({ ...event, component: component.name })),
  );
  const cause =
    state === "degraded" || state === "progressing"
      ? (seen.instances.find((instance) => instance.cause !== undefined && !instance.ready && instance.phase !== "stopping")?.cause ?? null)
      : state === "failed"
        ? component.cause
        : null;
  await saveObservation(trx, component.id, {
    state,
    ready: seen.progress.available,
    cause,
    observed: { instances: views },
    memory: seen.memory,
    at: seen.at,
  });
}

function instanceEvents(before: readonly SeenInstance[], now: readonly Instance[]): EventParts[] {
  const old = new Map(before.map((instance) => [instance.id, instance]));
  const events: EventParts[] = [];
  for (const instance of now) {
    const was = old.get(instance.id);
    const base = { instance: instance.id, release: instance.releaseNumber };
    if (was === undefined) events.push({ code: "instance_started", params: base });
    if (instance.restarts > (was?.restarts ?? 0)) {
      // It may be ready again before anybody looked.
      const why = instance.cause ?? instance.lastExit?.cause;
      events.push({
        code: "instance_exited",
        params: { ...base, how: exitText(instance), restarts: instance.restarts },
        ...(why === undefined ? {} : { cause: why }),
      });
    }
    if (instance.ready && was?.ready !== true) events.push({ code: "instance_ready", params: base });
    if (!instance.ready && was?.ready === true && instance.phase !== "stopping")
      events.push({ code: "instance_unready", params: base, ...(instance.cause === undefined ? {} : { cause: instance.cause }) });
    if (instance.phase === "stopping" && was?.phase !== "stopping") events.push({ code: "instance_stopping", params: base });
  }
  const present = new Set(now.map((instance) => instance.id));
  for (const instance of before)
    if (!present.has(instance.id))
      events.push({ code: "instance_exited", params: { instance: instance.id, release: instance.release, how: "stopped" } });
  return events;
}

function exitText(instance: Instance): string {
  const exit = instance.lastExit;
  if (exit === undefined) return "unknown";
  return `${exit.signal ?? `exit code ${exit.exitCode ?? "unknown"}`} after ${duration(exit.ranFor)}`;
}
