// The shim: a few lines of POSIX shell (about 1 MB) between the agent and a program, so that the program, its output and its exit status
// outlive every Berth process. It runs as Berth's user with an empty environment; nothing that a tenant wrote reaches it.
import { spawn } from "node:child_process";
import { closeSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { errorCode, readIfThere } from "./files.ts";
import { parseStat, type ProcessIdentity } from "./procfs.ts";

/** PATH for Berth's own steps before the program; the program gets another. */
export const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Arguments: folder, run number. `claim` makes a run happen at most once, whoever comes late. The pipes are opened read-write: writing never gets
 * SIGPIPE and never fails while no collector reads. At the end it waits at `hold` until an agent has the pipes open, since their content dies with the
 * last holder. Its own stderr shows whether the program was ended by a signal: the shell writes the signal's name there, and nothing otherwise.
 */
export const shimScript = `dir=$1
run=$2
umask 077
set -C
true > "$dir/claim-$run" 2>/dev/null || exit 0
set +C
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

/** Identities that a run left behind; undefined while it has not come so far. */
export function readPids(dir: string, run: number): { readonly shim: ProcessIdentity; readonly program: ProcessIdentity } | undefined {
  const [shimLine, programLine, dot] = (readIfThere(join(dir, `pid-${run}`)) ?? "").split("\n");
  if (dot !== ".") return undefined;
  const shim = parseStat(shimLine ?? "");
  const program = parseStat(programLine ?? "");
  return shim === undefined || program === undefined ? undefined : { shim: { pid: shim.pid, start: shim.start }, program: { pid: program.pid, start: program.start } };
}

export interface ExitStatus { readonly exitCode?: number; readonly signal?: string }

const signalNames: Readonly<Record<number, string>> = {
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
  24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
};

/** How a run ended; undefined while it has not. */
export function readExit(dir: string, run: number): ExitStatus | undefined {
  const match = /^(code|signal) (\d+)\n$/.exec(readIfThere(join(dir, `exit-${run}`)) ?? "");
  if (match === null) return undefined;
  const code = Number(match[2]);
  // Shells write nothing about SIGINT and SIGPIPE, and no program chooses these two codes for anything else.
  const bySignal = (match[1] === "signal" || code === 130 || code === 141) && code > 128;
  return bySignal ? { signal: signalNames[code - 128] ?? `signal ${code - 128}` } : { exitCode: code };
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
