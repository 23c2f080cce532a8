// The watch stream as a hint that it is worth looking again. A lost or late event costs a moment, never the truth: there is always another look.
import type { Client } from "@berth/contract/client.ts";
import type { Event } from "@berth/contract/resources/events.ts";
import type { Context } from "../context.ts";

/** ms after which to look even if nothing was heard. */
const lookAnyway = 1500;
/** ms in which several events count as one. */
const gather = 40;

export interface Hints {
  /** Resolves when something happened since the last call, or after a while. Rejects when the command is aborted. */
  next(): Promise<void>;
  stop(): Promise<void>;
}

export function hints(ctx: Context, api: Client, topics: string, onEvent: (event: Event) => void = () => undefined): Hints {
  const ended = new AbortController();
  const signal = AbortSignal.any([ctx.signal, ended.signal]);
  let heard = false;
  let wake: (() => void) | undefined;
  const reading = (async () => {
    try {
      for await (const { data } of api.watch({ query: { topics } }, { signal })) {
        onEvent(data);
        heard = true;
        wake?.();
      }
    } catch (error) {
      // Without the stream the looks go on, only less often; a server that is really gone fails those.
      if (!signal.aborted) ctx.out.note(`The event stream is not available (${error instanceof Error ? error.message : String(error)}).`);
    }
  })();
  return {
    async next() {
      await new Promise<void>((resolve, reject) => {
        const finish = (settle: () => void): void => {
          clearTimeout(timer);
          wake = undefined;
          ctx.signal.removeEventListener("abort", abort);
          settle();
        };
        const abort = (): void => {
          finish(() => {
            reject(ctx.signal.reason as Error);
          });
        };
        let timer = setTimeout(
          () => {
            finish(resolve);
          },
          heard ? gather : lookAnyway,
        );
        // The first event sets the time to look; more of them do not put it off, or a busy stack would never be looked at.
        wake = heard
          ? undefined
          : () => {
              wake = undefined;
              clearTimeout(timer);
              timer = setTimeout(() => {
                finish(resolve);
              }, gather);
            };
        if (ctx.signal.aborted) return abort();
        ctx.signal.addEventListener("abort", abort);
      });
      heard = false;
    },
    async stop() {
      ended.abort();
      await reading;
    },
  };
}
