// Process entry of the agent: supervisor and prober of this machine's instances, a child of the edge's primary. It may be killed at any time: instances run on.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { primaryMessage, sendToPrimary } from "../messages.ts";
import { readAgentConfig } from "./config.ts";
import { errorText } from "./files.ts";
import { Fences } from "./fences.ts";
import { listen } from "./http.ts";
import { openMachine } from "./machine.ts";
import { StallWatch } from "./prober.ts";
import { createAgentServer } from "./server.ts";
import { Supervisor } from "./supervisor.ts";
import { Tasks } from "./tasks.ts";

function say(event: string, fields: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${JSON.stringify({ name: "agent", level: 40, time: Date.now(), msg: event, ...fields })}\n`);
}

async function main(): Promise<void> {
  const config = readAgentConfig(process.argv[2]);
  mkdirSync(config.runDir, { recursive: true });
  if (process.getuid?.() !== 0) chmodSync(config.runDir, 0o700);
  const machine = await openMachine(config, { now: Date.now, random: Math.random, say });
  const fences = new Fences(join(config.home, "edge", "fences"), config.installation);
  const stalls = new StallWatch(Date.now);
  const supervisor = new Supervisor({ machine, fences, stalls, onReadiness: (instances, full) => sendToPrimary({ type: "readiness", instances, full }) });
  const tasks = new Tasks({ machine, fences, stalls, keepFor: config.agent.keepTasks });
  const server = createAgentServer({ machine, supervisor, tasks, onError: (error) => say("call failed", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }) });
  // The socket is the lock: a second agent on the same home must not watch over the same instances.
  await listen(server, join(config.runDir, "agent.sock"));
  supervisor.start();
  tasks.open();
  const end = (): void => {
    supervisor.close();
    tasks.close();
    stalls.stop();
    server.close();
    server.closeAllConnections();
    process.exit(0);
  };
  process.on("SIGTERM", end).on("SIGINT", end);
  if (process.send !== undefined) {
    process.on("message", (value) => { if (primaryMessage(value) !== undefined) end(); });
    // The primary is gone: the next one starts an agent of its own.
    process.on("disconnect", end);
  }
  sendToPrimary({ type: "started" });
}

process.on("unhandledRejection", (error) => say("unhandled", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }));
main().catch((error: unknown) => {
  say("agent cannot start", { error: errorText(error) });
  process.exit(1);
});
