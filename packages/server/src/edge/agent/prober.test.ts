// The prober against real sockets: thresholds as in Kubernetes, early looks at a fresh instance, and no failure counted that was our own stall.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Probe } from "@berth/contract/spec.ts";
import { check, type CheckTarget } from "./checks.ts";
import { Prober, StallWatch, type ProberDeps } from "./prober.ts";
import { until } from "./testing/lab.ts";

let server: Server;
let status = 200;
let delay = 0;
let requests = 0;
let target: CheckTarget;
beforeEach(async () => {
  [status, delay, requests] = [200, 0, 0];
  server = createServer((_request, response) => {
    requests += 1;
    response.statusCode = status;
    setTimeout(() => {
      response.end("x");
    }, delay);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  target = {
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    mapped: {},
    run: async (command) => ({ code: "shell" in command ? Number(command.shell) : 0, output: "said this\n" }),
  };
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const http: Probe["check"] = { type: "http", path: "/" };
const quiet = { since: () => false };

function probe(probes: ProberDeps["probes"], over: Partial<ProberDeps> = {}): { prober: Prober; events: string[] } {
  const events: string[] = [];
  const prober = new Prober({
    target,
    probes,
    already: { started: false, ready: false },
    stalls: quiet,
    now: Date.now,
    confirm: () => true,
    onRecord: () => undefined,
    onStarted: () => events.push("started"),
    onReady: (ready) => events.push(ready ? "ready" : "not ready"),
    onFailed: (name, failures, last) => events.push(`${name} failed ${failures}: ${last}`),
    ...over,
  });
  prober.start();
  return { prober, events };
}

describe("checks", () => {
  const look = (what: Probe["check"], timeout = 30_000): Promise<{ ok: boolean; detail: string }> =>
    check(what, target, timeout, new AbortController().signal);
  it("say what they saw", async () => {
    expect(await look(http)).toEqual({ ok: true, detail: "status 200" });
    status = 302;
    expect((await look(http)).ok).toBe(true);
    status = 404;
    expect(await look(http)).toEqual({ ok: false, detail: "status 404" });
    delay = 300;
    expect(await look(http, 60)).toEqual({ ok: false, detail: "no answer within 60 ms" });
    expect((await look({ type: "tcp" })).ok).toBe(true);
    expect(await look({ type: "tcp", port: 1 })).toEqual({ ok: false, detail: "connection refused" });
    expect(
      (await check({ type: "tcp", port: 80 }, { ...target, mapped: { 80: target.port ?? 0 } }, 500, new AbortController().signal)).ok,
    ).toBe(true);
    expect(await look({ type: "exec", command: { shell: "0" } })).toMatchObject({ ok: true });
    expect(await look({ type: "exec", command: { shell: "4" } })).toEqual({ ok: false, detail: "exit code 4: said this" });
  });
});

describe("prober", () => {
  it("finds a fresh instance ready at once, however long the period is", async () => {
    const { prober, events } = probe({ readiness: { check: http, period: 600_000 } });
    await until(() => events.includes("ready"), "ready");
    expect(events).toEqual(["started", "ready"]);
    prober.stop();
  });

  it("begins readiness and liveness only when startup passed", async () => {
    status = 500;
    const { prober, events } = probe({
      startup: { check: http, period: 100 },
      readiness: { check: { type: "tcp" } },
      liveness: { check: { type: "tcp", port: 1 }, period: 100, failureThreshold: 2 },
    });
    await until(() => requests > 3, "some looks");
    expect(events).toEqual([]);
    status = 200;
    await until(() => events.some((one) => one.startsWith("liveness")), "liveness fails in the end");
    expect(events).toEqual(["started", "ready", "liveness failed 2: connection refused"]);
    prober.stop();
  });

  it("gives a start threshold times period, and then fails it", async () => {
    status = 500;
    const began = Date.now();
    const { events } = probe({ startup: { check: http, period: 200, failureThreshold: 3 } });
    await until(() => events.length > 0, "failed");
    expect(events[0]).toMatch(/^startup failed \d+: status 500$/);
    expect(Date.now() - began).toBeGreaterThanOrEqual(350);
  });

  it("takes readiness away after the threshold, and gives it back", async () => {
    const { prober, events } = probe({ readiness: { check: http, period: 100, failureThreshold: 2 } });
    await until(() => events.includes("ready"), "ready");
    status = 503;
    await until(() => events.includes("not ready"), "not ready");
    status = 200;
    await until(() => events.filter((one) => one === "ready").length === 2, "ready again");
    prober.stop();
    // What it asked before it was told to stop has come when an answer to a later question has.
    await check(http, target, 30_000, new AbortController().signal);
    const seen = requests;
    await sleep(300);
    expect(requests).toBe(seen);
  });

  it("looks at once when it is told to, however long the period is", async () => {
    const { prober, events } = probe({ readiness: { check: http, period: 600_000, failureThreshold: 2 } });
    await until(() => events.includes("ready"), "ready");
    status = 503;
    // It may be between its word and its pause.
    await until(() => {
      prober.hurry();
      return events.includes("not ready");
    }, "not ready");
    prober.stop();
  });

  it("counts no failure that happened while it was held up itself", async () => {
    let stalled = true;
    const { prober, events } = probe(
      {
        readiness: { check: { type: "tcp" }, period: 100 },
        liveness: { check: http, period: 100, timeout: 100, failureThreshold: 1, initialDelay: 0 },
      },
      { stalls: { since: () => stalled } },
    );
    status = 500;
    await until(() => requests > 5, "many failures");
    expect(events).toEqual(["started", "ready"]);
    stalled = false;
    await until(() => events.some((one) => one.startsWith("liveness failed 1")), "now it counts");
    prober.stop();
  });

  it("looks again soon where a look did not count, however long the period is", async () => {
    let stalled = false;
    const counts: boolean[] = [];
    const { prober, events } = probe(
      { readiness: { check: http, period: 600_000, failureThreshold: 2 } },
      { stalls: { since: () => stalled }, onRecord: (_record, counted) => counts.push(counted) },
    );
    await until(() => events.includes("ready"), "ready");
    [stalled, status] = [true, 503];
    await until(() => {
      if (counts.includes(false)) return true;
      prober.hurry();
      return false;
    }, "a look that does not count");
    stalled = false;
    await until(() => events.includes("not ready"), "not ready");
    prober.stop();
  });

  it("does not call an instance ready while somebody else answers for it", async () => {
    let own = false;
    const { prober, events } = probe({ readiness: { check: http } }, { confirm: () => own });
    await until(() => requests > 3, "looks");
    expect(events).toEqual(["started"]);
    own = true;
    await until(() => events.includes("ready"), "ready");
    prober.stop();
  });

  it("lets a program without any check run a second before it counts as ready", async () => {
    const began = Date.now();
    const { prober, events } = probe({});
    await until(() => events.includes("ready"), "ready");
    expect(Date.now() - began).toBeGreaterThanOrEqual(990);
    prober.stop();
  });
});

describe("stall watch", () => {
  it("notices that the process did not run, and when", () => {
    let now = 0;
    const watch = new StallWatch(() => now, 1_000_000, 250);
    now = 200;
    expect(watch.since(0)).toBe(false);
    now = 1_000;
    expect(watch.since(900)).toBe(true);
    now = 1_100;
    expect(watch.since(1_050)).toBe(false);
    watch.stop();
  });
});
