// Runs the machine's programs that make root file systems: what they print comes as it is printed, and none of them outlives who asked for it.
import { spawn } from "node:child_process";
import process from "node:process";

export interface Running {
  readonly signal?: AbortSignal | undefined;
  /** All that it finds in its environment; undefined: what this process has itself. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** What it is called in a failure, where the first word does not say. */
  readonly name?: string | undefined;
}

const keptWords = 4_000;

/** A program of the machine ended badly: which, how, and what it said last. */
export class ProgramFailed extends Error {
  readonly program: string;
  readonly words: string;
  constructor(program: string, how: string, words: string) {
    super(`${program} ${how}: ${words}`);
    this.name = "ProgramFailed";
    this.program = program;
    this.words = words;
  }
}

/** Of a mount and process namespace of its own, which the kernel takes away with everything in it when this process ends, also by SIGKILL. `mount` says what is mounted inside. */
export function confined(command: readonly string[], mount = ":"): string[] {
  const leash = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
  return [...leash, "sh", "-c", `set -e; ${mount}; exec "$@"`, "sh", ...command];
}

/** What a program prints, as it comes. Throws ProgramFailed unless it ends well; ends it when the consumer leaves or the signal says so. */
export async function* output(
  [program = "", ...args]: readonly string[],
  { signal, env, name = program }: Running = {},
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...(env === undefined ? {} : { env }) });
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, killed) => {
      resolve(code === 0 ? "" : `ended with ${String(code ?? killed)}`);
    });
  });
  // It is awaited below, but not before the output ends.
  ended.catch(() => undefined);
  let words = "";
  const keep = (text: Buffer): void => {
    words = (words + text.toString()).slice(-keptWords);
  };
  child.stderr.on("data", keep);
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL");
  };
  signal?.addEventListener("abort", kill, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      // debootstrap tells its troubles there, and nothing else of ours is text of a few KB at the end of a failure.
      keep(chunk.subarray(-keptWords));
      yield chunk;
    }
    const trouble = await ended;
    signal?.throwIfAborted();
    if (trouble !== "") throw new ProgramFailed(name, trouble, words.trim());
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
  }
}

/** Runs it to its end; what it prints is only kept for a failure. */
export async function run(command: readonly string[], options: Running = {}): Promise<void> {
  for await (const _ of output(command, options));
}
