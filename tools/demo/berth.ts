// Runs the built command line as the demo's user would, without what their shell may say about other servers and stacks.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";

export const root = join(import.meta.dirname, "..", "..");
export const stack = "guestbook";

/** Something went wrong that the person at the keyboard can act on. */
export class DemoError extends Error {
  readonly hint: string;
  readonly output: string;
  constructor(message: string, hint: string, output = "") {
    super(message);
    this.hint = hint;
    this.output = output;
  }
}

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A login elsewhere or a chosen stack must not lead the demo there. */
export function demoEnv(server: string | undefined): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of [
    "BERTH_SERVER",
    "BERTH_TOKEN",
    "BERTH_STACK",
    "BERTH_COMPONENT",
    "COMPOSE_FILE",
    "COMPOSE_PROFILES",
    "COMPOSE_PROJECT_NAME",
  ])
    delete env[name];
  return server === undefined ? env : { ...env, BERTH_SERVER: server };
}

/** Runs `berth ARGS` and keeps what it says. */
export async function ask(args: readonly string[], server?: string): Promise<Answer> {
  const child = spawn(join(root, "bin", "berth"), args, { cwd: root, env: demoEnv(server), stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return { code: await ended(child), stdout, stderr };
}

/** The same, and a failure ends the demo with its words. */
export async function must(what: string, args: readonly string[], server?: string): Promise<Answer> {
  const answer = await ask(args, server);
  if (answer.code !== 0)
    throw new DemoError(`${what} failed.`, `The command was: ./bin/berth ${args.join(" ")}`, `${answer.stdout}${answer.stderr}`);
  return answer;
}

/** Runs `berth ARGS` on this terminal, so that its own progress is seen; resolves to its exit code. */
export async function show(args: readonly string[], options: { readonly cwd: string; readonly server?: string }): Promise<number> {
  const child = spawn(join(root, "bin", "berth"), args, {
    cwd: options.cwd,
    env: demoEnv(options.server),
    stdio: ["ignore", "inherit", "inherit"],
  });
  return ended(child);
}

/** While a child runs, Ctrl-C is the child's to answer. */
function ended(child: ReturnType<typeof spawn>): Promise<number> {
  const ignore = (): void => {};
  process.on("SIGINT", ignore);
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
    });
  }).finally(() => process.off("SIGINT", ignore));
}

export function parse<T>(answer: Answer, what: string): T {
  try {
    return JSON.parse(answer.stdout) as T;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new DemoError(
      `${what} is not JSON.`,
      "This is a bug in Berth; please report it with the lines above.",
      answer.stdout + answer.stderr,
    );
  }
}
