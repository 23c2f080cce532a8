import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ApiError, ConnectionError } from "./client-errors.ts";
import { etagOf } from "./client-etag.ts";
import { createClient } from "./client.ts";
import { SseParser, sseData, sseEnd, sseHeartbeat, sseProblem } from "./sse.ts";
import { readTerminalControl, readTerminalFrame, terminalFrame } from "./terminal.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, attempt: number) => void;
const servers: Server[] = [];
async function serve(handler: Handler): Promise<string> {
  let attempt = 0;
  const server = createServer((request, response) => {
    attempt += 1;
    handler(request, response, attempt);
  });
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  }
});

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json", ...headers });
  response.end(JSON.stringify(body));
}
const problem = (status: number, code: string): object => ({
  type: `#${code}`,
  title: code,
  status,
  code,
  detail: `It is ${code}.`,
  hint: "Look.",
  params: { name: "shop" },
  requestId: "r-1",
});
async function caught(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("json routes", () => {
  it("fills path and query, sends the token, and keeps the ETag beside the answer", async () => {
    const seen: string[] = [];
    const url = await serve((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      json(response, 200, { items: [] }, { etag: '"7"' });
    });
    const answer = await createClient({ baseUrl: `${url}/`, token: "t" }).listBuilds({
      params: { stack: "a b" },
      query: { limit: 2, phase: undefined, search: "ü&" },
    });
    expect(answer).toEqual({ items: [] });
    expect(etagOf(answer)).toBe('"7"');
    expect(seen).toEqual(["GET /api/v1/stacks/a%20b/builds?limit=2&search=%C3%BC%26 Bearer t"]);
  });

  it("turns problem details into ApiError", async () => {
    const url = await serve((_, response) => {
      json(response, 404, problem(404, "not_found"));
    });
    const error = await caught(createClient({ baseUrl: url }).showStack({ params: { stack: "shop" } }));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 404,
      code: "not_found",
      detail: "It is not_found.",
      hint: "Look.",
      requestId: "r-1",
      params: { name: "shop" },
    });
  });

  it("says when nothing listens, and when it is not Berth that answers", async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<h1>hello</h1>");
    });
    expect(await caught(createClient({ baseUrl: url }).showMe())).toMatchObject({ code: "not_berth" });
    const server = servers.pop();
    server?.closeAllConnections();
    await new Promise((resolve) => {
      server?.close(resolve);
    });
    const error = await caught(createClient({ baseUrl: url }).showMe());
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ code: "server_unreachable" });
  });

  it("repeats a create with the same key when the connection breaks, and a plain order never", async () => {
    const keys: (string | undefined)[] = [];
    const url = await serve((request, response, attempt) => {
      keys.push(request.headers["idempotency-key"] as string | undefined);
      request.resume().on("end", () => {
        if (attempt < 3) response.destroy();
        else json(response, 202, { rollout: 4 });
      });
    });
    const client = createClient({ baseUrl: url });
    expect(await client.restartComponent({ params: { stack: "shop", component: "web" } })).toEqual({ rollout: 4 });
    expect(keys).toHaveLength(3);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(keys).size).toBe(1);

    let calls = 0;
    const other = await serve((_, response) => {
      calls += 1;
      response.destroy();
    });
    expect(
      await caught(createClient({ baseUrl: other }).scaleComponent({ params: { stack: "shop", component: "web" }, body: { replicas: 2 } })),
    ).toMatchObject({ code: "connection_lost" });
    expect(calls).toBe(1);
  });

  it("waits and repeats when the server says that it did not begin, and sends If-Match", async () => {
    const matches: unknown[] = [];
    const url = await serve((request, response, attempt) => {
      matches.push(request.headers["if-match"]);
      if (attempt === 1) json(response, 503, problem(503, "shutting_down"));
      else json(response, 202, {});
    });
    await createClient({ baseUrl: url }).deleteStack({ params: { stack: "shop" }, query: { volumes: true } }, { ifMatch: '"3"' });
    expect(matches).toEqual(['"3"', '"3"']);
  });

  it("opens an upload's body anew at each attempt", async () => {
    let opened = 0;
    const bodies: string[] = [];
    const url = await serve((request, response, attempt) => {
      let text = "";
      request
        .on("data", (bytes: Buffer) => {
          text += bytes.toString();
        })
        .on("end", () => {
          bodies.push(`${request.headers["content-type"]} ${text}`);
          if (attempt === 1) response.destroy();
          else json(response, 201, { digest: "d" });
        });
    });
    const body = (): ReadableStream<Uint8Array> => {
      opened += 1;
      return new Response("tar bytes").body as ReadableStream<Uint8Array>;
    };
    await createClient({ baseUrl: url }).uploadSource({
      params: { stack: "shop" },
      query: { dirty: true },
      contentType: "application/x-tar",
      body,
    });
    expect([opened, bodies]).toEqual([2, ["application/x-tar tar bytes", "application/x-tar tar bytes"]]);
  });
});

describe("events routes", () => {
  const sse = { "content-type": "text/event-stream" };
  const event = (id: number): string => sseData({ id: String(id) }, String(id));

  it("resumes after the last message seen when the connection breaks, until the stream says that it is over", async () => {
    const asked: unknown[] = [];
    const url = await serve((request, response, attempt) => {
      asked.push(request.headers["last-event-id"]);
      response.writeHead(200, sse);
      if (attempt === 1) {
        response.write(sseHeartbeat + event(1) + event(2) + 'id: 3\ndata: {"half');
        setImmediate(() => response.destroy());
      } else if (attempt === 2) response.end(event(3));
      else response.end(event(4) + sseEnd);
    });
    const ids: string[] = [];
    let broken = 0;
    for await (const received of createClient({ baseUrl: url }).watch(
      { query: { topics: "stack:shop" } },
      {
        onReconnect: () => {
          broken += 1;
        },
      },
    ))
      ids.push(received.data.id);
    expect(ids).toEqual(["1", "2", "3", "4"]);
    expect(asked).toEqual([undefined, "2", "3"]);
    expect(broken).toBe(2);
  });

  it("outlives a server that is away for a while, and gives up on a 4xx", async () => {
    const url = await serve((_, response, attempt) => {
      if (attempt === 1) response.writeHead(200, sse).end(event(1));
      else if (attempt === 2) response.destroy();
      else if (attempt === 3) json(response, 503, problem(503, "shutting_down"));
      else json(response, 404, problem(404, "not_found"));
    });
    const ids: string[] = [];
    const error = await caught(
      (async () => {
        for await (const received of createClient({ baseUrl: url }).watch()) ids.push(received.data.id);
      })(),
    );
    expect(ids).toEqual(["1"]);
    expect(error).toMatchObject({ code: "not_found" });
  });

  it("fails at once when the server was never there, and after reconnectFor when it stays away", async () => {
    const url = await serve((_, response, attempt) => {
      if (attempt === 1) response.writeHead(200, sse).end(event(1));
      else response.destroy();
    });
    const read = async (baseUrl: string): Promise<void> => {
      for await (const received of createClient({ baseUrl }).watch({}, { reconnectFor: 300 })) expect(received.data.id).toBe("1");
    };
    expect(await caught(read(url))).toMatchObject({ code: "connection_lost" });
    const gone = await serve(() => undefined);
    await new Promise((resolve) => {
      servers.pop()?.close(resolve);
    });
    expect(await caught(read(gone))).toMatchObject({ code: "server_unreachable" });
  });

  it("takes the end of a log that is not followed for its end, and a problem message for a failure", async () => {
    let calls = 0;
    const url = await serve((request, response) => {
      calls += 1;
      response
        .writeHead(200, sse)
        .end(
          request.url?.includes("follow=true") === true
            ? sseProblem(problem(503, "engine_unavailable")).replace('"status":503', '"status":409')
            : sseData({ text: "a" }, "1"),
        );
    });
    const client = createClient({ baseUrl: url });
    const texts: string[] = [];
    for await (const received of client.readBuildLogs({ params: { stack: "shop", build: 1 } })) texts.push(received.data.text);
    expect([texts, calls]).toEqual([["a"], 1]);
    expect(
      await caught(
        (async () => {
          for await (const received of client.readBuildLogs({ params: { stack: "shop", build: 1 }, query: { follow: true } }))
            texts.push(received.data.text);
        })(),
      ),
    ).toMatchObject({ code: "engine_unavailable" });
  });

  it("stops when the caller aborts, and closes the connection", async () => {
    const closed = Promise.withResolvers<void>();
    const url = await serve((_, response) => {
      response.writeHead(200, sse).write(event(1));
      response.on("close", closed.resolve);
    });
    const abort = new AbortController();
    const error = await caught(
      (async () => {
        for await (const received of createClient({ baseUrl: url }).watch({}, { signal: abort.signal })) {
          expect(received.id).toBe("1");
          abort.abort();
        }
      })(),
    );
    expect(error).toMatchObject({ name: "AbortError" });
    await closed.promise;
  });

  it("closes the connection when the reader leaves the loop", async () => {
    const closed = Promise.withResolvers<void>();
    const url = await serve((_, response) => {
      response.writeHead(200, sse).write(event(1));
      response.on("close", closed.resolve);
    });
    for await (const received of createClient({ baseUrl: url }).watch()) {
      expect(received.id).toBe("1");
      break;
    }
    await closed.promise;
  });
});

describe("the event stream's format", () => {
  it("is read the same however the text is cut", () => {
    const text = `: hello\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\nevent: x\rdata: c\r\r${sseData({ t: "ä\n" }, "9")}data\n\n`;
    const whole = new SseParser().push(text);
    expect(whole).toEqual([
      { event: "message", id: "1", data: "a\nb" },
      { event: "x", id: "1", data: "c" },
      { event: "message", id: "9", data: '{"t":"ä\\n"}' },
      { event: "message", id: "9", data: "" },
    ]);
    for (let size = 1; size < 8; size += 1) {
      const parser = new SseParser();
      const pieces = [];
      for (let at = 0; at < text.length; at += size) pieces.push(...parser.push(text.slice(at, at + size)));
      expect(pieces).toEqual(whole);
    }
  });
});

describe("the terminal's messages", () => {
  it("carry bytes by channel and controls as JSON, and skip what they do not know", () => {
    expect(readTerminalFrame(terminalFrame("stderr", new Uint8Array([7, 8])))).toEqual({
      channel: "stderr",
      bytes: new Uint8Array([7, 8]),
    });
    expect(readTerminalFrame(new Uint8Array([9, 1]))).toBeUndefined();
    expect(readTerminalControl('{"type":"exit","exitCode":3}')).toEqual({ type: "exit", exitCode: 3 });
    expect(readTerminalControl('{"type":"resize","columns":0,"rows":2}')).toBeUndefined();
    expect(readTerminalControl("nonsense")).toBeUndefined();
  });
});
