// What an endpoint can do to a client through the router: answers that hide another answer (RFC 9112, 11.1 and 11.2), connections that break at each point,
// and which requests may then be sent again (RFC 9110, 9.2.2). Every endpoint here is a raw socket.
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fence, freePort, never, TestEdge, webEntry } from "../testing/harness.ts";
import { RawClient, rawEndpoint, type RawEndpoint } from "../testing/wire.ts";

let edge: TestEdge;
const endpoints: RawEndpoint[] = [];

beforeAll(async () => {
  edge = await TestEdge.start();
});
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  for (const endpoint of endpoints) await endpoint[Symbol.asyncDispose]();
});

/** A component whose only instance does with its connections what `act` says. */
async function component(act: (socket: Socket, received: string) => void): Promise<{ host: string; endpoint: RawEndpoint }> {
  const endpoint = await rawEndpoint(act);
  endpoints.push(endpoint);
  const name = `raw${String(endpoints.length)}`;
  const host = `web.${name}.localhost`;
  const instance = { instance: name, releaseHash: "sha256:a", host: "127.0.0.1", port: endpoint.port, state: "active" as const };
  await edge.traffic.apply(
    await webEntry(
      [instance],
      { ref: { stack: name, component: "web" }, holdFor: 300 },
      { hosts: [{ host, path: "/" }], internal: await freePort() },
    ),
    fence(1),
    never,
  );
  await edge.ready({ [name]: true });
  return { host, endpoint };
}

const plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
const evil = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG";

interface AnswerCase {
  readonly name: string;
  readonly rule: string;
  readonly sends: string;
  readonly ends?: boolean;
  readonly method?: string;
  readonly status: number;
  readonly body?: string;
  readonly shows?: RegExp;
  readonly hides?: RegExp;
}

const answers: readonly AnswerCase[] = [
  {
    name: "Content-Length and Transfer-Encoding",
    rule: "RFC 9112, 6.3",
    sends: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${evil}`,
    status: 502,
  },
  {
    name: "two different Content-Length",
    rule: "RFC 9112, 6.3",
    sends: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nright${evil}`,
    status: 502,
  },
  { name: "a second answer nobody asked for", rule: "RFC 9112, 9.3", sends: `${plain}${evil}`, status: 200, body: "right" },
  {
    name: "a body with 204",
    rule: "RFC 9110, 15.3.5",
    sends: `HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nWRONG`,
    status: 204,
    body: "",
  },
  {
    name: "a body with 304",
    rule: "RFC 9110, 15.4.5",
    sends: `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nWRONG`,
    status: 304,
    body: "",
  },
  { name: "a body for HEAD", rule: "RFC 9110, 9.3.2", method: "HEAD", sends: plain, status: 200, body: "" },
  {
    name: "a chunk size that is no number",
    rule: "RFC 9112, 7.1",
    sends: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    status: NaN,
  },
  { name: "a head that is no HTTP", rule: "RFC 9112, 4", sends: "SSH-2.0-OpenSSH_9.2\r\n\r\n", status: 502 },
  { name: "a bare LF in the head", rule: "RFC 9112, 2.2", sends: "HTTP/1.1 200 OK\nContent-Length: 5\n\nright", status: 502 },
  {
    name: "a head without end",
    rule: "RFC 6585, 5",
    sends: `HTTP/1.1 200 OK\r\n${`X-A: ${"a".repeat(1000)}\r\n`.repeat(100)}`,
    status: 502,
  },
  {
    name: "a folded header",
    rule: "RFC 9112, 5.2",
    sends: "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 5\r\n\r\nright",
    status: 502,
  },
  {
    name: "a control character in a value",
    rule: "RFC 9110, 5.5",
    sends: "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 5\r\n\r\nright",
    status: 502,
  },
  {
    name: "an upgrade that nobody asked for",
    rule: "RFC 9110, 15.2.2",
    sends: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    status: 502,
  },
  {
    name: "a body that ends with the connection",
    rule: "RFC 9112, 6.3",
    sends: "HTTP/1.1 200 OK\r\n\r\nright",
    ends: true,
    status: 200,
    body: "right",
  },
  {
    name: "informational answers first",
    rule: "RFC 9110, 15.2",
    sends: `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n${plain}`,
    status: 200,
    body: "right",
  },
  {
    name: "a claim to a release",
    rule: "promise 1",
    sends: "HTTP/1.1 200 OK\r\nX-Berth-Release: sha256:evil\r\nContent-Length: 5\r\n\r\nright",
    status: 200,
    body: "right",
    hides: /x-berth-release/i,
  },
  {
    name: "hop-by-hop fields",
    rule: "RFC 9110, 7.6.1",
    sends:
      "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=7\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nright",
    status: 200,
    body: "right",
    hides: /x-hop|timeout=7\b|proxy-/i,
  },
  {
    name: "repeated Set-Cookie stays repeated",
    rule: "RFC 6265, 3",
    sends: "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nright",
    status: 200,
    body: "right",
    shows: /set-cookie: a=1\r\nset-cookie: b=2/i,
  },
  {
    name: "a status above 599",
    rule: "RFC 9110, 15",
    sends: "HTTP/1.1 799 Odd\r\nContent-Length: 5\r\n\r\nright",
    status: 799,
    body: "right",
  },
];

describe("an endpoint's answer", () => {
  it.each(answers.map((one) => [one.name, one] as const))("%s", async (_name, one) => {
    const { host } = await component((socket, received) => {
      if (received.includes("/after")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter");
      else if (one.ends === true) socket.end(one.sends, "latin1");
      else socket.write(one.sends, "latin1");
    });
    using client = await RawClient.open(edge.port);
    client.write(`${one.method ?? "GET"} / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    if (Number.isNaN(one.status)) {
      // The head was passed on before the fault showed: the client must not take what it got for whole.
      expect(await client.closes(), one.rule).toBe(true);
      expect(client.unread, one.rule).not.toMatch(/0\r\n\r\n$/);
      return;
    }
    let answer = await client.answer(one.method === "HEAD");
    while (answer !== undefined && answer.status < 200) answer = await client.answer(one.method === "HEAD");
    expect(answer?.status, one.rule).toBe(one.status);
    if (one.body !== undefined) expect(answer?.body, one.rule).toBe(one.body);
    if (one.shows !== undefined) expect(answer?.head, one.rule).toMatch(one.shows);
    if (one.hides !== undefined) expect(answer?.head, one.rule).not.toMatch(one.hides);
    // What the endpoint sent beyond its answer must never become somebody else's.
    client.write(`GET /after HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect((await client.answer())?.body, one.rule).toBe("after");
    expect(client.unread).toBe("");
  });
});

/** Where a connection breaks. `reused`: after it has served another request. */
interface Break {
  readonly name: string;
  readonly reused: boolean;
  readonly act: (socket: Socket) => void;
  readonly answered: boolean;
}

const breaks: readonly Break[] = [
  {
    name: "reset after the head, on a new connection",
    reused: false,
    act: (socket) => {
      socket.resetAndDestroy();
    },
    answered: false,
  },
  {
    name: "ended after the head, on a new connection",
    reused: false,
    act: (socket) => {
      socket.end();
    },
    answered: false,
  },
  {
    name: "reset after the head, on a kept connection",
    reused: true,
    act: (socket) => {
      socket.resetAndDestroy();
    },
    answered: false,
  },
  {
    name: "ended after the head, on a kept connection",
    reused: true,
    act: (socket) => {
      socket.end();
    },
    answered: false,
  },
  {
    name: "ended within the answer's head",
    reused: true,
    act: (socket) => {
      socket.end("HTTP/1.1 200 OK\r\nContent-Le");
    },
    answered: true,
  },
  {
    name: "ended within the answer's body",
    reused: true,
    act: (socket) => {
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    },
    answered: true,
  },
];

const idempotent = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
const methods = [...idempotent, "POST", "PATCH"];

describe.each(breaks.map((one) => [one.name, one] as const))("a connection that is %s", (_name, point) => {
  it.each(
    methods.flatMap((method) =>
      (["", "abc"] as const).map((body) => [method, body === "" ? "without a body" : "with a body", body] as const),
    ),
  )("%s %s", async (method, _with, body) => {
    let broken = 0;
    const { host, endpoint } = await component((socket, received) => {
      if (received.startsWith("GET /first")) socket.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\nContent-Length: 5\r\n\r\nfirst");
      else if (broken === 0) {
        broken += 1;
        point.act(socket);
      } else
        socket.write(
          method === "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain",
        );
    });
    using client = await RawClient.open(edge.port);
    if (point.reused) {
      client.write(`GET /first HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect((await client.answer())?.body).toBe("first");
    }
    const before = endpoint.heads;
    client.write(
      `${method} /second HTTP/1.1\r\nHost: ${host}\r\n${body === "" ? "" : `Content-Length: ${String(body.length)}\r\n`}\r\n${body}`,
    );
    // Sent again before any byte of an answer, without a body, and where acting twice is the same as once.
    const again = !point.answered && body === "" && idempotent.includes(method);
    const begun = point.name === "ended within the answer's body";
    if (begun && method === "HEAD") expect((await client.answer(true))?.status, "an answer to HEAD is whole without a body").toBe(200);
    else if (begun) {
      expect(await client.closes()).toBe(true);
      expect(client.unread.endsWith("abc")).toBe(true);
    } else expect((await client.answer(method === "HEAD"))?.status).toBe(again ? 200 : 502);
    expect(endpoint.heads - before, "times that the endpoint was asked").toBe(again ? 2 : 1);
  });
});
