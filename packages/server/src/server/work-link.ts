// The thread that works, as the one that answers sees it.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { isDeepStrictEqual } from "node:util";
import type { Doors } from "../engines/edge-traffic.ts";
import type { AddedPlace } from "./places.ts";
import type { Work, WorkMetrics, WorkStart } from "../work.ts";

export type WorkTold =
  { readonly start: WorkStart } | { readonly doors: Doors } | { readonly added: readonly AddedPlace[] } | { readonly stop: true };
export type WorkSaid =
  | { readonly stopped: true }
  | { [Name in keyof WorkMetrics]: { readonly count: Name; readonly of: Parameters<WorkMetrics[Name]> } }[keyof WorkMetrics];

export interface WorkThread extends Work {
  /** Rejects when it does not start, or ends without having been asked to. */
  readonly lost: Promise<never>;
}

/** A thread that has nothing to do yet, and reads its code meanwhile. */
export interface IdleThread {
  start(start: WorkStart, metrics: WorkMetrics): WorkThread;
  /** For a server that has no work. */
  dismiss(): void;
}

/** Beside this file in the bundle, below `src` in a checkout. */
function entry(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "server-work.js");
  return existsSync(bundled) ? bundled : join(here, "..", "work-thread.ts");
}

/** `file`: what the thread runs. */
export function openWorkThread(file = entry()): IdleThread {
  const worker = new Worker(file, { name: "work" });
  const stopped = Promise.withResolvers<void>();
  const lost = Promise.withResolvers<never>();
  // Rejected for whoever waits for it; nobody has to.
  lost.promise.catch(() => undefined);
  let stopping = false;
  const fail = (error: unknown): void => {
    // One that died while it was stopping holds nothing any more; its rows are free for the next start.
    stopped.resolve();
    if (!stopping) lost.reject(error);
  };
  const tell = (told: WorkTold): void => {
    // A port between threads has no origin.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(told);
  };
  worker.once("error", fail).once("exit", (code) => {
    fail(new Error(`the thread that works ended by itself, with ${String(code)}`));
  });
  return {
    start(start, metrics) {
      let { doors } = start;
      let added: readonly AddedPlace[] = [];
      worker.on("message", (said: WorkSaid) => {
        if ("stopped" in said) stopped.resolve();
        else count(metrics, said);
      });
      tell({ start });
      return {
        lost: lost.promise,
        setDoors(now) {
          if (isDeepStrictEqual(doors, now)) return;
          doors = now;
          tell({ doors });
        },
        setAdded(now) {
          if (isDeepStrictEqual(added, now)) return;
          added = now;
          tell({ added });
        },
        async stop() {
          stopping = true;
          tell({ stop: true });
          await stopped.promise;
          worker.unref();
        },
      };
    },
    dismiss() {
      stopping = true;
      void worker.terminate();
    },
  };
}

function count(metrics: WorkMetrics, said: Extract<WorkSaid, { readonly count: string }>): void {
  switch (said.count) {
    case "row":
      metrics.row(...said.of);
      return;
    case "repair":
      metrics.repair(...said.of);
      return;
    case "difference":
      metrics.difference(...said.of);
      return;
    case "unknownObjects":
      metrics.unknownObjects(...said.of);
      return;
  }
}
