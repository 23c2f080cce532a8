// Runs a short command where an instance runs (probes): same user, environment, folder and volumes. Its whole session is ended with it.
import { spawn } from "node:child_process";
import { chainOf, type Program } from "./launch.ts";
import { enterCommand } from "./machine.ts";
import { errorCode } from "./files.ts";
import { systemPath } from "./shim.ts";

const keptOutput = 4096;

/** Exit code (undefined when the signal fired first or it was killed) and the first 4 KiB of output. Rejects when it cannot be started. */
export function runCommand(program: Program, signal: AbortSignal): Promise<{ readonly code: number | undefined; readonly output: string }> {
  const [command = "", ...args] = enterCommand(program.dir, chainOf(program));
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: "/", env: { PATH: systemPath }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const take = (chunk: Buffer): void => { if (output.length < keptOutput) output += chunk.toString("utf8").slice(0, keptOutput - output.length); };
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
    child.once("error", reject);
    // `exit`, not `close`: a command that leaves something running in the background has answered all the same.
    child.once("exit", (code) => {
      signal.removeEventListener("abort", end);
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code: code ?? undefined, output });
    });
  });
}
