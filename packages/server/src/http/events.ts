// Writes an `events` answer: server-sent events with heartbeats, back-pressure, and a named end, so that a reader knows an end from a lost connection.
import { once } from "node:events";
import { sseData, sseEnd, sseHeartbeat, sseProblem } from "@berth/contract/sse.ts";
import type { Problem } from "@berth/contract/errors.ts";
import type { FastifyReply } from "fastify";
import type { Sent } from "../resources/call.ts";

const heartbeat = 15_000;

export async function sendEvents(reply: FastifyReply, events: AsyncIterable<Sent<unknown>>, signal: AbortSignal, problem: (error: unknown) => Problem): Promise<FastifyReply> {
  const iterator = events[Symbol.asyncIterator]();
  // The first answer decides between a stream and a plain problem: a log that may not be read is a 404, not an empty stream.
  const first = iterator.next();
  first.catch(() => undefined);
  const early = await Promise.race([first, settled(50)]);
  reply.hijack();
  const response = reply.raw;
  response.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" });
  response.flushHeaders();
  const timer = setInterval(() => { response.write(sseHeartbeat); }, heartbeat);
  try {
    for (let next = early ?? (await first); next.done !== true; next = await iterator.next()) {
      if (!response.write(sseData(next.value.data, next.value.id))) await Promise.race([once(response, "drain"), once(response, "close")]);
      if (signal.aborted) break;
    }
    response.end(sseEnd);
  } catch (error) {
    if (!signal.aborted) response.end(sseProblem(problem(error)));
  } finally {
    clearInterval(timer);
    // A generator that still waits ends by its signal; nobody waits for that here.
    iterator.return?.()?.then(undefined, () => undefined);
    response.end();
  }
  return reply;
}

function settled(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, undefined);
  });
}
