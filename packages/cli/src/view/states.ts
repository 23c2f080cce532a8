// Colours of states and phases, the same everywhere.
import type { Paint } from "../output/colour.ts";
import { ago } from "../output/time.ts";

const good = new Set(["healthy", "succeeded", "ready", "running", "scheduled", "ok", "live"]);
const bad = new Set(["failed", "degraded", "missed", "exited", "crashed", "backoff"]);
const busy = new Set([
  "progressing",
  "queued",
  "building",
  "waiting",
  "releasing",
  "preparing",
  "rolling",
  "verifying",
  "reverting",
  "deleting",
  "starting",
  "stopping",
  "warning",
  "new",
]);

/** `unknown since 5 min ago, was healthy` of what nobody sees now. */
export function stateText({ state, unknownSince }: { readonly state: string; readonly unknownSince?: string }, now: Date): string {
  return unknownSince === undefined ? state : `unknown since ${ago(unknownSince, now)}, was ${state}`;
}

export function stateStyle(paint: Paint): (state: string) => string {
  return (state) => {
    const word = state.trim();
    if (good.has(word)) return paint.good(state);
    if (bad.has(word)) return paint.bad(state);
    return busy.has(word) ? paint.warn(state) : paint.dim(state);
  };
}
