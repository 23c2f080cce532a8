// Answers a request with an Idempotency-Key once: the kept answer afterwards, a refusal while the first is under way.
// An answer can hold a new token's secret: it is kept encrypted, and goes after a day.
import { BerthError } from "../core/errors.ts";
import { abandonIdempotent, beginIdempotent, finishIdempotent } from "../db/idempotency.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";

export interface OnceRequest {
  readonly principal: string;
  readonly key: string;
  readonly hash: string;
  readonly status: number;
}
/** Keeps the answer in the transaction that does the work. */
export type KeepAnswer = (trx: Db, answer: unknown) => Promise<void>;
export type Once = (
  request: OnceRequest,
  work: (keep: KeepAnswer) => Promise<unknown>,
) => Promise<{ readonly replayed: boolean; readonly response: unknown }>;

/** Of those whose key could not be given back, so many are remembered; the others are busy until their time is over. */
const mostAbandoned = 1_000;

export function idempotentOnce(db: Db, secretBox: Pick<SecretBox, "seal" | "open">, clock: () => Date): Once {
  // Failed while the database was away: they changed nothing, or kept their answer, whatever their rows say.
  const abandoned = new Set<string>();
  return async ({ status, ...request }, work) => {
    const begun = await beginIdempotent(db, request, clock(), [...abandoned]);
    const identity = `idempotency:${request.principal}/${request.key}`;
    if (begun.kind === "replay") return { replayed: true, response: reopened(secretBox, String(begun.response), identity) };
    const { attempt } = begun;
    let kept = false;
    try {
      const response = await work(async (trx, answer) => {
        await finishIdempotent(trx, attempt, { status, response: secretBox.seal(JSON.stringify(answer ?? null), identity) });
        kept = true;
      });
      // Found by the first test that sends a key: a crash after the work would make a repetition do it again.
      if (!kept) throw new Error("a route that takes an Idempotency-Key does not keep its answer in its transaction");
      return { replayed: false, response };
    } catch (error) {
      await abandonIdempotent(db, attempt).catch(() => {
        if (abandoned.size < mostAbandoned) abandoned.add(attempt.attempt);
      });
      throw error;
    }
  };
}

function reopened(secretBox: Pick<SecretBox, "open">, sealed: string, identity: string): unknown {
  let answer: string;
  try {
    answer = secretBox.open(sealed, identity);
  } catch (cause) {
    // Another server of this database, with a key of its own, did the work.
    throw new BerthError("idempotency_elsewhere", {}, { cause });
  }
  return JSON.parse(answer);
}
