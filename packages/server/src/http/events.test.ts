// Streams that go on for hours: what they keep of what they have sent.
import { once } from "node:events";
import { get, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fastify, { type FastifyInstance } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import type { Sent } from "../core/sent.ts";
import { problemOf } from "./problem.ts";
import { BerthError } from "../core/errors.ts";
import { sendEvents } from "./events.ts";

let server: FastifyInstance;
afterEach(() => server.close());

async function opened(events: (response: ServerResponse) => AsyncIterable<Sent<unknown>>): Promise<IncomingMessage> {
  server = fastify();
  server.get("/", (_request, reply) =>
    sendEvents(reply, events(reply.raw), new AbortController().signal, {
      problem: (error) => problemOf(new BerthError("internal", {}, { cause: error }), "r"),
      stillAllowed: () => Promise.resolve(),
    }),
  );
  await server.listen({ host: "127.0.0.1", port: 0 });
  const [answer] = (await once(get({ host: "127.0.0.1", port: (server.server.address() as AddressInfo).port }), "response")) as [
    IncomingMessage,
  ];
  return answer;
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of answer.setEncoding("utf8")) pieces.push(String(piece));
  return pieces.join("");
}

describe("a stream of events", () => {
  it("keeps none of those that it has sent", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    let kept: number | undefined;
    async function* many(): AsyncGenerator<Sent<unknown>> {
      const sent: WeakRef<object>[] = [];
      for (let n = 0; n < 200; n += 1) {
        const data = { n };
        sent.push(new WeakRef(data));
        yield { data };
      }
      // A weak reference holds until the turn in which it was made has ended.
      await turn();
      collectGarbage();
      kept = sent.filter((one) => one.deref() !== undefined).length;
    }
    expect(await textOf(await opened(many))).toContain(`{"n":199}`);
    expect(kept).toBeLessThan(10);
  });
  it("leaves nothing behind each time that it waited for a slow reader", async () => {
    let listeners = 0;
    async function* large(response: ServerResponse): AsyncGenerator<Sent<unknown>> {
      const before = response.listenerCount("close");
      for (let n = 0; n < 50; n += 1) {
        await turn();
        yield { data: { n, text: "x".repeat(500_000) } };
      }
      listeners = response.listenerCount("close") - before;
    }
    expect(await textOf(await opened(large))).toContain(`"n":49`);
    expect(listeners).toBeLessThanOrEqual(0);
  });
});
