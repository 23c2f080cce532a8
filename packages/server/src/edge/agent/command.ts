// Runs a short command where an instance runs (probes): same user, sandbox, limits, environment, folder and volumes. Its whole session is ended with it.
import { spawn } from "node:child_process";
import { systemPath } from "../../sandbox/bubblewrap.ts";
import { errorCode } from "./files.ts";
import { besideCommand, type Beside, type Program } from "./launch.ts";

const keptOutput = 4096;
/** ms that a command's output is read on after its end. */
const lastWords = 500;

/** Exit code (undefined when the signal fired first or it was killed) and the first 4 KiB of output. Rejects when it cannot be started. */
export function runCommand(
  program: Program,
  beside: Beside,
  signal: AbortSignal,
): Promise<{ readonly code: number | undefined; readonly output: string }> {
  const [command = "", ...args] = besideCommand(program, beside);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: "/", env: { PATH: systemPath }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    // First of all: where no more files can be opened there is nothing else of it.
    child.once("error", reject);
    let output = "";
    const take = (chunk: Buffer): void => {
      if (output.length < keptOutput) output += chunk.toString("utf8").slice(0, keptOutput - output.length);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const end = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch (error) {
        if (errorCode(error) !== "ESRCH") throw error;
      }
    };
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    child.once("exit", (code) => {
      signal.removeEventListener("abort", end);
      let answered = false;
      const answer = (): void => {
        if (answered) return;
        answered = true;
        child.stdout.destroy();
        child.stderr.destroy();
        resolve({ code: code ?? undefined, output });
      };
      // What it wrote last may still lie in the pipes. They end with it, unless it left something running in the background: that has answered all the same.
      child.once("close", answer);
      setTimeout(answer, lastWords);
    });
  });
}
