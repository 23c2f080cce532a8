// Starts the edge again when it is gone: nothing else does where no service manager runs. It never stops one.
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../db/log.ts";

const period = 1_000;

export async function watchEdge(
  options: { readonly ensure: () => Promise<{ readonly started: boolean }>; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(period, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      if ((await options.ensure()).started) options.log.warn({}, "the edge was gone and was started again");
    } catch (error) {
      if (!signal.aborted) options.log.error({ error: String(error) }, "the edge could not be started; trying again");
    }
  }
}
