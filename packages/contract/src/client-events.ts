// Reading an `events` route: reconnects by itself and resumes after the last message seen, so that a restart of the server loses nothing. Browser-safe.
import { ApiError, ConnectionError, answerError, connectionError } from "./client-errors.ts";
import type { Problem } from "./errors.ts";
import { SseParser, type SseMessage } from "./sse.ts";

export interface Received<T> {
  readonly id?: string;
  readonly data: T;
}
export interface EventOptions {
  readonly signal?: AbortSignal | undefined;
  /** Resume after this message. */
  readonly lastEventId?: string | undefined;
  /** Told before every new attempt after a connection broke. */
  readonly onReconnect?: ((error: Error) => void) | undefined;
  /** ms that the server may be away before the stream fails; 5 minutes. */
  readonly reconnectFor?: number | undefined;
}
export interface EventSource_ {
  readonly url: string;
  /** Whether the stream goes on until someone ends it; if not, its end without `event: end` is an end. */
  readonly follows: boolean;
  readonly open: (lastEventId: string | undefined, signal: AbortSignal) => Promise<Response>;
}

/** ms without a byte after which a connection is taken for dead; the server sends a heartbeat every 15 s. */
const mostSilence = 60_000;
const backOff = { first: 200, most: 5_000 };

/** Errors: ApiError for a 4xx or a problem in the stream; ConnectionError when the server was not there at first, or stayed away for `reconnectFor`. */
export async function* readEvents<T>(source: EventSource_, options: EventOptions): AsyncGenerator<Received<T>, void, undefined> {
  const reconnectFor = options.reconnectFor ?? 300_000;
  let lastEventId = options.lastEventId;
  let connectedOnce = false;
  let wait = backOff.first;
  let awaySince: number | undefined;
  for (;;) {
    options.signal?.throwIfAborted();
    let broken: Error;
    try {
      for await (const message of connection(source, lastEventId, options.signal, () => {
        connectedOnce = true;
        awaySince = undefined;
      })) {
        if (message.event === "end") return;
        if (message.event === "problem") throw new ApiError(JSON.parse(message.data) as Problem);
        if (message.event !== "message") continue;
        wait = backOff.first;
        if (message.id !== undefined) lastEventId = message.id;
        yield { data: JSON.parse(message.data) as T, ...(message.id === undefined ? {} : { id: message.id }) };
      }
      if (!source.follows) return;
      broken = new ConnectionError("connection_lost", source.url, "the stream ended early");
    } catch (error) {
      if (options.signal?.aborted === true || !isPassing(error)) throw error;
      if (!connectedOnce && error instanceof ConnectionError && error.code === "server_unreachable") throw error;
      broken = error;
    }
    awaySince ??= performance.now();
    if (performance.now() - awaySince > reconnectFor) throw broken;
    options.onReconnect?.(broken);
    await pause(wait * (0.75 + Math.random() / 2), options.signal);
    wait = Math.min(wait * 2, backOff.most);
  }
}

/** A failure that may be gone at the next attempt. */
function isPassing(error: unknown): error is Error {
  if (error instanceof ConnectionError) return error.code !== "not_berth" || / 50[234]\b/.test(error.reason);
  return error instanceof ApiError && (error.status >= 500 || error.status === 429 || error.status === 408);
}

/** One connection's messages. */
async function* connection(
  source: EventSource_,
  lastEventId: string | undefined,
  signal: AbortSignal | undefined,
  connected: () => void,
): AsyncGenerator<SseMessage, void, undefined> {
  const silence = new AbortController();
  const either = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => {
    silence.abort();
  }, mostSilence);
  const heard = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      silence.abort();
    }, mostSilence);
  };
  try {
    const answer = await source.open(lastEventId, either);
    if (!answer.ok) throw await answerError(answer, source.url);
    connected();
    if (answer.status === 204 || answer.body === null) {
      yield { event: "end", data: "{}" };
      return;
    }
    const parser = new SseParser();
    const decoder = new TextDecoder();
    for await (const bytes of answer.body) {
      heard();
      yield* parser.push(decoder.decode(bytes as Uint8Array, { stream: true }));
    }
  } catch (error) {
    if (silence.signal.aborted && signal?.aborted !== true)
      throw new ConnectionError("connection_lost", source.url, `nothing was heard for ${mostSilence / 1000} s`, { cause: error });
    throw error instanceof ApiError || error instanceof ConnectionError ? error : connectionError(error, source.url);
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Resolves after `ms`, rejects at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason as Error);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
