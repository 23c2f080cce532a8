// An instance as `observe` shows it, made from the agent's record. Pure.
import type { Cause } from "@berth/contract/causes.ts";
import type { Instance } from "../../engines/engine.ts";
import type { Spec, State } from "./record.ts";

export const isReady = (state: State): boolean => state.ready && state.phase === "running";

/** `host`: where its ports are reached; the loopback when absent. */
export type ViewOf = Pick<Spec, "id" | "track" | "restart" | "workload" | "ports"> & { readonly host?: string };

export function viewOf(spec: ViewOf, state: State, pid: number | undefined, why: Cause | undefined): Instance {
  const ready = isReady(state);
  const hasProcess = state.phase === "running" || state.phase === "stopping";
  return {
    id: spec.id,
    track: spec.track,
    revision: { releaseHash: spec.workload.releaseHash, restart: spec.restart },
    releaseNumber: spec.workload.releaseNumber,
    phase: phaseOf(state),
    ready,
    restarts: state.restarts,
    probes: state.probes,
    addresses: Object.fromEntries(Object.entries(spec.ports).map(([name, port]) => [name, { host: spec.host ?? "127.0.0.1", port }])),
    ...(ready && state.readySince !== undefined ? { readySince: new Date(state.readySince).toISOString() } : {}),
    ...(state.startedAt === undefined ? {} : { startedAt: new Date(state.startedAt).toISOString() }),
    ...(hasProcess && pid !== undefined ? { pid } : {}),
    ...(state.lastExit === undefined
      ? {}
      : { lastExit: { ...state.lastExit, ...(state.lastCause === undefined ? {} : { cause: state.lastCause }) } }),
    ...(why === undefined ? {} : { cause: why }),
  };
}

function phaseOf(state: State): Instance["phase"] {
  switch (state.phase) {
    case "waiting":
      return state.run === 0 && state.lastCause === undefined ? "starting" : "backoff";
    case "launched":
      return "starting";
    case "running":
      return state.started ? "running" : "starting";
    case "stopping":
      return "stopping";
    case "exited":
      return "exited";
    default:
      throw new Error(`unknown phase ${String(state.phase satisfies never)}`);
  }
}
