// What the agent keeps on disk of an instance: the order it was started by, and how far it has come. Read back after every restart of the agent.
import { randomInt } from "node:crypto";
import type { Cause } from "@berth/contract/causes.ts";
import type { InstanceOrder } from "../../engines/agent/order.ts";
import type { Instance, ProbeRecord } from "../../engines/engine.ts";
import type { GroupTrouble } from "../../sandbox/cgroups.ts";
import type { ProcessIdentity } from "../../os/process.ts";
import { readJson } from "./files.ts";

export interface Spec extends InstanceOrder {
  /** Where its ports are reached on this machine, by name. */
  readonly ports: Readonly<Record<string, number>>;
}

/** `waiting`: no process, the next start is due at `wakeAt`. `launched`: a shim was started and has not reported yet. */
export type Phase = "waiting" | "launched" | "running" | "stopping" | "exited";

export interface State {
  phase: Phase;
  /** Number of the current or last start; 0 = never started. Names the files of that start. */
  run: number;
  /** A process of this run may exist. */
  live: boolean;
  boot: string;
  restarts: number;
  /** Ends since the instance last ran steadily: decides the pause before the next start. */
  failures: number;
  wakeAt: number;
  startedAt?: number;
  shim?: ProcessIdentity;
  /** Lives as long as the run: the program itself or, when `sandboxed`, the first process of its sandbox. */
  program?: ProcessIdentity;
  sandboxed?: boolean;
  /** Name of the run's control group. */
  group?: string;
  /** The startup probe passed in this run. */
  started: boolean;
  ready: boolean;
  readySince?: number;
  /** Ready at least once, in any run. */
  everReady: boolean;
  /** When SIGKILL is due; set while the instance is asked to end. */
  killAt?: number;
  termed?: boolean;
  /** Why the agent itself ends this run; it starts again afterwards. */
  ending?: Cause;
  lastExit?: Instance["lastExit"];
  /** What else is known of the last end. */
  lastEnd?: { readonly left?: readonly string[]; readonly unmade?: true; readonly trouble?: GroupTrouble };
  /** Why the last run ended or could not begin. */
  lastCause?: Cause;
  probes: ProbeRecord[];
}

export const freshState = (boot: string): State => ({
  phase: "waiting",
  run: 0,
  live: false,
  boot,
  restarts: 0,
  failures: 0,
  wakeAt: 0,
  started: false,
  ready: false,
  everReady: false,
  probes: [],
});

const object = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** The order an instance was started by; undefined when the folder holds none that this version can read. */
export function readSpec(file: string): Spec | undefined {
  const value = readJson(file);
  // Written by this program alone and whole or not at all (renamed), so its own marks are enough.
  return object(value) && typeof value["id"] === "string" && object(value["ref"]) && object(value["workload"]) && object(value["ports"])
    ? (value as unknown as Spec)
    : undefined;
}

export function readState(file: string, boot: string): State {
  const value = readJson(file);
  return object(value) && typeof value["run"] === "number" && Array.isArray(value["probes"])
    ? { ...freshState(boot), ...(value as Partial<State>) }
    : freshState(boot);
}

/** Writes an order to end into the state. A shorter grace of a later one wins. False: it was to end already. */
export function orderEnd(state: State, killAt: number): boolean {
  const isFirst = state.phase !== "stopping";
  state.killAt = isFirst ? killAt : Math.min(state.killAt ?? killAt, killAt);
  if (!isFirst) return false;
  state.phase = "stopping";
  delete state.termed;
  return true;
}

/** Whether a run that ended like this is followed by another one. */
export function startsAgain({ task, workload: { restart } }: InstanceOrder, state: State, exitCode: number | undefined): boolean {
  if (task !== undefined) return false;
  return restart === "always" || (restart === "on-failure" && (exitCode !== 0 || state.ending !== undefined));
}

/** `<component>-<6 characters>`: a DNS label, since names have 40 characters at most. */
export function newInstanceId(component: string): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  return `${component}-${Array.from({ length: 6 }, () => alphabet[randomInt(alphabet.length)]).join("")}`;
}
