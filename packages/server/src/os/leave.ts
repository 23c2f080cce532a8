// How a process of Berth that stayed for long comes to its end.
import { flushCompileCache } from "node:module";

/**
 * Ends this process now, with this exit code. Node.js waits for its compiler's threads when it exits, and one of them may be waiting for a garbage collection
 * that only the main thread could do (nodejs/node#54918): then it never ends, and whoever stops it waits in vain. So another program takes this process's place,
 * which has no such threads and does nothing but end. What is to be kept has to be written before.
 */
export function leave(code: number): never {
  flushCompileCache();
  process.emit("exit", code);
  process.execve?.("/bin/sh", ["sh", "-c", `exit ${String(code)}`], {});
  return process.exit(code);
}
