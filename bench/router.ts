// Measures the router (with access log, metrics and sticky cookies) against the plainest proxy that Node can be: an http server with an undici pool. Same endpoint, same clients, same run.
// `node bench/router.ts [REQUESTS]` prints requests per second and, since the clients share the machine, the CPU time that a request costs the proxy itself.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import { fence, freePort, host, listening, never, TestEdge, webEntry } from "../packages/server/src/edge/testing/harness.ts";

const self = fileURLToPath(import.meta.url);
const [, , first = "30000", second = "0"] = process.argv;
const connections = 32;
/** Linux counts CPU time in ticks of 10 ms. */
const tick = 10_000;

async function main(requests: number): Promise<void> {
  const endpointPort = await freePort();
  const endpoint = await started(fork(self, ["endpoint", String(endpointPort)]));
  const peerPort = await freePort();
  const peer = await started(fork(self, ["peer", String(peerPort), String(endpointPort)]));
  await using edge = await TestEdge.start();
  await edge.traffic.apply(await webEntry([{ instance: "bench", releaseHash: "sha256:bench", host: "127.0.0.1", port: endpointPort, state: "active" }], { sticky: { cookie: "berth-track", maxAge: 3_600_000 } }), fence(1), never);
  await edge.ready({ bench: true });
  try {
    const rows = [];
    for (let round = 1; round <= 2; round += 1) {
      rows.push({ round, proxy: "plain node http + undici", ...(await measure(peerPort, [peer.pid ?? 0], requests)) });
      rows.push({ round, proxy: "berth router", ...(await measure(edge.port, await edge.workers(), requests)) });
    }
    console.table(rows);
  } finally {
    peer.kill();
    endpoint.kill();
  }
}

async function measure(port: number, pids: readonly number[], requests: number): Promise<Record<string, number>> {
  const pool = new Pool(`http://127.0.0.1:${String(port)}`, { connections, pipelining: 1 });
  const send = async (count: number): Promise<void> => {
    let left = count;
    await Promise.all(Array.from({ length: connections }, async () => {
      while (left > 0) {
        left -= 1;
        const { statusCode, body } = await pool.request({ method: "GET", path: "/x?y=1", headers: { host, "user-agent": "bench", accept: "*/*", cookie: "session=abc; berth-track=stable" } });
        await body.dump();
        if (statusCode !== 200) throw new Error(`status ${String(statusCode)}`);
      }
    }));
  };
  await send(Math.ceil(requests / 5));
  const cpuBefore = await cpu(pids);
  const before = performance.now();
  await send(requests);
  const seconds = (performance.now() - before) / 1000;
  const micros = (await cpu(pids)) - cpuBefore;
  await pool.close();
  return { "requests/s": Math.round(requests / seconds), "CPU µs/request": Math.round((micros / requests) * 10) / 10, "requests/s per core": Math.round((requests / micros) * 1e6) };
}

async function cpu(pids: readonly number[]): Promise<number> {
  let micros = 0;
  for (const pid of pids) {
    const stat = await readFile(`/proc/${String(pid)}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    micros += (Number(fields[11]) + Number(fields[12])) * tick;
  }
  return micros;
}

async function started(child: ChildProcess): Promise<ChildProcess> {
  await once(child, "message");
  return child;
}

async function runEndpoint(port: number): Promise<void> {
  await listening(createServer((_req, res) => { res.writeHead(200, { "content-type": "text/plain", "content-length": "12" }).end("hello world\n"); }), port);
  process.send?.("up");
}

async function runPeer(port: number, endpointPort: number): Promise<void> {
  const pool = new Pool(`http://127.0.0.1:${String(endpointPort)}`, { connections: 64, pipelining: 1 });
  await listening(createServer((req, res) => {
    pool.stream({ method: "GET", path: req.url ?? "/", headers: { ...req.headers, connection: undefined }, opaque: res }, ({ statusCode, headers }) => {
      delete headers["connection"];
      delete headers["keep-alive"];
      return res.writeHead(statusCode, headers);
    }).catch(() => { res.destroy(); });
  }), port);
  process.send?.("up");
}

switch (first) {
  case "endpoint": await runEndpoint(Number(second)); break;
  case "peer": await runPeer(Number(second), Number(process.argv[4])); break;
  default: await main(Number(first));
}
