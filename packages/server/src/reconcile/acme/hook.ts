// The operator's program that sets and takes away the record of a dns-01 challenge. It is started as it is named, never by a shell; it must not outlive its deadline.
import { spawn } from "node:child_process";

/** The program failed; `said`: the end of what it wrote. */
export class HookFailed extends Error {
  readonly said: string;
  constructor(reason: string, said: string) {
    super(reason);
    this.name = "HookFailed";
    this.said = said;
  }
}

export interface HookCall {
  readonly program: string;
  /** `add` is repeated after a crash, and `remove` of what is not there is no error: the program has to bear both. */
  readonly verb: "add" | "remove";
  /** `_acme-challenge.shop.example.com` */
  readonly name: string;
  readonly value: string;
  readonly env: Readonly<Record<string, string>>;
  /** ms */
  readonly deadline: number;
}

const mostSaid = 4_000;

/** Resolves when the program ended well: then the record can be seen. Errors: `HookFailed`. */
export async function runHook({ program, verb, name, value, env, deadline }: HookCall, signal: AbortSignal): Promise<void> {
  const within = AbortSignal.timeout(deadline);
  const child = spawn(program, [verb, name, value], { stdio: ["ignore", "pipe", "pipe"], env: { ...env }, detached: true });
  // Told of by its end; where no more files can be opened there is nothing else of it.
  child.on("error", () => undefined);
  let said = "";
  const hear = (text: string): void => {
    said = (said + text).slice(-mostSaid);
  };
  child.stdout.setEncoding("utf8").on("data", hear);
  child.stderr.setEncoding("utf8").on("data", hear);
  const left = Promise.withResolvers<string>();
  const end = (): void => {
    if (child.pid === undefined) return;
    try {
      // With everything that it started.
      process.kill(-child.pid, "SIGKILL");
    } catch (error) {
      // All of it became another user, and goes on.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") left.resolve(`cannot be ended (${String(error)})`);
    }
  };
  const both = AbortSignal.any([signal, within]);
  both.addEventListener("abort", end, { once: true });
  if (both.aborted) end();
  try {
    const ended = new Promise<string | undefined>((resolve) => {
      child.once("error", (error) => {
        resolve(`could not be started (${error.message})`);
      });
      child.once("close", (code, by) => {
        resolve(code === 0 ? undefined : by === null ? `ended with exit code ${String(code)}` : `was ended by ${by}`);
      });
    });
    const how = await Promise.race([ended, left.promise]);
    signal.throwIfAborted();
    if (within.aborted) throw new HookFailed(`did not end within ${String(Math.round(deadline / 1_000))} s`, said);
    if (how !== undefined) throw new HookFailed(how, said);
  } finally {
    both.removeEventListener("abort", end);
  }
}
