// Drives the launcher from a process of its own, so that a test can run it as another user and see what outlives it.
// Arguments: start|stop HOME. Prints one line of JSON.
import { startEmbedded, stopEmbedded } from "../src/db/embedded.ts";
import { silentLog } from "../src/db/log.ts";
import { DatabaseRefused } from "../src/db/refused.ts";

const [verb, home = ""] = process.argv.slice(2);
try {
  if (verb === "stop") console.log(JSON.stringify({ stopped: await stopEmbedded(home) }));
  else {
    const from = performance.now();
    const { pid, started, connection } = await startEmbedded({ home, runDir: `${home}/run`, log: silentLog });
    console.log(JSON.stringify({ pid, started, connection, took: performance.now() - from }));
  }
} catch (error) {
  if (!(error instanceof DatabaseRefused)) throw error;
  console.log(JSON.stringify({ reason: error.reason, message: error.message, hint: error.hint }));
}
