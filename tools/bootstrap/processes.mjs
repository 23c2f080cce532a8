// Starts programs for the scripts: one in the foreground, or one whose output is kept. A signal to the script reaches the program.
import { spawn } from "node:child_process";
import { constants } from "node:os";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP"];
let received;

/** The signal that ended what was running, if one did. */
export const interruptedBy = () => received;

/** Runs a program on this terminal and resolves to its exit code (128 + signal when it was ended by one). */
export function run(file, args, { cwd, env }) {
  const child = spawn(file, args, { cwd, env, stdio: "inherit" });
  return finished(child);
}

/** Runs a program without input; resolves to its exit code and everything that it wrote, in order. `onSpawn` gets the child process. */
export async function capture(file, args, { cwd, env, onSpawn }) {
  const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  onSpawn?.(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => (output += text));
  }
  const code = await finished(child, (text) => (output += text));
  return { code, output };
}

/** While a child runs, a signal to this process goes to the child, and this process ends the way the child does. */
function finished(child, say = (text) => process.stderr.write(text)) {
  const handlers = forwarded.map((signal) => [
    signal,
    () => {
      received = signal;
      // Ctrl-C on a terminal reached the child already; a second one would mean "at once".
      if (!(signal === "SIGINT" && process.stdin.isTTY)) child.kill(signal);
    },
  ]);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return new Promise((resolve) => {
    child.on("error", (error) => {
      say(`${child.spawnfile}: ${error.message}\n`);
      resolve(127);
    });
    child.on("close", (code, signal) => resolve(signal === null ? code : 128 + constants.signals[signal]));
  }).finally(() => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  });
}
