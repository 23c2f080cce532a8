// Process entry of the agent: supervisor and prober of this machine's instances, a child of the edge's primary. It may be killed at any time: instances run on.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { onEnd, sendToPrimary } from "../messages.ts";
import { sayAs } from "../complaints.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { readAgentConfig } from "./config.ts";
import { besideProcesses } from "./exec.ts";
import { errorText } from "./files.ts";
import { Fences } from "./fences.ts";
import { listen } from "./http.ts";
import { openMachine } from "./machine.ts";
import { StallWatch } from "./prober.ts";
import { createAgentServer } from "./server.ts";
import { stackRoutes } from "./stack-routes.ts";
import { Supervisor } from "./supervisor.ts";
import { leave } from "../../os/leave.ts";
import { Tasks } from "./tasks.ts";

const say = sayAs("agent");

async function main(): Promise<void> {
  const config = readAgentConfig(process.argv[2]);
  mkdirSync(config.runDir, { recursive: true });
  // As root others pass to what is theirs, and see nothing else.
  chmodSync(config.runDir, process.getuid?.() === 0 ? 0o711 : 0o700);
  const machine = await openMachine(config, { now: Date.now, random: Math.random, say });
  const fences = new Fences(join(config.home, "edge", "fences"), config.installation);
  const stalls = new StallWatch(Date.now);
  const supervisor = new Supervisor({
    machine,
    fences,
    stalls,
    onReadiness: (instances, full) => sendToPrimary({ type: "readiness", instances, full }),
  });
  const tasks = new Tasks({ machine, fences, stalls, keepFor: config.agent.keepTasks });
  const server = createAgentServer({
    fences,
    instances: supervisor,
    tasks,
    capabilities: () => capabilitiesOf(machine),
    beginSession: besideProcesses(supervisor),
    more: stackRoutes({ stacks: machine.stacks, supervisor, tasks }),
    onError: (error) => say("call failed", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }),
  });
  // The socket is the lock: a second agent on the same home must not watch over the same instances.
  await listen(server, join(config.runDir, "agent.sock"));
  supervisor.start();
  tasks.open();
  onEnd(() => {
    supervisor.close();
    tasks.close();
    machine.groups?.close();
    stalls.stop();
    server.close();
    server.closeAllConnections();
    leave(0);
  });
  sendToPrimary({ type: "started" });
}

process.on("unhandledRejection", (error) =>
  say("unhandled", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }),
);
main().catch((error: unknown) => {
  say("agent cannot start", { error: errorText(error) });
  leave(1);
});
