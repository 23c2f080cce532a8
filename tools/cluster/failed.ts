// What ends a command of the test cluster with words for the person who gave it, and how its programs are run.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** `code`: lower case with underscores; `hint`: what to do next; `output`: what a program wrote. */
export class ClusterFailed extends Error {
  readonly code: string;
  readonly hint: string;
  readonly output: string;

  constructor(code: string, message: string, hint: string, output = "") {
    super(message);
    this.code = code;
    this.hint = hint;
    this.output = output;
  }
}

/** Runs a program to its end and returns what it wrote. Errors: ClusterFailed `program_failed`. */
export async function call(
  file: string,
  args: readonly string[],
  { input, cwd }: { input?: string | Buffer; cwd?: string } = {},
): Promise<string> {
  const running = promisify(execFile)(file, args, { encoding: "utf8", maxBuffer: 256 * 1024 * 1024, cwd });
  running.child.stdin?.on("error", () => undefined).end(input);
  try {
    return (await running).stdout;
  } catch (error) {
    const { stderr = "", message = "" } = error as { stderr?: string; message?: string };
    throw new ClusterFailed(
      "program_failed",
      `${file} ${args.slice(0, 4).join(" ")} failed.`,
      "Its last words are above.",
      stderr || message,
    );
  }
}
