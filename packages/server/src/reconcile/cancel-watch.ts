// Looks now and then whether somebody asked for the end of a piece of long work, whoever asked and wherever. A database that is away cancels nothing and must
// end nothing: the work goes on, and the next look tells.
import { isUnavailable } from "../db/transaction.ts";

const period = 500;

/**
 * Aborts `cancelled` with who asked for it; ends when that or the signal is aborted. `asked`: undefined while nobody has. Rejects when looking fails for
 * another reason than an absent database; may be awaited late.
 */
export function watchForCancel(
  asked: () => Promise<string | undefined>,
  cancelled: AbortController,
  signal: AbortSignal,
  everyMs = period,
): Promise<void> {
  const watching = watch(asked, cancelled, AbortSignal.any([signal, cancelled.signal]), everyMs);
  // Awaited when the work has ended: until then its failure must not end the whole process.
  watching.catch(() => undefined);
  return watching;
}

async function watch(
  asked: () => Promise<string | undefined>,
  cancelled: AbortController,
  stop: AbortSignal,
  everyMs: number,
): Promise<void> {
  while (!stop.aborted) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, everyMs);
      function done(): void {
        clearTimeout(timer);
        stop.removeEventListener("abort", done);
        resolve();
      }
      stop.addEventListener("abort", done);
    });
    if (stop.aborted) return;
    const by = await asked().catch((error: unknown) => {
      if (isUnavailable(error)) return undefined;
      throw error;
    });
    if (by !== undefined) cancelled.abort(by);
  }
}
