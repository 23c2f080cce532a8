// What one check of `berth doctor` is: it looks, within a few seconds, and whatever it meets becomes words: what is wrong, why that matters, what to do.
import type { Check } from "@berth/contract/resources/installation.ts";

/** What a check saw; the rest is the same whatever it sees. */
export type Found = Omit<Check, "name">;

export interface Looking {
  readonly name: string;
  /** What it means for people when this is not well. */
  readonly why: string;
  /** What to do when the check itself fails and says nothing better. */
  readonly next: string;
  readonly look: (signal: AbortSignal) => Promise<Found> | Found;
}

/** ms that one check may take: what does not answer by then is what is wrong. */
export const patience = 5_000;

export const ok = (found: string): Found => ({ status: "ok", found });

/** All at once, in the order given; one that fails or never ends keeps none of the others. */
export function runChecks(all: readonly Looking[], signal: AbortSignal, within = patience): Promise<Check[]> {
  return Promise.all(all.map((one) => check(one, signal, within)));
}

async function check({ name, why, next, look }: Looking, signal: AbortSignal, within: number): Promise<Check> {
  const late = AbortSignal.timeout(within);
  const both = AbortSignal.any([signal, late]);
  const over = Promise.withResolvers<never>();
  // Handled below, unless the check has ended before.
  over.promise.catch(() => undefined);
  both.addEventListener("abort", () => {
    over.reject(new Error(late.aborted ? `did not answer within ${String(within / 1000)} s` : "the question was withdrawn"));
  });
  try {
    const found = await Promise.race([look(both), over.promise]);
    return found.status === "ok" ? { name, ...found } : { name, why, ...found };
  } catch (error) {
    const found = late.aborted
      ? `did not answer within ${String(within / 1000)} s`
      : error instanceof Error
        ? error.message
        : String(error);
    return { name, status: "failed", found, why, next };
  }
}
