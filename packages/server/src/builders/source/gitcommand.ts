// Runs git with nothing of this machine's configuration, no prompt, no hook, its own session, a deadline and a bound on what it writes.
// Arguments are always an array; credentials never are among them.
import { spawn } from "node:child_process";
import { PassThrough, pipeline, type Readable } from "node:stream";
import { identify, type LastingIdentity } from "../../os/process.ts";
import { killProcesses } from "../process.ts";
import type { RunAs } from "../builder.ts";

export interface GitSetting {
  /** The git program. */
  readonly git: string;
  /** Everything that git may know of its environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** `NAME=value` in `env` that nothing else on this machine has. */
  readonly mark: string;
  readonly runAs: RunAs | undefined;
  /** Largest file that git may write, in bytes. */
  readonly fileLimit: number;
  readonly signal: AbortSignal;
}

export interface GitResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const keptOutput = 256 * 1024;

/**
 * Runs `git <args>` and returns when it has ended, with the first 256 KiB of what it said. With `consume`, standard output goes there and git is ended when that fails.
 * Throws the signal's reason after everything that git started is gone.
 */
export async function runGit(
  setting: GitSetting,
  args: readonly string[],
  consume?: (stdout: Readable) => Promise<void>,
): Promise<GitResult> {
  setting.signal.throwIfAborted();
  // The shell only sets the bound (POSIX: units of 512 bytes) and becomes git; the arguments pass it untouched.
  const child = spawn("/bin/sh", ["-c", 'ulimit -f "$0"; exec "$@"', String(Math.ceil(setting.fileLimit / 512)), setting.git, ...args], {
    cwd: setting.cwd,
    env: { ...setting.env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    ...(setting.runAs === undefined ? {} : { uid: setting.runAs.uid, gid: setting.runAs.gid }),
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      resolve(code ?? 128);
    });
  });
  // Whoever awaits it below sees a failure; until then it must not count as unhandled.
  ended.catch(() => undefined);
  const leaders: LastingIdentity[] = [];
  const leader = child.pid === undefined ? undefined : identify(child.pid);
  if (leader !== undefined) leaders.push(leader);
  const endAll = async (): Promise<void> => killProcesses({ leaders, recent: true, mark: setting.mark });
  let ending: Promise<void> | undefined;
  const onAbort = (): void => {
    ending = endAll();
    ending.catch(() => undefined);
  };
  setting.signal.addEventListener("abort", onAbort, { once: true });
  try {
    const stderr = collect(child.stderr);
    const stdout = consume === undefined ? collect(child.stdout) : consume(kept(child.stdout)).then(() => "");
    const said = await Promise.all([stdout, stderr, ended]).catch(async (error: unknown) => {
      await endAll();
      throw setting.signal.aborted ? setting.signal.reason : error;
    });
    setting.signal.throwIfAborted();
    return { exitCode: said[2], stdout: said[0], stderr: said[1] };
  } finally {
    setting.signal.removeEventListener("abort", onAbort);
    await ending;
  }
}

/** Read from the first moment: Node.js throws away what nobody reads by the time a child ends. */
function kept(stream: Readable): Readable {
  const copy = new PassThrough();
  pipeline(stream, copy, () => undefined);
  return copy;
}

async function collect(stream: Readable): Promise<string> {
  const kept: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (size < keptOutput) kept.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(kept).subarray(0, keptOutput).toString("utf8");
}
