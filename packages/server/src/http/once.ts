// Answers a request with an Idempotency-Key once: the kept answer afterwards, a refusal while the first is under way.
import { abandonIdempotent, beginIdempotent, finishIdempotent } from "../db/idempotency.ts";
import type { Db } from "../db/pool.ts";

export interface OnceRequest { readonly principal: string; readonly key: string; readonly hash: string; readonly status: number }
export type Once = (request: OnceRequest, work: () => Promise<unknown>) => Promise<{ readonly replayed: boolean; readonly response: unknown }>;

export function idempotentOnce(db: Db, clock: () => Date): Once {
  return async ({ status, ...request }, work) => {
    const begun = await beginIdempotent(db, request, clock());
    if (begun.kind === "replay") return { replayed: true, response: begun.response };
    let response: unknown;
    try {
      response = await work();
    } catch (error) {
      await abandonIdempotent(db, begun.attempt);
      throw error;
    }
    await finishIdempotent(db, begun.attempt, { status, response });
    return { replayed: false, response };
  };
}
