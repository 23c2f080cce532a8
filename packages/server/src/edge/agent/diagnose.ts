// Says why an instance is not ready, from what can be seen on this machine: exits, log lines, probe history and who listens where (promise 6).
// It reports only what it saw; while nothing is certain yet it says nothing.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { exitCause } from "../../engines/exitcause.ts";
import { mainPort } from "../../engines/workload.ts";
import { measured } from "../../core/words.ts";
import type { ProbeRecord } from "../../engines/engine.ts";
import { lastLines } from "../collector/files.ts";
import type { ProcessStat } from "../../os/process.ts";
import { isRefused } from "./checks.ts";
import type { Machine } from "./machine.ts";
import { intruderAt, listenersOf, ownerOf, type PortOwner } from "./listening.ts";
import type { Spec, State } from "./record.ts";

/**
 * ms without becoming ready after which the ports are looked at, that another port has to stay open alone (a program may open its metrics before its main
 * port), after which a silent program is worth a word, and how long lines may lag behind an exit when no collector answers.
 */
export const patience = { ports: 1_000, stray: 1_500, silent: 5_000, lines: 400 };
/** Causes of a start that did not come to a run. */
const refusals: ReadonlySet<string> = new Set([
  "volume_missing",
  "artifact_missing",
  "tool_missing",
  "tool_version",
  "image_needs_container_engine",
]);
/** ms by which a line's time may lie before the start of the run that printed it: little, since the run before it may have ended just then. */
export const clockSlack = 50;
/** Where debuggers of Node.js, Java and Python listen, long before the program itself does. */
const debugPorts: ReadonlySet<number> = new Set([9229, 5005, 5678]);
/** Enough for a stack trace with the error above it. */
export const evidenceLines = 30;

export interface Facts {
  readonly machine: Machine;
  readonly spec: Spec;
  readonly state: State;
  /** What is wrong with where it listens; see `provenListeningFault`. */
  readonly listening: (refused: boolean) => Promise<ListeningFault | undefined>;
  /** Told which port is open in place of the expected one, if any: ms since that was first seen. */
  readonly strayFor: (port: number | undefined) => number;
  /** false: what was found a moment ago still holds for an instance that is not running. */
  readonly fresh: boolean;
}

/** The cause of an instance that is neither ready nor stopping; undefined while it is not known. */
export async function causeOf(facts: Facts): Promise<Cause | undefined> {
  const { spec, state, machine } = facts;
  const age = machine.now() - (state.startedAt ?? machine.now());
  if (state.phase === "running" && state.ending === undefined && age >= patience.ports) {
    const seen = await listeningCause(facts, age);
    if (seen !== undefined) return seen;
  }
  if (state.lastExit === undefined || state.lastCause === undefined) return state.ending ?? state.lastCause;
  // The newest start was refused before anything ran: how the run before it ended does not matter any more.
  if (refusals.has(state.lastCause.code)) return state.lastCause;
  // Also while the next run is on its way: a program that keeps ending would otherwise have a cause only half of the time.
  if (!facts.fresh && state.lastCause.evidence.length > 1) return state.lastCause;
  const endedAt = Date.parse(state.lastExit.at);
  const since = endedAt - state.lastExit.ranFor - clockSlack;
  // A cause that is told without the program's last words would be the one that is kept. What was asked a moment ago still holds.
  const complete = !facts.fresh || (await machine.heard(spec.ref, spec.id));
  const lines = complete ? await linesOf(facts, since) : await linesThatCome(facts, since, endedAt);
  const own = ["liveness_failed", "never_ready", "task_deadline", "run_lost", "wrong_port", "wrong_address", "not_listening"].includes(
    state.lastCause.code,
  );
  if (own)
    return {
      ...state.lastCause,
      evidence: [...state.lastCause.evidence.filter((one) => one.kind === "probe" || one.kind === "ports"), ...lines],
    };
  if (
    state.lastCause.code === "start_failed" &&
    state.phase === "waiting" &&
    !state.live &&
    state.lastCause.params["reason"] !== undefined &&
    state.lastCause.evidence.length === 0
  )
    return state.lastCause;
  const { exitCode, signal } = state.lastExit;
  state.lastCause = exitCause(
    { ...spec, ownerOf: portOwner },
    state,
    { ...(exitCode === undefined ? {} : { exitCode }), ...(signal === undefined ? {} : { signal }) },
    lines,
  );
  return state.lastCause;
}

/** Where no collector answers: they may be on their way all the same. */
async function linesThatCome(facts: Facts, since: number, endedAt: number): Promise<Evidence[]> {
  let lines = await linesOf(facts, since);
  for (let before = -1; lines.length !== before && facts.machine.now() - endedAt < patience.lines;) {
    before = lines.length === 0 ? -1 : lines.length;
    await sleep(25);
    lines = await linesOf(facts, since);
  }
  return lines;
}

async function linesOf({ machine, spec }: Facts, since: number): Promise<Evidence[]> {
  const lines = await lastLines(machine.logsDir, spec.ref, spec.id, evidenceLines, since);
  const { artifact, stackId } = spec.workload;
  // Files of the program by the names that its author knows, not by where this machine keeps the release.
  const root =
    artifact.kind === "bundle"
      ? `${join(machine.home, "stacks", stackId, "releases", artifact.digest.replace(/^sha256:/, ""))}/`
      : undefined;
  return lines.map((line) => ({
    kind: "log",
    at: line.at,
    text: (root === undefined ? line.text : line.text.replaceAll(root, "")).slice(0, 4096),
  }));
}

/** Who has a port that a program wanted. */
export const portOwner = (port: number): string => ownerName(ownerOf(port));

export function ownerName(owner: PortOwner | undefined): string {
  if (owner === undefined) return "a program that has ended since";
  if (owner.instance !== undefined) return `instance ${owner.instance} of Berth (process ${owner.pid ?? "unknown"})`;
  return owner.pid === undefined ? `a program of user ${owner.uid}` : `${owner.name} (process ${owner.pid})`;
}

export interface ListeningFault {
  readonly why: Cause;
  /** Open in place of the expected one. */
  readonly stray?: number;
}

/** Like `listeningFault`, and sure of it: a slow program may have opened its port since it was last refused, and must not be failed for that (promise 6). */
export async function provenListeningFault(
  spec: Pick<Spec, "workload" | "ports">,
  members: () => readonly Pick<ProcessStat, "pid">[],
  refused: boolean,
): Promise<ListeningFault | undefined> {
  const fault = listeningFault(spec, members(), refused);
  const main = mainPort(spec.workload);
  const port = main === undefined ? undefined : spec.ports[main];
  if (!refused || fault?.why.code !== "wrong_address" || port === undefined) return fault;
  return listeningFault(spec, members(), await isRefused("127.0.0.1", port));
}

/** What is wrong with where the processes of an instance listen; undefined while they listen where they are looked for. `refused`: that place refused a connection. */
export function listeningFault(
  spec: Pick<Spec, "workload" | "ports">,
  members: readonly Pick<ProcessStat, "pid">[],
  refused: boolean,
): ListeningFault | undefined {
  const main = mainPort(spec.workload);
  const expected = main === undefined ? undefined : spec.ports[main];
  if (expected === undefined) return undefined;
  // Also beside the instance's own socket: whoever else answers there would get a part of what is meant for it.
  const intruder = intruderAt(expected, members);
  if (intruder !== undefined) return { why: cause("port_taken", { port: expected, owner: ownerName(intruder) }) };
  const open = listenersOf(members);
  const there = open.filter((one) => one.port === expected).map((one) => one.host);
  const ports: Evidence = {
    kind: "ports",
    text: `it listens on ${open.length === 0 ? "no port" : [...new Set(open.map((one) => `${bracketed(one.host)}:${one.port}`))].join(", ")}`,
  };
  if (there.length > 0) {
    // Who listens on `::` gets IPv4 too, unless the program asked for IPv6 alone; only the refusal tells.
    const only6 = refused && there.every((host) => host === "::");
    if (!only6 && there.some((host) => reached.has(host))) return undefined;
    return {
      why: cause(
        "wrong_address",
        { address: `${bracketed(there[0] ?? "")}:${expected}${only6 ? " (IPv6)" : ""}`, expected: `127.0.0.1:${expected}` },
        [ports],
      ),
    };
  }
  const owner = ownerOf(expected);
  if (owner !== undefined) return { why: cause("port_taken", { port: expected, owner: ownerName(owner) }) };
  const mine = new Set(Object.values(spec.ports));
  const actual = open.find((one) => !mine.has(one.port) && !debugPorts.has(one.port))?.port;
  return actual === undefined
    ? { why: cause("not_listening", { expected }, [ports]) }
    : { why: cause("wrong_port", { actual, expected }, [ports]), stray: actual };
}

/** Listening there, a program is reached at 127.0.0.1. */
const reached: ReadonlySet<string> = new Set(["0.0.0.0", "127.0.0.1", "::", "::ffff:0:0", "::ffff:7f00:1"]);
const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);

async function listeningCause(facts: Facts, age: number): Promise<Cause | undefined> {
  const { spec, state } = facts;
  const history: Evidence[] = state.probes.map((one) => ({ kind: "probe", at: one.at, text: `${one.probe}: ${one.detail}` }));
  const fault = await facts.listening(state.probes.at(-1)?.detail === "connection refused");
  const strayFor = facts.strayFor(fault?.stray);
  if (fault !== undefined) {
    const told = (more: readonly Evidence[] = []): Cause => ({ ...fault.why, evidence: [...fault.why.evidence, ...history, ...more] });
    switch (fault.why.code) {
      case "wrong_port":
        return strayFor < patience.stray ? undefined : told();
      case "not_listening":
        return age < patience.silent || state.restarts > 0 ? undefined : told(await linesOf(facts, (state.startedAt ?? 0) - clockSlack));
      default:
        return told();
    }
  }
  const failing = state.probes.filter((one) => one.probe !== "liveness" && !one.ok);
  const last = failing.at(-1);
  if (last === undefined || !state.probes.some((one) => !one.ok)) return undefined;
  return cause(
    "never_ready",
    { check: describeProbe(spec, last.probe), last: last.detail, failures: failing.length, waited: measured(age) },
    [...history, ...(await linesOf(facts, (state.startedAt ?? 0) - clockSlack))],
  );
}

/** What is looked at, as people know it: `GET /health`. */
export function describeProbe(spec: Pick<Spec, "workload" | "ports">, name: ProbeRecord["probe"]): string {
  const check = spec.workload.probes[name]?.check;
  if (check?.type === "http") return `GET ${check.path}`;
  if (check?.type === "exec") return `the ${name} probe's command`;
  const main = mainPort(spec.workload);
  return `port ${check?.port ?? (main === undefined ? "" : spec.ports[main]) ?? ""}`;
}
