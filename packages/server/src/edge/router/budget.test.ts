// What a request and an idle client may cost a router at most. Generous, since tests share their machine: it finds what got several times worse. `npm run bench:router` measures.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endpoint, fence, host, never, TestEdge, webEntry, type TestEndpoint } from "../testing/harness.ts";

const body = "x".repeat(1024);
const request = `GET /x HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
/** Linux counts CPU time in ticks of 10 ms. */
const tick = 10_000;

let edge: TestEdge;
let behind: TestEndpoint;
let workers: readonly number[];

beforeAll(async () => {
  edge = await TestEdge.start();
  behind = await endpoint("budget", (_req, res) => {
    res.writeHead(200, { "content-length": "1024" }).end(body);
  });
  await edge.traffic.apply(await webEntry([behind.endpoint], { sticky: { cookie: "track", maxAge: 60_000 } }), fence(1), never);
  await edge.ready({ budget: true });
  workers = await edge.workers();
});
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await behind[Symbol.asyncDispose]();
});

/** CPU time of all routers, µs. */
function cpuMicros(): number {
  return workers.reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) * tick;
  }, 0);
}

/** Resident memory of all routers, bytes. */
function resident(): number {
  return workers.reduce(
    (sum, pid) => sum + Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8"))?.[1] ?? NaN) * 1024,
    0,
  );
}

/** Sends a request and waits for its whole answer. */
async function ask(socket: Socket): Promise<void> {
  socket.write(request);
  let text = "";
  while (!text.endsWith(body)) text += String(((await once(socket, "data")) as [Buffer])[0]);
}

async function open(count: number): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ host: "127.0.0.1", port: edge.port });
      await ask(socket);
      return socket;
    }),
  );
}

describe.skipIf(process.platform !== "linux")("a router", () => {
  it("takes less than 800 µs of CPU time for a request, with access log, metrics and sticky cookies", async () => {
    const sockets = await open(16);
    const before = cpuMicros();
    await Promise.all(
      sockets.map(async (socket) => {
        for (let index = 0; index < 250; index += 1) await ask(socket);
      }),
    );
    const each = (cpuMicros() - before) / (16 * 250);
    for (const socket of sockets) socket.destroy();
    expect(each).toBeGreaterThan(0);
    expect(each).toBeLessThan(800);
  });

  it("takes less than 15 MB for 1,000 idle clients", async () => {
    const before = resident();
    const sockets: Socket[] = [];
    try {
      while (sockets.length < 1_000) sockets.push(...(await open(100)));
      expect(sockets.filter((socket) => socket.closed)).toEqual([]);
      expect(resident() - before).toBeLessThan(15e6);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});
