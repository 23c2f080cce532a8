// Writes an `events` answer: server-sent events with heartbeats, back-pressure, and a named end, so that a reader knows an end from a lost connection.
import type { ServerResponse } from "node:http";
import type { Problem } from "@berth/contract/errors.ts";
import { sseData, sseEnd, sseHeartbeat, sseProblem } from "@berth/contract/sse.ts";
import type { FastifyReply } from "fastify";
import type { Sent } from "../core/sent.ts";

/** ms between heartbeats, and between looks at whether the caller's token is still good. */
const heartbeat = 15_000;
const recheck = 2_000;

export interface StreamRules {
  readonly problem: (error: unknown) => Problem;
  /** Throws once the caller's token has expired or was revoked. */
  readonly stillAllowed: () => Promise<void>;
}

export async function sendEvents(
  reply: FastifyReply,
  events: AsyncIterable<Sent<unknown>>,
  signal: AbortSignal,
  rules: StreamRules,
): Promise<FastifyReply> {
  const iterator = events[Symbol.asyncIterator]();
  reply.hijack();
  const response = reply.raw;
  response.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  const { promise: refused, reject: refuse } = Promise.withResolvers<never>();
  const over = new AbortController();
  const write = async (): Promise<void> => {
    for (let next = await iterator.next(); next.done !== true && !over.signal.aborted && !signal.aborted; next = await iterator.next())
      if (!response.write(sseData(next.value.data, next.value.id))) await drained(response);
  };
  const beat = setInterval(() => {
    response.write(sseHeartbeat);
  }, heartbeat);
  const look = setInterval(() => {
    rules.stillAllowed().catch(refuse);
  }, recheck);
  try {
    // One race for the whole stream: a race for each event would keep that event for as long as the stream goes on.
    await Promise.race([write(), refused]);
    response.end(sseEnd);
  } catch (error) {
    if (!signal.aborted) response.end(sseProblem(rules.problem(error)));
  } finally {
    over.abort();
    clearInterval(beat);
    clearInterval(look);
    response.end();
    // A generator that still waits ends by its signal; nobody waits for that here.
    iterator.return?.().then(undefined, () => undefined);
  }
  return reply;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    if (response.destroyed) resolve();
    else response.on("drain", done).on("close", done);
  });
}
