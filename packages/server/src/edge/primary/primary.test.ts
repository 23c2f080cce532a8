// Guarantees of the primary's parts, each alone.
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { latencyBounds, type MetricsSnapshot } from "../ipc.ts";
import { freePort, listening, webEntry } from "../testing/harness.ts";
import { chooseAddress } from "./address.ts";
import { nextPause } from "./children.ts";
import { childEntry } from "./edge.ts";
import { releaseLock, takeLock } from "./lock.ts";
import { mergeSnapshots, prometheusText, retired } from "./metrics.ts";
import { Readiness } from "./readiness.ts";
import { rotate } from "./rotation.ts";
import { EntryStore } from "./store.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-primary-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the lock", () => {
  it("is held by one living process, and taken over from a dead one or a reused pid", async () => {
    const file = join(folder, "edge.lock");
    await takeLock(file);
    await expect(takeLock(file)).rejects.toThrow(`another edge (pid ${String(process.pid)})`);
    releaseLock(file);
    await takeLock(file);
    for (const stale of ["999999999 1@boot", `${String(process.pid)} 1@another-life`, ""]) {
      await writeFile(file, stale);
      await takeLock(file);
    }
    expect(await readdir(folder)).toEqual(["edge.lock"]);
  });

  it("goes to one of many that find it stale", async () => {
    const file = join(folder, "edge.lock");
    for (let round = 0; round < 50; round += 1) {
      await writeFile(file, `${String(999_999_999 + round)} 1@boot`);
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(file)));
      expect(results.filter((result) => result.status === "fulfilled").length).toBe(1);
      releaseLock(file);
    }
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("the store", () => {
  it("gives back after a restart what was put, tombstones included, and leaves an unreadable file alone", async () => {
    const ref = { stack: "shop", component: "web" };
    const entry = await webEntry([], { ref });
    const store = await EntryStore.open(folder);
    await store.put({ ref, fence: { installation: "i", epoch: 2, generation: 7 }, entry });
    await store.put({ ref: { stack: "shop", component: "gone" }, fence: { installation: "i", epoch: 1, generation: 9 }, entry: null });
    await writeFile(join(folder, "edge", "entries", "bad.x.json"), "{");
    await writeFile(join(folder, "edge", "entries", "shop.web.json.0.tmp"), "half");
    const again = await EntryStore.open(folder);
    expect(again.all().map((stored) => [stored.ref.component, stored.fence.generation, stored.entry === null])).toEqual([
      ["gone", 9, true],
      ["web", 7, false],
    ]);
    expect(again.get(ref)?.entry).toEqual(entry);
    expect(again.epoch()).toBe(2);
    expect(again.unreadable.length).toBe(1);
    expect((await readdir(join(folder, "edge", "entries"))).sort()).toEqual(["bad.x.json", "shop.gone.json", "shop.web.json"]);
  });
});

describe("the router's address", () => {
  it("is a chosen port or an error that names the owner; a default port moves once and stays there", async () => {
    const server = createServer();
    const port = await listening(server);
    const file = join(folder, "edge", "router.json");
    await mkdir(join(folder, "edge"));
    try {
      await expect(chooseAddress({ host: "127.0.0.1", port: await freePort(), portIsDefault: false }, file)).resolves.toMatchObject({
        host: "127.0.0.1",
      });
      const moved = await chooseAddress({ host: "127.0.0.1", port, portIsDefault: true }, file);
      expect(moved.port).toBeGreaterThan(port);
      expect(await chooseAddress({ host: "127.0.0.1", port, portIsDefault: true }, file)).toEqual(moved);
      const refused = chooseAddress({ host: "127.0.0.1", port, portIsDefault: false }, file);
      await expect(refused).rejects.toThrow(`(pid ${String(process.pid)})`);
    } finally {
      server.close();
    }
  }, 120_000);

  it("is kept by a default port that a dying edge still holds", async () => {
    const file = join(folder, "edge", "router.json");
    const port = await freePort();
    const asked = { host: "127.0.0.1", port, portIsDefault: true };
    expect((await chooseAddress(asked, file)).port).toBe(port);
    const dying = createServer();
    await listening(dying, port);
    setTimeout(() => dying.close(), 150);
    expect((await chooseAddress(asked, file)).port).toBe(port);
  });
});

describe("readiness", () => {
  it("tells only changes, forgets who is not in a full report, and survives a restart", async () => {
    const file = join(folder, "edge", "readiness.json");
    const readiness = await Readiness.open(file);
    expect(
      readiness.take({
        type: "readiness",
        full: false,
        instances: [
          { id: "a", ready: true },
          { id: "b", ready: true },
          { id: "c", ready: false },
        ],
      }),
    ).toEqual([
      ["a", true],
      ["b", true],
    ]);
    expect(readiness.take({ type: "readiness", full: false, instances: [{ id: "a", ready: true }] })).toEqual([]);
    expect(readiness.take({ type: "readiness", full: true, instances: [{ id: "a", ready: true }] })).toEqual([["b", false]]);
    await readiness.flush();
    expect((await Readiness.open(file)).all()).toEqual([["a", true]]);
    await writeFile(file, '["half');
    expect((await Readiness.open(file)).all()).toEqual([]);
  });
});

describe("metrics", () => {
  const snapshot = (requests: number, inFlight: number): MetricsSnapshot => ({
    tracks: [
      {
        stack: "s",
        component: "c",
        track: "stable",
        classes: [
          null,
          null,
          {
            count: requests,
            seconds: requests / 10,
            buckets: latencyBounds.concat(0).map((_bound, index) => (index === 6 ? requests : 0)),
          },
          null,
          null,
          null,
        ],
        inFlight,
        retries: 1,
        holds: 0,
        holdTimeouts: 0,
        interrupted: 0,
        bytesIn: 0,
        bytesOut: 0,
      },
    ],
    unrouted: [0, 0, 0, 0, 2, 0],
    connections: {
      public: { open: 3, total: 5 },
      internal: { open: 0, total: 0 },
      tcp: { open: 0, total: 0 },
      upgraded: { open: 0, total: 0 },
    },
    logDropped: 0,
    residentBytes: 10,
  });
  const gauges = { routers: 2, routerRestarts: 0, agentUp: true, collectorUp: false, entries: 1 };

  it("are summed over routers; of one that ended its counters stay and its gauges go", () => {
    const merged = mergeSnapshots([retired(snapshot(4, 9), () => true), snapshot(2, 1)]);
    const text = prometheusText(merged, gauges);
    expect(text).toContain('berth_edge_requests_total{stack="s",component="c",track="stable",status="2xx"} 6\n');
    expect(text).toContain('berth_edge_requests_in_flight{stack="s",component="c",track="stable"} 1\n');
    expect(text).toContain('berth_edge_connections{listener="public"} 3\n');
    expect(text).toContain('berth_edge_connections_total{listener="public"} 10\n');
    expect(text).toContain('berth_edge_unrouted_requests_total{status="4xx"} 4\n');
    expect(text).toContain('le="0.05"} 0\n');
    expect(text).toContain('le="0.1"} 6\n');
    expect(text).toContain('le="+Inf"} 6\n');
  });

  it("forget components that are gone", () => {
    expect(retired(snapshot(4, 9), () => false).tracks).toEqual([]);
  });
});

describe("rotation", () => {
  it("keeps so many files and no more", async () => {
    const file = join(folder, "access.log");
    for (const text of ["one", "two", "three", "four"]) {
      await writeFile(file, text);
      expect(await rotate(file, 3, 3)).toBe(true);
    }
    expect((await readdir(folder)).sort()).toEqual(["access.log.1", "access.log.2"]);
    expect(await readFile(`${file}.1`, "utf8")).toBe("four");
    expect(await rotate(file, 3, 3)).toBe(false);
  });
});

it("a child that keeps dying is started ever more slowly, one that lived starts at once again", () => {
  let pause = 0;
  const pauses = Array.from({ length: 9 }, () => (pause = nextPause(pause, 10)));
  expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  expect(nextPause(10_000, 6_000)).toBe(100);
});

it("children are found beside the entry, from source and from a bundle", () => {
  expect(childEntry("file:///a/src/edge/main.ts", "agent")).toBe("/a/src/edge/agent/main.ts");
  expect(childEntry("file:///a/dist/edge.js", "router")).toBe("/a/dist/edge-router.js");
});
