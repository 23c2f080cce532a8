// Runs one step of a build as processes of its own session and user. When it returns, nothing that the step started is left.
import { argumentsOf } from "../../core/command.ts";
import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "@berth/contract/spec.ts";
import { niceSession } from "../../os/priority.ts";
import { identify, type LastingIdentity } from "../../os/process.ts";
import { enterGroups, type Group } from "../../sandbox/cgroups.ts";
import type { View } from "../../sandbox/view.ts";
import type { RunAs } from "../builder.ts";
import { killProcesses, sendSignal } from "../process.ts";
import type { Confined, Confinement } from "./confine.ts";
import { markName } from "./environment.ts";
import type { StepLog } from "../log.ts";
import { openPipes, type OutputPipe } from "./pipes.ts";

export interface StepRun {
  readonly command: Command;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly confinement: Confinement;
  /** What the step sees of the file system, where the confinement decides that. */
  readonly view: View;
  /** Limits of the whole build. */
  readonly group: Group | undefined;
  readonly runAs: RunAs | undefined;
  /** The build's folder for Berth's own notes: who the leaders of its sessions are, so that a later control plane finds them. */
  readonly notesDir: string;
  readonly log: StepLog;
  readonly signal: AbortSignal;
}

export type StepEnd =
  | { readonly type: "exit"; readonly code: number }
  | { readonly type: "signal"; readonly signal: string }
  | { readonly type: "not-started"; readonly reason: string };

/** ms between SIGTERM and SIGKILL when a build is cancelled or late. */
const grace = 1000;
/** ms that output already printed may take to arrive after everything has ended. */
const drain = 2000;

/** Runs the command to its end, or until the signal; then throws its reason. */
export async function runStep(run: StepRun): Promise<StepEnd> {
  run.signal.throwIfAborted();
  const confined = run.confinement.wrap(argumentsOf(run.command), run.env, markName, { cwd: run.cwd, view: run.view });
  const group = canEnter(confined) ? run.group : undefined;
  const { program, args, env, user, input } = group === undefined ? confined : limited(confined, group);
  const [stdout, stderr] = await openPipes(run.notesDir, run.runAs);
  const child = started(
    () =>
      spawn(program, args, {
        cwd: run.cwd,
        env,
        detached: true,
        stdio: ["ignore", stdout.writeFd, stderr.writeFd, input === undefined ? "ignore" : "pipe"],
        ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
      }),
    [stdout, stderr],
  );
  // Told of by its end; where no more files can be opened there is nothing else of it.
  child.on("error", () => undefined);
  if (child.pid !== undefined) lowerPriority(child.pid);
  if (input !== undefined) giveInput(child.stdio[3] as Writable, input);
  const ended = new Promise<StepEnd>((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      resolve({ type: "not-started", reason: error.code ?? error.message });
    });
    child.once("exit", (code, signal) => {
      resolve(code === null ? { type: "signal", signal: signal ?? "SIGKILL" } : { type: "exit", code });
    });
  });
  const read = Promise.all([logged(stdout.readable, "stdout", run.log), logged(stderr.readable, "stderr", run.log)]);
  const leaders = noteLeader(run, child.pid);
  const aborted = new Promise<"aborted">((resolve) => {
    run.signal.addEventListener(
      "abort",
      () => {
        resolve("aborted");
      },
      { once: true },
    );
  });
  const first = await Promise.race([ended, aborted]);
  if (first === "aborted" && child.pid !== undefined) {
    sendSignal(-child.pid, "SIGTERM");
    await Promise.race([ended, pause(grace)]);
  }
  await killProcesses({ leaders, recent: true, mark: `${markName}=${run.env[markName] ?? ""}`, group });
  // A process of somebody else may hold the pipe (a container's shim, for instance); what it prints is not the build's.
  await Promise.race([read, pause(drain)]);
  for (const pipe of [stdout, stderr]) pipe.readable.destroy();
  run.log.end();
  run.signal.throwIfAborted();
  return ended;
}

/** A start that changes the user by itself could not enter a group of Berth's. */
const canEnter = (confined: Confined): boolean => confined.user === undefined && confined.input !== undefined;

/** Enters the group with Berth's own rights, before anything else. */
function limited(confined: Confined, group: Group): Confined {
  return {
    ...confined,
    program: "/bin/sh",
    args: ["-c", `${enterGroups(group.entrances)}exec "$@"`, "sh", confined.program, ...confined.args],
  };
}

/** What cannot even be tried (a NUL in an argument) throws, and must leave no pipe open. */
function started(start: () => ChildProcess, pipes: readonly OutputPipe[]): ChildProcess {
  try {
    return start();
  } catch (error) {
    for (const pipe of pipes) pipe.readable.destroy();
    throw error;
  } finally {
    for (const pipe of pipes) pipe.release();
  }
}

function logged(stream: Readable, name: "stdout" | "stderr", log: StepLog): Promise<void> {
  stream.on("data", (data: Buffer) => {
    log.push(name, data);
  });
  return new Promise((resolve) => {
    stream.once("close", () => {
      resolve();
    });
    stream.once("error", () => {
      resolve();
    });
  });
}

/** A wrapper that ends before it has read everything has failed, and says so by its exit code. */
function giveInput(stream: Writable, text: string): void {
  stream.on("error", () => undefined);
  stream.end(text);
}

/** Instances and router come first on a machine that also builds; a step that has ended already needs nothing. */
function lowerPriority(pid: number): void {
  niceSession(pid, 10);
  try {
    setPriority(pid, 10);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "ERR_SYSTEM_ERROR"))) throw error;
  }
}

/** Written before anything else happens, by a call that returns only then: a crash right after leaves what `sweep` needs. */
function noteLeader(run: StepRun, pid: number | undefined): LastingIdentity[] {
  const leader = pid === undefined ? undefined : identify(pid);
  if (leader === undefined) return [];
  writeFileSync(join(run.notesDir, `leader-${String(leader.pid)}-${leader.start}.json`), JSON.stringify(leader), { mode: 0o600 });
  return [leader];
}
