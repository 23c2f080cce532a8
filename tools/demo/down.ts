// Takes the demo away: exactly what its record says that it made. Safe to repeat, and after a run that broke off anywhere.
import { existsSync } from "node:fs";
import { forgetCredential } from "../../packages/cli/src/credentials.ts";
import type { Progress } from "../progress.mjs";
import { leftovers, removeLeftovers } from "./daemon.ts";
import { leaveCluster } from "./cluster.ts";
import { DemoError, ask, must, parse, stack } from "./berth.ts";
import { forgetRecord, places, readRecord, removeEmptyConfig, removeMade, type Places, type Record_ } from "./record.ts";

export async function takeDown(progress: Progress): Promise<void> {
  const where = places();
  const record = readRecord(where.home);
  if (record === undefined) {
    progress.line(
      existsSync(where.home)
        ? `Nothing here is the demo's: ${where.home} was not made by it, and it deployed nothing there.`
        : "There is nothing to take down.",
    );
    return;
  }
  if (record.cluster === true) await leaveCluster(progress, await startedServer("to leave the cluster"));
  if (record.made.includes(where.home)) await removeAll(progress, where, record);
  else await removeStackOnly(progress, where, record);
  progress.line("Gone. `npm run demo` brings it back.");
}

/** The whole installation is the demo's. */
async function removeAll(progress: Progress, where: Places, record: Record_): Promise<void> {
  const left = leftovers();
  const step = progress.step("Stopping what runs, the router, the server and its database");
  const stopped = await ask(["server", "stop", "--all"]);
  if (stopped.code !== 0) {
    step.drop();
    throw new DemoError(
      "Berth could not be stopped, so nothing was removed.",
      "Mend what the lines above say and run the same command again.",
      stopped.stdout + stopped.stderr,
    );
  }
  step.done("Stopped what ran, the router, the server and its database");
  if (left !== undefined) {
    const removing = progress.step("Removing its containers, volumes and images from Docker");
    const images = await removeLeftovers(left);
    removing.done(`Removed its containers, volumes and ${images} images from Docker`);
  }
  // The token is worth nothing without its server; only the command line's memory of it is left.
  if (record.url !== undefined) await forgetCredential(where.configDir, record.url);
  // The home goes last but one and takes the record along: until then a broken-off run can be repeated.
  for (const folder of record.made) {
    if (folder !== where.home && folder !== where.configDir) removeMade(folder);
  }
  if (record.made.includes(where.configDir)) removeEmptyConfig(where.configDir);
  removeMade(where.home);
  progress.done(`Removed ${where.home}`);
}

async function startedServer(why: string): Promise<string | undefined> {
  await must(`Starting Berth, ${why},`, ["server", "start"]);
  return parse<{ url?: string }>(await ask(["server", "status", "--json"]), "The server's status").url;
}

/** Berth was here before the demo and stays as it was. */
async function removeStackOnly(progress: Progress, where: Places, record: Record_): Promise<void> {
  if (record.stack) {
    const url = await startedServer("to remove the demo's stack");
    const answer = await ask(["stacks", "delete", stack, "--volumes", "--yes"], url);
    // 3: not there any more.
    if (answer.code !== 0 && answer.code !== 3)
      throw new DemoError(
        "The demo's stack could not be removed.",
        "Mend what the lines above say and run the same command again.",
        answer.stdout + answer.stderr,
      );
    progress.done(`Removed the stack ${stack} and its volumes; everything else in ${where.home} is yours and stays`);
  }
  if (record.server) {
    await must("Stopping Berth", ["server", "stop", "--all"]);
    progress.done("Stopped Berth, as it was before the demo");
  }
  forgetRecord(where.home);
}
