// The shim: a few lines of POSIX shell (about 1 MB) between the agent and a program, so that the program, its output and its exit status
// outlive every Berth process. It runs as Berth's user with an empty environment; nothing that a tenant wrote reaches it.
import { spawn } from "node:child_process";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemPath } from "../../sandbox/bubblewrap.ts";
import { parseStat, statOf, type ProcessIdentity } from "../../os/process.ts";
import { errorCode, readIfThere } from "./files.ts";
import { childrenOf, namespaceOf, signalAll } from "./procfs.ts";

/**
 * Arguments: folder, run number. `claim` makes a run happen at most once, whoever comes late, and says who has it. The pipes are opened read-write: writing never
 * gets SIGPIPE and never fails while no collector reads. At the end it waits at `hold`, which nobody ever writes to, until an agent that has the pipes open ends
 * it (`endShim`), since their content dies with the last holder. Its own stderr shows whether the program was ended by a signal: the shell writes the signal's
 * name there, and nothing otherwise.
 */
export const shimScript = `dir=$1
run=$2
umask 077
read -r self < /proc/$$/stat
set -C
true > "$dir/claim-$run" 2>/dev/null || exit 0
set +C
printf '%s\\n' "$self" > "$dir/claim-$run"
exec 3<>"$dir/stdout" 4<>"$dir/stderr" 2>"$dir/shim-$run"
setsid /bin/sh "$dir/run" "$run"
code=$?
by=code
[ -s "$dir/shim-$run" ] && by=signal
printf '%s %s\\n' "$by" "$code" > "$dir/exit-$run"
read -r _ <> "$dir/hold"
`;

/**
 * First lines of every \`run\` file: leaves both identities on disk. The pid does not change by what follows, which only ever execs. The pipes become
 * its output only here, because a shell that waits would write the name of a signal to the stderr that it gave to its child.
 */
export const runPrologue = (dir: string): string => `dir=${dir}
read -r shim < /proc/$PPID/stat
read -r self < /proc/$$/stat
umask 077
exec >&3 2>&4 3>&- 4>&-
printf '%s\\n%s\\n.\\n' "$shim" "$self" > "$dir/pid-$1"
ulimit -c 0
`;

/** Starts the shim in a session of its own; it does not end with the agent. Rejects when the machine cannot start a process at all. */
export function spawnShim(script: string, dir: string, run: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", [script, dir, String(run)], { detached: true, stdio: "ignore", cwd: "/", env: { PATH: systemPath } });
    child.once("error", reject);
    child.once("spawn", () => {
      child.unref();
      resolve();
    });
  });
}

/** Lets the shim of a run go, once the pipes are open in the agent's hands and its exit is known: whatever it was about to do, it does nothing more. */
export function endShim(dir: string, run: number): void {
  const shim = parseStat(readIfThere(join(dir, `claim-${run}`))?.trimEnd() ?? "");
  if (shim !== undefined) signalAll([shim], "SIGKILL");
}

export interface RunProcesses {
  readonly shim: ProcessIdentity;
  /** The process that lives as long as the run: the program itself or, in a sandbox, its first process, with which everything inside ends. */
  readonly program: ProcessIdentity;
}

/** Identities that a run left behind; undefined while it has not come so far. */
export function readPids(dir: string, run: number, sandboxed: boolean): RunProcesses | undefined {
  const [shimLine, programLine, dot] = (readIfThere(join(dir, `pid-${run}`)) ?? "").split("\n");
  if (dot !== ".") return undefined;
  const shim = parseStat(shimLine ?? "");
  const own = parseStat(programLine ?? "");
  if (shim === undefined || own === undefined) return undefined;
  const program = sandboxed ? firstProcess(dir, run) : own;
  return program === undefined
    ? undefined
    : { shim: { pid: shim.pid, start: shim.start }, program: { pid: program.pid, start: program.start } };
}

/** bubblewrap reports the first process and its namespaces: by both a pid that was handed out again is told from the right one. */
function firstProcess(dir: string, run: number): ProcessIdentity | undefined {
  const text = readIfThere(join(dir, `info-${run}`)) ?? "";
  if (!text.trimEnd().endsWith("}")) return undefined;
  const [pid, space] = [/"child-pid": (\d+)/.exec(text)?.[1], /"pid-namespace": (\d+)/.exec(text)?.[1]];
  const stat = pid === undefined ? undefined : statOf(Number(pid));
  return stat !== undefined && namespaceOf(stat.pid) === `pid:[${space ?? ""}]` ? stat : undefined;
}

/** The program itself: in a sandbox the oldest child of its first process. */
export function pidOfProgram(state: { readonly program?: ProcessIdentity; readonly sandboxed?: boolean }): number | undefined {
  return state.program === undefined || state.sandboxed !== true ? state.program?.pid : childrenOf(state.program.pid)[0];
}

export interface ExitStatus {
  readonly exitCode?: number;
  readonly signal?: string;
  /** Names of processes that were still there when the program ended, and ended with its sandbox. */
  readonly left?: readonly string[];
  /** The sandbox itself could not be made: nothing of the program ran. */
  readonly unmade?: true;
}

const signalNames: Readonly<Record<number, string>> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  4: "SIGILL",
  5: "SIGTRAP",
  6: "SIGABRT",
  7: "SIGBUS",
  8: "SIGFPE",
  9: "SIGKILL",
  10: "SIGUSR1",
  11: "SIGSEGV",
  12: "SIGUSR2",
  13: "SIGPIPE",
  14: "SIGALRM",
  15: "SIGTERM",
  24: "SIGXCPU",
  25: "SIGXFSZ",
  31: "SIGSYS",
};

/** How a run ended; undefined while it has not. */
export function readExit(dir: string, run: number): ExitStatus | undefined {
  const match = /^(code|signal) (\d+)\n$/.exec(readIfThere(join(dir, `exit-${run}`)) ?? "");
  if (match === null) return undefined;
  const outer = { code: Number(match[2]), bySignal: match[1] === "signal" };
  const words = lastWords(dir, run);
  if (words === undefined) return statusOf(outer.code, outer.bySignal);
  const code = /^code (\d+)$/m.exec(words)?.[1];
  // Without its last words the first process was killed; bubblewrap tells a signal by its number only.
  if (code === undefined)
    return words === "" && outer.code > 0 && outer.code < 128 ? { exitCode: outer.code, unmade: true } : statusOf(outer.code, true);
  const left = [...words.matchAll(/^left (.*)$/gm)].map((found) => (found[1] ?? "").replace(/[^\x20-\x7e]/g, "?"));
  return { ...statusOf(Number(code), !/^(left |code )/.test(words)), ...(left.length === 0 ? {} : { left: left.slice(0, 5) }) };
}

function statusOf(code: number, bySignal: boolean): ExitStatus {
  // Shells write nothing about SIGINT and SIGPIPE, and no program chooses these two codes for anything else.
  return (bySignal || code === 130 || code === 141) && code > 128
    ? { signal: signalNames[code - 128] ?? `signal ${code - 128}` }
    : { exitCode: code };
}

/** What a sandbox's first process wrote, at most 4 KiB of it; undefined when the run had no sandbox. */
function lastWords(dir: string, run: number): string | undefined {
  let file: number;
  try {
    file = openSync(join(dir, `ended-${run}`), "r");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const words = Buffer.alloc(4096);
    return words.toString("utf8", 0, readSync(file, words));
  } finally {
    closeSync(file);
  }
}

/** When a run ended (unix ms), by its exit file: the agent may have been away when it happened. */
export function exitedAt(dir: string, run: number): number | undefined {
  return statSync(join(dir, `exit-${run}`), { throwIfNoEntry: false })?.mtimeMs;
}

/** Takes the right to begin a run, so that a shim that comes late does nothing. false: the shim has it already. */
export function claimRun(dir: string, run: number): boolean {
  try {
    closeSync(openSync(join(dir, `claim-${run}`), "wx", 0o600));
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}
