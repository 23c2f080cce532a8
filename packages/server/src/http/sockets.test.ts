// WebSockets whose client leaves at a bad moment: what was opened for it ends, and nothing else does.
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Duplex } from "node:stream";
import { afterEach, expect, it } from "vitest";
import { apiPrefix } from "@berth/contract/api.ts";
import type { Call } from "../resources/call.ts";
import { serveSockets, type SocketDeps } from "./sockets.ts";

const server = createServer();
afterEach(() => {
  server.removeAllListeners("upgrade");
  server.closeAllConnections();
  server.close();
});

interface Opening {
  readonly call: Call;
  readonly finish: () => Duplex;
}

/** A server that opens a port for whoever asks, when it is told to. */
async function listening(): Promise<{ readonly openings: Opening[]; readonly port: number }> {
  const openings: Opening[] = [];
  serveSockets(server, {
    validate: () => ({}),
    authorize: () => Promise.resolve({ principal: {}, by: "somebody", requestId: "1" }),
    problem: (error: unknown) => ({ status: 400, title: "Bad Request", requestId: "1", detail: String(error) }),
    handlers: {
      openPort: (_input: unknown, call: Call) =>
        new Promise<Duplex>((resolve) => {
          const finish = (): Duplex => {
            const stream = new Duplex({ read: () => undefined });
            resolve(stream);
            // As a connection into a cluster does when whoever asked for it is gone.
            if (call.signal.aborted) setImmediate(() => stream.destroy(call.signal.reason as Error));
            return stream;
          };
          openings.push({ call, finish });
        }),
    },
  } as unknown as SocketDeps);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { openings, port: (server.address() as AddressInfo).port };
}

const path = `${apiPrefix}/stacks/shop/components/web/forward`;
const handshake = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
const isOver = (stream: Duplex) => expect.poll(() => stream.destroyed, { timeout: 30_000 });

it("a client that leaves while it is opened ends what was opened, and no more", async () => {
  const { openings, port } = await listening();
  const client = request({ port, path, headers: handshake });
  client.on("error", () => undefined).end();
  await expect.poll(() => openings.length, { timeout: 30_000 }).toBe(1);
  const [{ call, finish } = {} as Opening] = openings;
  (client.socket as Socket).resetAndDestroy();
  await expect.poll(() => call.signal.aborted, { timeout: 30_000 }).toBe(true);
  await isOver(finish()).toBe(true);
});

it("one whose handshake is refused after the opening keeps nothing open", async () => {
  const { openings, port } = await listening();
  const client = request({ port, path, headers: { ...handshake, "sec-websocket-version": "7" } });
  const answered = once(client, "response") as Promise<[{ statusCode: number; resume: () => void }]>;
  client.end();
  await expect.poll(() => openings.length, { timeout: 30_000 }).toBe(1);
  const stream = openings[0]?.finish() as Duplex;
  const [answer] = await answered;
  answer.resume();
  expect(answer.statusCode).toBe(400);
  await isOver(stream).toBe(true);
});

it("what does not even ask for a WebSocket has nothing opened for it", async () => {
  const { openings, port } = await listening();
  const client = request({ port, path, headers: { connection: "Upgrade", upgrade: "something-else" } });
  const answered = once(client, "response") as Promise<[{ statusCode: number; resume: () => void }]>;
  client.end();
  const [answer] = await answered;
  answer.resume();
  expect(answer.statusCode).toBe(400);
  expect(openings).toEqual([]);
});
