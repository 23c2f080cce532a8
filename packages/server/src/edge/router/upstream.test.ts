// Connections to endpoints: which one a request gets, and what becomes of one whose endpoint misbehaves.
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { freePort, listening, until } from "../testing/harness.ts";
import type { AnswerSink, Failure, UpstreamConnection } from "./connection.ts";
import { UpstreamPool } from "./upstream.ts";

let held: number | undefined;
/** Held still where the times between two requests matter. */
const now = (): number => held ?? performance.now();
const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const kept = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=60\r\n\r\nok";
const get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

class Answer implements AnswerSink {
  status = 0;
  body = "";
  informed: number[] = [];
  failure: Failure | undefined;
  ended = false;
  onInform(status: number): void {
    this.informed.push(status);
  }
  onHead(status: number): void {
    this.status = status;
  }
  onBody(buffer: Buffer, start: number, end: number): boolean {
    this.body += buffer.toString("latin1", start, end);
    return true;
  }
  onPause(): void {
    /* nothing is on its way elsewhere */
  }
  onEnd(): void {
    this.ended = true;
  }
  onFailure(failure: Failure): void {
    this.failure = failure;
  }
  get outcome(): string {
    return this.failure ?? (this.ended ? `${String(this.status)} ${this.body}` : "open");
  }
}

let server: Server | undefined;
let pool: UpstreamPool | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  held = undefined;
  pool?.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  if (server?.listening === true)
    await new Promise((resolve) => {
      server?.close(resolve);
    });
});

/** An endpoint that does this with each read. */
async function endpoint(onData: (socket: Socket, count: number) => void, responseTimeout = 0): Promise<UpstreamPool> {
  let count = 0;
  server = createServer((socket) => {
    sockets.push(socket);
    socket
      .on("error", () => undefined)
      .on("data", () => {
        count += 1;
        onData(socket, count);
      });
  });
  pool = new UpstreamPool({ host: "127.0.0.1", port: await listening(server), responseTimeout, now });
  return pool;
}

async function ask(
  from: UpstreamPool,
  repeatable = true,
  headOnly = false,
): Promise<{ readonly answer: Answer; readonly connection: UpstreamConnection }> {
  const answer = new Answer();
  const connection = from.take(repeatable, now());
  connection.send(answer, get, headOnly, undefined);
  await until(() => answer.outcome !== "open");
  return { answer, connection };
}

describe("a connection", () => {
  it("serves one request after the other", async () => {
    const from = await endpoint((socket) => socket.write(ok));
    const first = await ask(from);
    const second = await ask(from);
    expect([first.answer.outcome, second.answer.outcome, second.connection === first.connection, sockets.length]).toEqual([
      "200 ok",
      "200 ok",
      true,
      1,
    ]);
  });

  it.each([
    ["says close", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", false],
    ["keeps it for less than a second", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=1\r\n\r\nok", false],
    ["sends more than the answer", `${ok}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`, false],
    ["announces a body where none may be", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", false],
    ["answers HEAD without a length", "HTTP/1.1 200 OK\r\n\r\n", true],
  ])("is not used again when the endpoint %s", async (name, bytes, headOnly) => {
    const from = await endpoint((socket) => socket.write(bytes));
    const first = await ask(from, true, headOnly);
    const second = await ask(from, true, headOnly);
    expect(second.answer.outcome).toBe(first.answer.outcome);
    expect(second.connection === first.connection).toBe(name.startsWith("answers HEAD"));
  });

  it("on which something comes that nobody asked for is closed: it never becomes the answer to the next request", async () => {
    const from = await endpoint((socket) => socket.write(ok));
    const { connection } = await ask(from);
    sockets[0]?.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    await until(() => !connection.usable);
    expect((await ask(from)).answer.outcome).toBe("200 ok");
    expect(sockets.length).toBe(2);
  });

  it("that idled for a while, or may end at any instant, is not used for a request that cannot be sent again", async () => {
    let bytes = kept;
    held = performance.now();
    const from = await endpoint((socket) => socket.write(bytes));
    const { connection } = await ask(from);
    expect(from.take(false, now() + 300) === connection).toBe(false);
    const again = await ask(from, false);
    expect(again.connection === connection).toBe(true);
    bytes = ok;
    expect((await ask(from)).connection === connection).toBe(true);
    const other = await ask(from, false);
    expect(other.connection === connection).toBe(false);
    // It was opened for that one alone.
    expect(other.connection.usable).toBe(false);
    expect((await ask(from)).connection === connection).toBe(true);
  });

  it("is closed when it idled too long, by whoever looks first", async () => {
    const from = await endpoint((socket) => socket.write(ok));
    const { connection } = await ask(from);
    expect(from.take(true, now() + 5_000) === connection).toBe(false);
    await ask(from);
    await until(() => sockets.slice(0, 2).every((socket) => socket.closed));
  });
});

describe("a failure", () => {
  it("is told apart: refused, broken off, no answer in time", async () => {
    const closed = new UpstreamPool({ host: "127.0.0.1", port: await freePort(), responseTimeout: 0, now });
    expect((await ask(closed)).answer.outcome).toBe("refused");
    const from = await endpoint((socket, count) => {
      if (count === 1) socket.destroy();
      else if (count === 2) socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
      else if (count === 3) socket.write("what?\r\n");
    }, 3_000);
    expect((await ask(from)).answer).toMatchObject({ failure: "broken", status: 0 });
    expect((await ask(from)).answer).toMatchObject({ failure: "broken", status: 200, body: "short" });
    expect((await ask(from)).answer).toMatchObject({ failure: "broken", status: 0 });
    const { answer, connection } = await ask(from);
    expect([answer.outcome, connection.usable, connection.answering]).toEqual(["timeout", false, false]);
  });

  it("is none of an endpoint that answered while this process was held up", async () => {
    const from = await endpoint((socket) => {
      socket.write(ok);
      const end = performance.now() + 3_000;
      while (performance.now() < end);
    }, 2_000);
    expect((await ask(from)).answer.outcome).toBe("200 ok");
  });

  it("to begin the answer includes an endless beginning", async () => {
    const from = await endpoint((socket) => {
      socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: ");
    }, 3_000);
    expect((await ask(from)).answer).toMatchObject({ failure: "timeout", informed: [100] });
  });

  it("cannot come after the end, nor after it was given up", async () => {
    const from = await endpoint((socket) => {
      socket.write(ok);
    });
    const { answer, connection } = await ask(from);
    connection.destroy();
    sockets[0]?.destroy();
    const given = new Answer();
    const other = from.take(true, now());
    other.send(given, get, false, undefined);
    other.destroy();
    await until(() => !other.usable);
    expect([answer.outcome, given.outcome]).toEqual(["200 ok", "open"]);
  });
});
