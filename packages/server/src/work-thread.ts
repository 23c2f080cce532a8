// Entry of the thread that works: everything else is work.ts. It is there before there is anything to do, so that its code is read while the server starts. Says
// what it counts to the thread that started it.
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { basename } from "node:path";
import { parentPort } from "node:worker_threads";
import type { WorkSaid, WorkTold } from "./server/work-link.ts";
import { startWork, type Work } from "./work.ts";

/** Behind the thread that answers, and builds with it: on a busy machine people come first. */
const niceness = 5;

if (parentPort === null) throw new Error("this is a thread of the server, and no program");
const port = parentPort;
const say = (said: WorkSaid): void => {
  port.postMessage(said);
};

// On Linux every thread has its own.
setPriority(Number(basename(readlinkSync("/proc/thread-self"))), niceness);
let work: Promise<Work> | undefined;

async function obey(told: WorkTold): Promise<void> {
  if ("start" in told) {
    work = startWork(told.start, {
      row: (kind, outcome) => {
        say({ count: "row", of: [kind, outcome] });
      },
      repair: (what) => {
        say({ count: "repair", of: [what] });
      },
      difference: (what) => {
        say({ count: "difference", of: [what] });
      },
      unknownObjects: (cluster, count) => {
        say({ count: "unknownObjects", of: [cluster, count] });
      },
    });
    await work;
  } else if ("doors" in told) (await work)?.setDoors(told.doors);
  else if ("added" in told) (await work)?.setAdded(told.added);
  else {
    await (await work)?.stop();
    // The thread itself stays until its process ends: Node.js may wait for ever where a thread of its compiler does (os/leave.ts).
    say({ stopped: true });
  }
}

port.on("message", (told: WorkTold) => {
  // What fails here ends the thread, and the server with it.
  void obey(told);
});
