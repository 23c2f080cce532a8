// A large collection: read and watched without holding up whatever else the process does.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { testCertificate } from "../edge/testing/certificates.ts";
import { KubeApi } from "./api.ts";
import { until } from "./testing/server.ts";
import type { Thing } from "./testing/things.ts";
import { Watched } from "./watch.ts";

const made: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

/** Serves pages and then events from a thread of its own, so that only the watch works in this one. */
const pagesServer = `
const { workerData, parentPort } = require("node:worker_threads");
const { cert, key, filler } = workerData;
const page = (from) => JSON.stringify({
  metadata: { resourceVersion: "1", ...(from + 250 < 10000 ? { continue: String(from + 250) } : {}) },
  items: Array.from({ length: 250 }, (_, index) => thing(from + index, 1, from + index)),
});
const thing = (index, version, value) => ({ metadata: { name: "pod-" + index, namespace: "shop", uid: String(index), resourceVersion: String(version) }, value, spec: { env: filler } });
const server = require("node:https").createServer({ cert, key }, (request, response) => {
  const query = new URL(request.url, "https://x").searchParams;
  if (query.has("watch")) for (let index = 0; index < 2000; index++) response.write(JSON.stringify({ type: "MODIFIED", object: thing(index, 2, -1) }) + "\\n");
  else if (query.get("limit") === "250") response.end(page(Number(query.get("continue") ?? 0)));
});
server.listen(0, "localhost", () => parentPort.postMessage(server.address().port));
`;

describe("10,000 objects", () => {
  it("are read and watched in turns of less than 50 ms of work", async () => {
    const authority = testCertificate({ subject: "test authority", isAuthority: true });
    const { certificate: cert, key } = testCertificate({ hosts: ["localhost"], issuer: authority });
    // As large as pods are: 8 KiB each.
    const filler = Array.from({ length: 72 }, (_, index) => ({
      name: `variable-${String(index)}`,
      value: randomBytes(40).toString("hex"),
    }));
    expect(JSON.stringify(filler).length).toBeGreaterThan(8_000);
    const worker = new Worker(pagesServer, { eval: true, workerData: { cert, key, filler } });
    made.push(() => worker.terminate());
    const [port] = (await once(worker, "message")) as [number];
    const api = new KubeApi({
      server: `https://localhost:${String(port)}`,
      ca: authority.certificate,
      auth: { kind: "token", token: "t" },
    });
    made.push(() => api.close());
    const turns = longestTurn();
    const began = performance.now();
    const watched = new Watched<number, Thing>(api, "Pod", { project: (thing) => thing.value });
    made.push(() => watched.close());
    await watched.synced;
    const took = performance.now() - began;
    expect(watched.items.size).toBe(10_000);
    await until(() => watched.items.get("shop/pod-1999") === -1);
    const longest = turns();
    console.log(`10,000 objects and 2,000 changes: list ${took.toFixed(0)} ms, longest turn ${longest.toFixed(1)} ms of work`);
    expect(longest).toBeLessThan(50);
  });
});

/** ms of this thread's own work in the longest turn of the event loop: what other processes take of the machine does not count. */
function longestTurn(): () => number {
  let longest = 0;
  let isOver = false;
  const used = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1_000;
  };
  let before = used();
  const next = (): void => {
    const now = used();
    longest = Math.max(longest, now - before);
    before = now;
    if (!isOver) setImmediate(next);
  };
  setImmediate(next);
  return () => {
    isOver = true;
    return longest;
  };
}
