// What containers use, asked of the daemon when somebody wants to know.
import type { Usage } from "../../engines/engine.ts";
import type { Contained } from "./contained.ts";
import type { Daemon, Stats } from "./daemon.ts";

/** Calls to the daemon at the same time: each costs it some reading of control groups. */
const atOnce = 8;

/** One entry each; zeros for one that does not run. */
export async function usageOf(daemon: Daemon, all: readonly Contained[], now: () => number): Promise<Usage[]> {
  const found: Usage[] = [];
  const waiting = [...all];
  const worker = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
      const stats = one.state.live ? await daemon.stats(one.container) : undefined;
      found.push({
        ref: one.spec.ref,
        instance: one.id,
        at: new Date(now()).toISOString(),
        cpuSeconds: (stats?.cpu_stats?.cpu_usage?.total_usage ?? 0) / 1e9,
        memory: memoryIn(stats),
        processes: stats?.pids_stats?.current ?? 0,
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, worker));
  return found;
}

/** As `docker stats` counts: without the pages of files that nobody has touched for a while. */
function memoryIn(stats: Stats | undefined): number {
  const { usage = 0, stats: parts = {} } = stats?.memory_stats ?? {};
  return Math.max(0, usage - (parts["total_inactive_file"] ?? parts["inactive_file"] ?? 0));
}
