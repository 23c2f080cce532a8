// Says why a container is not ready, from what its daemon, its last lines, its probes and its own sockets tell (promise 6). It reports only what it saw.
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { measured } from "../../core/words.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import type { Ref, Workload } from "../../engines/engine.ts";
import { argumentsOf } from "../../core/command.ts";
import { mainPort } from "../../engines/workload.ts";
import { exitCause } from "../../engines/exitcause.ts";
import { clockSlack, describeProbe, evidenceLines, patience } from "../agent/diagnose.ts";
import { parseListeners, type Listener } from "../agent/listening.ts";
import type { State } from "../agent/record.ts";
import { readMark } from "../collector/container.ts";
import { lastLines } from "../collector/files.ts";
import { readIfThere } from "../agent/files.ts";

/** ms by which lines may lag behind an end. */
const wordsPatience = 2_000;

/** What a cause is told of. */
export interface Subject {
  readonly id: string;
  readonly workload: Workload;
  readonly ports: Readonly<Record<string, number>>;
  readonly task?: NonNullable<ContainerOrder["task"]>;
}

export interface Exit {
  readonly exitCode?: number;
  readonly signal?: string;
  readonly outOfMemory?: boolean;
}

/** Docker tells a signal by 128 and its number, as shells do. */
export function exitOf(code: number, outOfMemory = false): Exit {
  const name = code > 128 ? Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0] : undefined;
  return { ...(name === undefined ? { exitCode: code } : { signal: name }), ...(outOfMemory ? { outOfMemory } : {}) };
}

/** Why a run ended. */
export function endCause(subject: Subject, state: State, exit: Exit, lines: readonly Evidence[]): Cause {
  // Alone in its network: only the program itself can have the port.
  return exitCause({ ...subject, ownerOf: () => "another process of the same container" }, state, exit, lines);
}

/** Why the daemon could not start it, from its own words. */
export function startCause({ workload, task }: Subject, error: Pick<Error, "message">): Cause {
  const [program = ""] = argumentsOf(task?.command ?? workload.command);
  const reason = error.message.replace(/^(failed to create task for container|OCI runtime create failed|oci runtime error): /i, "");
  const evidence: Evidence[] = [{ kind: "event", text: error.message }];
  if (/executable file .*not found|no such file or directory: unknown|stat .*: no such file/i.test(reason))
    return cause("command_not_found", { command: /exec: "([^"]+)"/.exec(reason)?.[1] ?? program }, evidence);
  if (/permission denied/i.test(reason)) return cause("start_failed", { reason: `\`${program}\` cannot be executed` }, evidence);
  return cause("start_failed", { reason: reason.split("\n")[0]?.slice(0, 300) ?? "" }, evidence);
}

export interface ContainerFacts {
  readonly subject: Subject;
  readonly ref: Ref;
  readonly state: State;
  readonly logsDir: string;
  /** The instance's own folder. */
  readonly dir: string;
  readonly now: () => number;
  /** What is free on the disk of the daemon, when that is next to nothing. */
  readonly scarceRoom: () => Promise<string | undefined>;
  readonly run: (command: Command, signal: AbortSignal) => Promise<{ readonly code: number | undefined; readonly output: string }>;
}

/** The cause of a container that is neither ready nor stopping; undefined while it is not known. */
export async function containerCause(facts: ContainerFacts): Promise<Cause | undefined> {
  const { state, subject } = facts;
  const age = facts.now() - (state.startedAt ?? facts.now());
  if (state.phase === "running" && state.ending === undefined && age >= patience.ports) {
    const seen = await notReadyCause(facts, age);
    if (seen !== undefined) return seen;
  }
  const { lastExit, lastCause } = state;
  if (lastExit === undefined || lastCause === undefined) return state.ending ?? lastCause;
  // Told before with the last words of that run, or of something that no words belong to.
  if (lastCause.evidence.some((one) => one.kind === "log") || ["start_failed", "host_disk_full"].includes(lastCause.code)) return lastCause;
  const endedAt = Date.parse(lastExit.at);
  const since = endedAt - lastExit.ranFor - clockSlack;
  let lines = await linesOf(facts, since);
  // Its last words take a moment through the daemon and the collector; without them the cause would say less than there is.
  while (!isRead(facts) && facts.now() - endedAt < wordsPatience) {
    await sleep(25);
    lines = await linesOf(facts, since);
  }
  if (lines.length === 0) lines = await linesOf(facts, since);
  // The next run has ended meanwhile, as quickly: of that nothing is read yet. What this one said is told, or else what that one says.
  if (state.lastExit !== lastExit && lines.length === 0) return containerCause(facts);
  if (["liveness_failed", "never_ready", "task_deadline", "run_lost"].includes(lastCause.code))
    return { ...lastCause, evidence: [...lastCause.evidence, ...lines] };
  const { exitCode, signal } = lastExit;
  const exit = { ...(exitCode === undefined ? {} : { exitCode }), ...(signal === undefined ? {} : { signal }) };
  state.lastCause = endCause(subject, state, exit, lines);
  // The daemon keeps what a program says on the same disk: of one that filled it not even the last words are there.
  const room = lines.length === 0 && exitCode !== 0 ? await facts.scarceRoom() : undefined;
  if (room !== undefined)
    state.lastCause = cause("host_disk_full", { what: "what the program wrote, and for its last words", room }, state.lastCause.evidence);
  return state.lastCause;
}

/** Whether the collector has written everything that the last run said. */
function isRead({ dir }: ContainerFacts): boolean {
  const run = readIfThere(join(dir, "run"));
  return run !== undefined && run === readIfThere(join(dir, readMark));
}

async function linesOf({ subject, ref, logsDir }: ContainerFacts, since: number): Promise<Evidence[]> {
  const lines = await lastLines(logsDir, ref, subject.id, evidenceLines, since);
  return lines.map((line) => ({ kind: "log", at: line.at, text: line.text.slice(0, 4096) }));
}

async function notReadyCause(facts: ContainerFacts, age: number): Promise<Cause | undefined> {
  const { subject, state } = facts;
  const history: Evidence[] = state.probes.map((one) => ({ kind: "probe", at: one.at, text: `${one.probe}: ${one.detail}` }));
  const main = mainPort(subject.workload);
  const expected = main === undefined ? undefined : subject.ports[main];
  const refused = state.probes.at(-1)?.detail === "connection refused";
  if (expected !== undefined && refused && age >= patience.stray) {
    const open = await listenersIn(facts);
    const fault = open === undefined ? undefined : faultOf(open, subject.ports, expected, age);
    if (fault !== undefined) return { ...fault, evidence: [...fault.evidence, ...history] };
  }
  const failing = state.probes.filter((one) => one.probe !== "liveness" && !one.ok);
  const last = failing.at(-1);
  if (last === undefined) return undefined;
  return cause(
    "never_ready",
    { check: describeProbe(subject, last.probe), last: last.detail, failures: failing.length, waited: measured(age) },
    [...history, ...(await linesOf(facts, (state.startedAt ?? 0) - clockSlack))],
  );
}

/** Who listens in the container's own network; undefined when it has no program to tell. */
async function listenersIn(facts: ContainerFacts): Promise<Listener[] | undefined> {
  const limit = AbortSignal.timeout(2_000);
  const { code, output } = await facts
    .run({ exec: ["cat", "/proc/net/tcp", "/proc/net/tcp6"] }, limit)
    .catch(() => ({ code: undefined, output: "" }));
  return code === undefined || !output.includes("local_address") ? undefined : parseListeners(output);
}

function faultOf(open: readonly Listener[], ports: Readonly<Record<string, number>>, expected: number, age: number): Cause | undefined {
  // The daemon's own resolver listens on 127.0.0.11.
  const own = open.filter((one) => one.host !== "127.0.0.11");
  const shown = [...new Set(own.map((one) => `${one.host.includes(":") ? `[${one.host}]` : one.host}:${String(one.port)}`))];
  const evidence: Evidence[] = [{ kind: "ports", text: `it listens on ${shown.length === 0 ? "no port" : shown.join(", ")}` }];
  const there = own.find((one) => one.port === expected);
  if (there !== undefined)
    return cause("wrong_address", { address: `${there.host}:${String(expected)}`, expected: `0.0.0.0:${String(expected)}` }, evidence);
  const mine = new Set(Object.values(ports));
  const actual = own.find((one) => !mine.has(one.port))?.port;
  if (actual !== undefined) return cause("wrong_port", { actual, expected }, evidence);
  return age < patience.silent ? undefined : cause("not_listening", { expected }, evidence);
}
