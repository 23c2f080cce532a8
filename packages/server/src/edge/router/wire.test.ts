// Doubtful bytes at the public door (RFC 9112, section 11.2): every case of the table over a raw socket, with an endpoint that notes what reaches it.
// Once on connections as Node has them, and once on those of a crowd, which rest between requests.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fence, freePort, never, TestEdge, webEntry } from "../testing/harness.ts";
import { notingEndpoint, RawClient, type NotingEndpoint } from "../testing/wire.ts";
import { wireCases, type WireCase } from "./wire.cases.ts";

const host = "web.wire.localhost";
let edge: TestEdge;
let crowded: TestEdge;
let behind: NotingEndpoint;

beforeAll(async () => {
  [edge, crowded] = await Promise.all([TestEdge.start(), TestEdge.start({ limits: { restFrom: 0 } })]);
  behind = await notingEndpoint();
  const endpoints = [{ instance: "noting", releaseHash: "sha256:a", host: "127.0.0.1", port: behind.port, state: "active" as const }];
  for (const one of [edge, crowded]) {
    await one.traffic.apply(
      await webEntry(endpoints, { ref: { stack: "wire", component: "web" } }, { hosts: [{ host, path: "/" }], internal: await freePort() }),
      fence(1),
      never,
    );
    await one.ready({ noting: true });
  }
});
afterAll(async () => {
  await Promise.all([edge[Symbol.asyncDispose](), crowded[Symbol.asyncDispose]()]);
  await behind[Symbol.asyncDispose]();
});

interface Seen {
  readonly statuses: number[];
  readonly lastHead: string;
  readonly closed: boolean;
  readonly after: string | undefined;
}

async function exchange({ port }: TestEdge, one: WireCase): Promise<Seen> {
  behind.reset();
  using client = await RawClient.open(port, { allowHalfOpen: true });
  const bytes = one.send.replaceAll("HOST", host).replaceAll("@UPPER@", host.toUpperCase());
  client.write(bytes);
  if (one.halfClose === true) client.socket.end();
  const statuses: number[] = [];
  let lastHead = "";
  while (statuses.length < one.statuses.length) {
    const answer = await client.answer();
    if (answer === undefined) break;
    if (answer.status < 200) continue;
    statuses.push(answer.status);
    lastHead = answer.head;
  }
  if (one.closes === true) return { statuses, lastHead, closed: await client.closes(), after: undefined };
  // Whatever was sent must be over by now: the next request on the connection is answered as itself.
  client.write(`GET /after HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const after = await client.answer();
  return { statuses, lastHead, closed: false, after: after?.body };
}

describe.each(Object.entries(wireCases))("%s", (_group, cases) => {
  const both = cases.flatMap((one) => [[one.name, one, false] as const, [`${one.name}, in a crowd`, one, true] as const]);
  it.each(both)("%s", async (_name, one, inCrowd) => {
    const seen = await exchange(inCrowd ? crowded : edge, one);
    expect(seen.statuses, one.rule).toEqual(one.statuses);
    if (one.closes === true) expect(seen.closed, `${one.rule}: the connection ends`).toBe(true);
    else expect(seen.after, `${one.rule}: the connection serves the next request`).toBe("GET /after 0");
    const reached = behind.requests.filter((request) => request !== 'GET /after ""');
    expect(reached, one.rule).toEqual(one.reaches);
    const received = behind.bytes();
    expect(received.includes("/smuggled"), one.rule).toBe(false);
    if (one.hides !== undefined) expect(received, one.rule).not.toMatch(one.hides);
    if (one.shows !== undefined) expect(received, one.rule).toMatch(new RegExp(one.shows.source.replaceAll("HOST", host), one.shows.flags));
    if (one.answers !== undefined) expect(seen.lastHead, one.rule).toMatch(one.answers);
  });
});
