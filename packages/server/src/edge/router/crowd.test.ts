// Connections that rest between requests: whatever moment they are laid to rest at, no byte is lost, none is served twice, and nothing that still happens is cut.
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { Crowd } from "./crowd.ts";

interface Door extends AsyncDisposable {
  readonly port: number;
  /** Times that the HTTP server got a connection: at first, and after each rest. */
  readonly taken: () => number;
  /** Connections that it has now. */
  readonly held: () => number;
}

interface DoorOptions {
  readonly idleTimeout?: number;
  readonly lookEvery?: number;
  readonly now?: () => number;
  readonly upgrade?: (socket: Socket) => void;
}

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

/** A server all of whose connections rest after a few ms. */
async function door(
  handle: (req: IncomingMessage, res: ServerResponse) => void,
  { idleTimeout = 0, lookEvery = 2, now = () => performance.now(), upgrade }: DoorOptions = {},
): Promise<Door> {
  let [taken, held] = [0, 0];
  const crowd = new Crowd({
    serve: () => {
      const http = createHttpServer(handle);
      http.on("connection", (line) => {
        taken += 1;
        held += 1;
        line.once("close", () => (held -= 1));
      });
      if (upgrade !== undefined)
        http.on("upgrade", (_req, socket) => {
          upgrade(socket as Socket);
        });
      return http;
    },
    idleTimeout,
    lookEvery,
    now,
  });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    crowd.take(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const one: Door = {
    port: (server.address() as AddressInfo).port,
    taken: () => taken,
    held: () => held,
    [Symbol.asyncDispose]: async () => {
      crowd.closeAll();
      await new Promise((resolve) => server.close(resolve));
      crowd.end();
    },
  };
  open.push(one);
  return one;
}

/** A client that collects all it gets. */
async function client(port: number): Promise<{ socket: Socket; has: (text: string) => Promise<void>; got: () => string }> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  let got = "";
  socket.setEncoding("latin1").on("data", (text: string) => (got += text));
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return {
    socket,
    got: () => got,
    has: async (text) => {
      await expect.poll(() => got, { timeout: 20_000, interval: 2 }).toContain(text);
    },
  };
}

const rests = async (one: Door): Promise<void> => {
  await expect.poll(one.held, { timeout: 20_000, interval: 2 }).toBe(0);
};
const greet = (req: IncomingMessage, res: ServerResponse): void => {
  res.end(`[${req.url ?? ""}]`);
};

it("leaves the HTTP server after an answer, and comes back with the next request", async () => {
  const one = await door(greet);
  const { socket, has } = await client(one.port);
  for (const path of ["/1", "/2", "/3"]) {
    socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
    await has(`[${path}]`);
    await rests(one);
  }
  expect(one.taken()).toBe(3);
  socket.destroy();
});

it("does not rest while part of a request is there, or of an answer", async () => {
  const answers: ServerResponse[] = [];
  const one = await door((_req, res) => {
    res.write("[begun]");
    answers.push(res);
  });
  const { socket, has } = await client(one.port);
  const pieces = ["P", "OST / HTTP/1.1\r\nhost: a\r\nconte", "nt-length: 4\r\n\r\n", "ab", "cd"];
  for (const piece of pieces) {
    socket.write(piece);
    await expect.poll(one.held, { timeout: 20_000, interval: 2 }).toBe(1);
    await sleep(30);
    expect(one.held()).toBe(1);
  }
  await has("[begun]");
  await sleep(30);
  answers[0]?.end("[ended]");
  await has("[ended]");
  await rests(one);
  expect(one.taken()).toBe(1);
  socket.destroy();
});

it("loses and mixes up nothing, in whatever pieces and pauses requests come, pipelined and with bodies", { timeout: 180_000 }, async () => {
  const one = await door(
    (req, res) => {
      let bytes = 0;
      req.on("data", (chunk: Buffer) => (bytes += chunk.length));
      req.on("end", () => {
        const text = `[${req.url ?? ""} ${String(bytes)}]`;
        const later = Number(req.headers["x-later"]);
        if (later > 0) setTimeout(() => res.end(text), later);
        else res.end(text);
      });
    },
    { lookEvery: 1 },
  );
  const random = randomFrom(20_260_101);
  await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const { socket, has, got } = await client(one.port);
      let wanted = "";
      for (let round = 0; round < 25; round += 1) {
        let bytes = "";
        const count = random() < 0.3 ? 3 : 1;
        for (let part = 0; part < count; part += 1) {
          const path = `/${String(index)}/${String(round)}/${String(part)}`;
          const body = random() < 0.5 ? "" : "b".repeat(Math.floor(random() * 3_000));
          const later = random() < 0.3 ? Math.floor(random() * 8) : 0;
          bytes += `${body === "" ? "GET" : "POST"} ${path} HTTP/1.1\r\nhost: a\r\nx-later: ${String(later)}\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`;
          wanted = `[${path} ${String(body.length)}]`;
        }
        while (bytes !== "") {
          const cut = random() < 0.4 ? bytes.length : 1 + Math.floor(random() * bytes.length);
          socket.write(bytes.slice(0, cut));
          bytes = bytes.slice(cut);
          if (random() < 0.5) await sleep(random() * 6);
        }
        // Sometimes the next ones come before these are answered.
        if (random() < 0.7) await has(wanted);
        if (random() < 0.5) await sleep(random() * 8);
      }
      await has(wanted);
      const answers = got().match(/\[[^\]]*\]/g) ?? [];
      const paths = answers.map((text) => text.slice(1).split(" ")[0]?.split("/").map(Number) ?? []);
      // Each once, in order, and none is missing between them.
      for (const [at, [, whose, round = -1, part = -1]] of paths.entries()) {
        const [, , roundBefore = 0, partBefore = -1] = paths[at - 1] ?? [];
        expect(whose).toBe(index);
        expect(round === roundBefore ? part : round * 10 + part).toBe(round === roundBefore ? partBefore + 1 : (roundBefore + 1) * 10);
      }
      expect(paths.at(-1)?.[2]).toBe(24);
      socket.destroy();
    }),
  );
  expect(one.taken()).toBeGreaterThan(24 * 3);
});

it("keeps a large answer whole for a client that takes it slowly", { timeout: 180_000 }, async () => {
  const size = 12_000_000;
  const one = await door((_req, res) => {
    // One after the other, so that some wait here while others wait in the kernel.
    let pieces = 0;
    const next = (): void => {
      pieces += 1;
      res.write(Buffer.alloc(size / 12, "x"));
      if (pieces < 12) setImmediate(next);
      else res.end();
    };
    next();
  });
  const socket = connect({ port: one.port, host: "127.0.0.1" });
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  let bytes = 0;
  let pauses = 0;
  socket.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (pauses < 20) {
      pauses += 1;
      socket.pause();
      setTimeout(() => socket.resume(), 15);
    }
  });
  await expect.poll(() => bytes, { timeout: 120_000 }).toBeGreaterThan(size);
  await rests(one);
  expect(one.taken()).toBe(1);
  socket.destroy();
});

it("ends a connection that rests for too long, none before, and one whose client ends", async () => {
  let now = 0;
  const one = await door(greet, { idleTimeout: 300, lookEvery: 20, now: () => now });
  const [late, early] = [await client(one.port), await client(one.port)];
  const ended = once(late.socket, "end");
  for (const { socket, has } of [late, early]) {
    socket.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
    await has("[/x]");
  }
  await rests(one);
  early.socket.end();
  await once(early.socket, "close");
  now = 300;
  await sleep(100);
  expect(late.socket.readableEnded).toBe(false);
  now = 301;
  await ended;
  late.socket.end();
});

it("hands an upgraded connection over for good", async () => {
  const one = await door(greet, {
    upgrade: (socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
      socket.setNoDelay(true).setKeepAlive(true, 30_000).pipe(socket);
    },
  });
  const { socket, has } = await client(one.port);
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await has("[/]");
  await rests(one);
  socket.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello");
  await has("101 Switching");
  await sleep(30);
  socket.write("[echo]");
  await has("[echo]");
  expect(one.held()).toBe(1);
  socket.end();
  await once(socket, "close");
  await rests(one);
});

it("drops what a broken connection was busy with", async () => {
  const begun: string[] = [];
  const closed: string[] = [];
  const one = await door((req, res) => {
    begun.push(req.url ?? "");
    res.on("close", () => closed.push(`${req.url ?? ""} ${res.writableFinished ? "whole" : "cut"}`));
    if (req.url === "/whole") res.end("[whole]");
  });
  const { socket, has } = await client(one.port);
  socket.write("GET /whole HTTP/1.1\r\nhost: a\r\n\r\n");
  await has("[whole]");
  await rests(one);
  socket.write("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n");
  await expect.poll(() => begun, { timeout: 20_000, interval: 2 }).toEqual(["/whole", "/cut"]);
  expect(one.held()).toBe(1);
  socket.resetAndDestroy();
  await expect.poll(() => closed, { timeout: 20_000 }).toEqual(["/whole whole", "/cut cut"]);
  await rests(one);
});

/** Numbers from 0 to 1, the same ones in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
