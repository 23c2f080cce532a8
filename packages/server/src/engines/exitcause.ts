// Why a run ended, told by its exit status and its last words (promise 6): the same sentence wherever it ran. Pure.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { ErrorScan } from "../core/builderrors.ts";
import { argumentsOf } from "../core/command.ts";
import { causeInLine } from "../core/knownlines.ts";
import { measured, times } from "../core/words.ts";
import type { Instance, Workload } from "./engine.ts";
import { mainPort, mostProcesses } from "./workload.ts";

/** What ran, as far as its end is concerned. */
export interface Ended {
  readonly workload: Pick<Workload, "kind" | "command" | "ports" | "resources">;
  /** Port name -> number. */
  readonly ports: Readonly<Record<string, number>>;
  /** Set when it was a one-off run, which may end well. */
  readonly task?: unknown;
  /** Who has a port that it wanted. */
  readonly ownerOf: (port: number) => string;
}

/** How it ended, and what was seen of it before. */
export interface EndFacts {
  readonly lastExit?: Instance["lastExit"];
  readonly lastEnd?: {
    /** Names of processes that it left behind. */
    readonly left?: readonly string[];
    /** Its sandbox could not be made. */
    readonly unmade?: true;
    readonly trouble?: Trouble;
  };
  /** In any run. */
  readonly everReady: boolean;
  readonly restarts: number;
}

/** What the kernel counted of a run. */
export interface Trouble {
  readonly memoryKills: number;
  /** bytes */ readonly memoryPeak: number | undefined;
  readonly processesRefused: number;
}

export interface ExitStatus {
  readonly exitCode?: number;
  readonly signal?: string;
}

/** Why a run ended, told by its exit status and its last lines. */
export function exitCause(spec: Ended, state: EndFacts, exit: ExitStatus, lines: readonly Evidence[]): Cause {
  const ranFor = state.lastExit?.ranFor ?? 0;
  const after = measured(ranFor);
  const how = exit.signal ?? (exit.exitCode === undefined ? "an unknown status" : `exit code ${exit.exitCode}`);
  const evidence: Evidence[] = [
    ...lines,
    { kind: "exit", ...(state.lastExit === undefined ? {} : { at: state.lastExit.at }), text: `${how} after ${after}` },
  ];
  const refused = limitCause(spec, state, exit, evidence);
  if (refused !== undefined) return refused;
  const taken = portTakenCause(spec, lines, evidence);
  if (taken !== undefined) return taken;
  const named = exit.exitCode === 0 ? undefined : namedCause(lines);
  if (named !== undefined) return { ...named, evidence };
  const left = state.lastEnd?.left ?? [];
  if (exit.exitCode === 0 && left.length > 0 && spec.task === undefined)
    return cause("forked_away", { left: left.map((name) => `\`${name}\``).join(", ") }, evidence);
  if (state.lastEnd?.unmade === true) return cause("start_failed", { reason: "its sandbox could not be made" }, evidence);
  if (exit.exitCode === 0) return cause("exited_zero", { kind: spec.workload.kind }, evidence);
  const text = lines.map((line) => line.text);
  const wanted = argumentsOf(spec.workload.command);
  const unmountable = exit.exitCode === 125 && text.some((line) => line === "berth: cannot mount the volumes");
  if (unmountable) return cause("start_failed", { reason: "its volumes could not be mounted" }, evidence);
  if (exit.exitCode === 126) return cause("start_failed", { reason: `\`${wanted[0] ?? ""}\` cannot be executed` }, evidence);
  if (exit.exitCode === 127)
    return cause(
      "command_not_found",
      { command: missingCommand(text) ?? ("shell" in spec.workload.command ? spec.workload.command.shell : (wanted[0] ?? "")) },
      evidence,
    );
  if (state.everReady && state.restarts >= 3) return cause("crash_loop", { restarts: state.restarts, last: how }, evidence);
  if (exit.signal !== undefined) return cause("killed_by_signal", { signal: exit.signal, after }, evidence);
  return exit.exitCode === undefined
    ? cause("start_failed", { reason: "its exit status was lost" }, evidence)
    : cause("exited_at_start", { exitCode: exit.exitCode, after, said: lastWords(text) }, evidence);
}

/** A limit that the run met, as the kernel counted it; undefined when it ended well or met none. */
function limitCause(spec: Ended, state: EndFacts, exit: ExitStatus, evidence: Evidence[]): Cause | undefined {
  const trouble = state.lastEnd?.trouble;
  if (trouble === undefined || exit.exitCode === 0) return undefined;
  const { memory, processes = mostProcesses } = spec.workload.resources;
  if (trouble.memoryKills > 0) {
    const peak = trouble.memoryPeak === undefined ? "an unknown amount" : bytes(trouble.memoryPeak);
    const proof: Evidence = {
      kind: "event",
      text: `the kernel ended ${trouble.memoryKills} of its processes; ${peak} of memory was in use at its peak`,
    };
    return memory === undefined
      ? cause("machine_out_of_memory", { used: peak }, [proof, ...evidence])
      : cause("out_of_memory", { limit: bytes(memory), used: peak }, [proof, ...evidence]);
  }
  return trouble.processesRefused === 0
    ? undefined
    : cause("process_limit", { limit: `${processes} processes and threads` }, [
        { kind: "event", text: `the kernel refused to start a process or thread ${times(trouble.processesRefused)}` },
        ...evidence,
      ]);
}

/** What the last words of a run name as the reason of its end, where that has a remedy of its own. */
function namedCause(lines: readonly Evidence[]): Cause | undefined {
  // The first one: what stands below it are its details.
  for (const { text } of lines) {
    const found = causeInLine("The process", text);
    if (found !== undefined) return found;
  }
  return undefined;
}

function bytes(count: number): string {
  const unit =
    count >= 1024 ** 3
      ? { size: 1024 ** 3, name: "GiB" }
      : count >= 1024 ** 2
        ? { size: 1024 ** 2, name: "MiB" }
        : { size: 1024, name: "KiB" };
  return `${Number((count / unit.size).toFixed(1))} ${unit.name}`;
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

function portTakenCause(spec: Ended, lines: readonly Evidence[], evidence: Evidence[]): Cause | undefined {
  const line = lines.findLast((one) =>
    /EADDRINUSE|address (is )?already in use|port \d+ is (already )?in use|address in use/i.test(one.text),
  );
  if (line === undefined) return undefined;
  const near = lines
    .filter((one) => one === line || /port\W{1,3}\d+/i.test(one.text))
    .map((one) => one.text)
    .join("\n");
  const named = [line.text, near]
    .flatMap((text) => [...text.matchAll(/(?::|\bport\b\W{1,3}|, )(\d{2,5})\b/gi)])
    .map((match) => Number(match[1]))
    .find((port) => port <= 65_535);
  const main = mainPort(spec.workload);
  const port = named ?? (main === undefined ? undefined : spec.ports[main]);
  if (port === undefined) return undefined;
  return cause("port_taken", { port, owner: spec.ownerOf(port) }, evidence);
}
