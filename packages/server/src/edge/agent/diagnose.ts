// Says why an instance is not ready, from what can be seen on this machine: exits, log lines, probe history and who listens where (promise 6).
// It reports only what it saw; while nothing is certain yet it says nothing.
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { ErrorScan } from "../../core/builderrors.ts";
import type { ProbeRecord } from "../../engines/engine.ts";
import { lastLines } from "../collector/files.ts";
import { mainPort } from "./environment.ts";
import { argumentsOf } from "./launch.ts";
import type { Machine } from "./machine.ts";
import { ownerOf, portsOf, type PortOwner, type ProcessStat } from "./procfs.ts";
import type { Spec, State } from "./record.ts";
import type { ExitStatus } from "./shim.ts";

/**
 * ms without becoming ready after which the ports are looked at, that another port has to stay open alone (a program may open its metrics before its main
 * port), after which a silent program is worth a word, and how long lines may lag behind an exit.
 */
const patience = { ports: 1_000, stray: 1_500, silent: 5_000, lines: 400 };
/** Where debuggers of Node.js, Java and Python listen, long before the program itself does. */
const debugPorts: ReadonlySet<number> = new Set([9229, 5005, 5678]);
/** Enough for a stack trace with the error above it. */
const evidenceLines = 30;

export interface Facts {
  readonly machine: Machine;
  readonly spec: Spec;
  readonly state: State;
  readonly members: () => ProcessStat[];
  /** Told which port is open in place of the expected one, if any: ms since that was first seen. */
  readonly strayFor: (port: number | undefined) => number;
  /** false: what was found a moment ago still holds for an instance that is not running. */
  readonly fresh: boolean;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
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
  // Also while the next run is on its way: a program that keeps ending would otherwise have a cause only half of the time.
  if (!facts.fresh && state.lastCause.evidence.length > 1) return state.lastCause;
  const endedAt = Date.parse(state.lastExit.at);
  let lines = await linesOf(facts, endedAt - state.lastExit.ranFor - 1000);
  // The last words of a program take a moment through the collector; a cause that is told without them would be the one that is kept.
  while (lines.length === 0 && machine.now() - endedAt < patience.lines) {
    await sleep(25);
    lines = await linesOf(facts, endedAt - state.lastExit.ranFor - 1000);
  }
  const own = ["liveness_failed", "never_ready", "task_deadline", "run_lost"].includes(state.lastCause.code);
  if (own) return { ...state.lastCause, evidence: [...state.lastCause.evidence.filter((one) => one.kind === "probe"), ...lines] };
  if (state.lastCause.code === "start_failed" && state.phase === "waiting" && !state.live && state.lastCause.params["reason"] !== undefined && state.lastCause.evidence.length === 0) return state.lastCause;
  const { exitCode, signal } = state.lastExit;
  state.lastCause = exitCause(spec, state, { ...(exitCode === undefined ? {} : { exitCode }), ...(signal === undefined ? {} : { signal }) }, lines);
  return state.lastCause;
}

async function linesOf({ machine, spec }: Facts, since: number): Promise<Evidence[]> {
  const lines = await lastLines(machine.logsDir, spec.ref, spec.id, evidenceLines, since);
  return lines.map((line) => ({ kind: "log", at: line.at, text: line.text.slice(0, 4096) }));
}

/** Why a run ended, told by its exit status and its last lines. */
export function exitCause(spec: Spec, state: State, exit: ExitStatus, lines: readonly Evidence[]): Cause {
  const ranFor = state.lastExit?.ranFor ?? 0;
  const after = duration(ranFor);
  const how = exit.signal ?? (exit.exitCode === undefined ? "an unknown status" : `exit code ${exit.exitCode}`);
  const evidence: Evidence[] = [...lines, { kind: "exit", ...(state.lastExit === undefined ? {} : { at: state.lastExit.at }), text: `${how} after ${after}` }];
  const taken = portTakenCause(spec, lines, evidence);
  if (taken !== undefined) return taken;
  if (exit.exitCode === 0) return cause("exited_zero", { kind: spec.workload.kind }, evidence);
  const text = lines.map((line) => line.text);
  const wanted = argumentsOf(spec.workload.command);
  const unmountable = exit.exitCode === 125 && text.some((line) => line === "berth: cannot mount the volumes");
  if (unmountable) return cause("start_failed", { reason: "its volumes could not be mounted" }, evidence);
  if (exit.exitCode === 126) return cause("start_failed", { reason: `\`${wanted[0] ?? ""}\` cannot be executed` }, evidence);
  if (exit.exitCode === 127) return cause("command_not_found", { command: missingCommand(text) ?? ("shell" in spec.workload.command ? spec.workload.command.shell : (wanted[0] ?? "")) }, evidence);
  if (state.everReady && state.restarts >= 3) return cause("crash_loop", { restarts: state.restarts, last: how }, evidence);
  if (exit.signal !== undefined) return cause("killed_by_signal", { signal: exit.signal, after }, evidence);
  return exit.exitCode === undefined ? cause("start_failed", { reason: "its exit status was lost" }, evidence) : cause("exited_at_start", { exitCode: exit.exitCode, after, said: lastWords(text) }, evidence);
}

/** The error that the program named, as the end of a sentence. */
function lastWords(lines: readonly string[]): string {
  const scan = new ErrorScan();
  for (const line of lines) scan.add("", line);
  const line = scan.line();
  return line === undefined ? "" : `: ${line.replace(/\.$/, "")}`;
}

/** `sh: 1: exec: foo: not found`, `bash: line 1: foo: command not found`. */
function missingCommand(lines: readonly string[]): string | undefined {
  for (const line of lines.toReversed()) {
    const found = /(?:^|: )([^:\s]+): (?:command )?not found$/.exec(line)?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

function portTakenCause(spec: Spec, lines: readonly Evidence[], evidence: Evidence[]): Cause | undefined {
  const line = lines.findLast((one) => /EADDRINUSE|address (is )?already in use|port \d+ is (already )?in use|address in use/i.test(one.text));
  if (line === undefined) return undefined;
  const near = lines.filter((one) => one === line || /port\W{1,3}\d+/i.test(one.text)).map((one) => one.text).join("\n");
  const named = [line.text, near].flatMap((text) => [...text.matchAll(/(?::|\bport\b\W{1,3}|, )(\d{2,5})\b/gi)]).map((match) => Number(match[1])).find((port) => port <= 65_535);
  const main = mainPort(spec.workload);
  const port = named ?? (main === undefined ? undefined : spec.ports[main]);
  if (port === undefined) return undefined;
  return cause("port_taken", { port, owner: ownerName(ownerOf(port)) }, evidence);
}

export function ownerName(owner: PortOwner | undefined): string {
  if (owner === undefined) return "a program that has ended since";
  if (owner.instance !== undefined) return `instance ${owner.instance} of Berth (process ${owner.pid ?? "unknown"})`;
  return owner.pid === undefined ? `a program of user ${owner.uid}` : `${owner.name} (process ${owner.pid})`;
}

/** Who listens on the port although none of these processes does; undefined when it is one of them, or nobody. */
export function intrudedBy(port: number, members: readonly ProcessStat[]): PortOwner | undefined {
  return portsOf(members).includes(port) ? undefined : ownerOf(port);
}

async function listeningCause(facts: Facts, age: number): Promise<Cause | undefined> {
  const { spec, state } = facts;
  const main = mainPort(spec.workload);
  const expected = main === undefined ? undefined : spec.ports[main];
  const history: Evidence[] = state.probes.map((one) => ({ kind: "probe", at: one.at, text: `${one.probe}: ${one.detail}` }));
  if (expected !== undefined) {
    const members = facts.members();
    const open = portsOf(members);
    const mine = new Set(Object.values(spec.ports));
    const actual = open.includes(expected) ? undefined : open.find((port) => !mine.has(port) && !debugPorts.has(port));
    const strayFor = facts.strayFor(actual);
    if (!open.includes(expected)) {
      const owner = ownerOf(expected);
      if (owner !== undefined) return cause("port_taken", { port: expected, owner: ownerName(owner) }, history);
      const ports: Evidence = { kind: "ports", text: `its processes listen on: ${open.length === 0 ? "no port" : open.join(", ")}` };
      if (actual !== undefined) return strayFor < patience.stray ? undefined : cause("wrong_port", { actual, expected }, [ports, ...history]);
      return age < patience.silent || state.restarts > 0 ? undefined : cause("not_listening", { expected }, [ports, ...history, ...(await linesOf(facts, (state.startedAt ?? 0) - 1000))]);
    }
  }
  const failing = state.probes.filter((one) => one.probe !== "liveness" && !one.ok);
  const last = failing.at(-1);
  if (last === undefined || !state.probes.some((one) => !one.ok)) return undefined;
  return cause("never_ready", { check: describeProbe(spec, last.probe), last: last.detail, failures: failing.length, waited: duration(age) }, [...history, ...(await linesOf(facts, (state.startedAt ?? 0) - 1000))]);
}

/** What is looked at, as people know it: `GET /health`. */
export function describeProbe(spec: Spec, name: ProbeRecord["probe"]): string {
  const check = spec.workload.probes[name]?.check;
  if (check?.type === "http") return `GET ${check.path}`;
  if (check?.type === "exec") return `the ${name} probe's command`;
  const main = mainPort(spec.workload);
  return `port ${check?.port ?? (main === undefined ? "" : spec.ports[main]) ?? ""}`;
}
