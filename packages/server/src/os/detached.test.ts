// A request's bytes apart from its connection: what becomes of them when the sender leaves, or is refused.
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { detached } from "./detached.ts";

const responses = new WeakMap<IncomingMessage, ServerResponse>();
const server = createServer((arrived, response) => void responses.set(arrived, response));
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** A sender that has sent a little, and the request that arrived. */
async function begun(): Promise<{ sender: ReturnType<typeof request>; arrived: IncomingMessage }> {
  if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
  const sender = request({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", method: "PUT" });
  sender.on("error", () => undefined);
  const arrives = once(server, "request") as Promise<[IncomingMessage]>;
  sender.write("a part of it");
  const [arrived] = await arrives;
  return { sender, arrived };
}

it("keeps the error of a sender that left before anybody read, and ends no process with it", async () => {
  const { sender, arrived } = await begun();
  const body = detached(arrived);
  sender.destroy();
  await new Promise((resolve) => body.once("close", resolve));
  expect(body.errored).toBeInstanceOf(Error);
  await expect(body.toArray()).rejects.toThrow(/aborted|broke off/);
});

it("is destroyed without the connection: what is sent after that is taken and forgotten, and the answer arrives", async () => {
  const { sender, arrived } = await begun();
  const answered = once(sender, "response") as Promise<[IncomingMessage]>;
  detached(arrived).destroy();
  sender.end(Buffer.alloc(8 * 1024 * 1024));
  await once(arrived, "end");
  responses.get(arrived)?.writeHead(409).end();
  const [answer] = await answered;
  expect(answer.statusCode).toBe(409);
});
