// The control plane is killed between any two steps of an order, and the next one goes on with the same order: nothing is asked for twice (promise 2). A renewal
// costs nobody a request (promise 3).
import { Agent, request } from "node:https";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Between } from "../packages/server/src/reconcile/testing/between.ts";
import { pebbleMissing, type Pebble } from "../packages/server/src/reconcile/testing/pebble.ts";
import { CertificateLab, issued, project, secureDoor, secureGet, stateOf } from "./automatic.ts";
import { isAlive, type TestBerth, until, webApp } from "./harness.ts";

/** What the authority is asked in an order, in turn: its new order, its authorization, the challenge that is to be looked at, the order's end, and the certificate. */
const steps = ["/order-plz", "/authZ/", "/chalZ/", "/finalize-order/", "/certZ/"] as const;

describe.skipIf(pebbleMissing() !== undefined)("automatic certificates", () => {
  let berth: TestBerth;
  let pebble: Pebble;
  let between: Between;
  let lab: CertificateLab;
  beforeAll(async () => {
    lab = await CertificateLab.open();
    ({ berth, between, pebble } = lab);
  }, 300_000);
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  }, 120_000);

  beforeEach(() => {
    between.passOn();
  });

  async function killServer(): Promise<void> {
    const pid = berth.serverPid();
    process.kill(pid, "SIGKILL");
    await until(async () => (isAlive(pid) ? undefined : true), "the server to be gone");
  }

  test.each(steps)("go on after a kill -9 when %s was answered and nobody had heard it", async (step) => {
    const name = `after-${step.replaceAll(/[^a-z]/gi, "").toLowerCase()}`;
    const host = `${name}.example.org`;
    const orders = between.count("/order-plz");
    const ends = between.count("/finalize-order/");
    const stop = between.stopAfter(step);
    const { rollouts } = await berth.up(name, project(webApp("one"), host));
    await stop.reached;
    await killServer();
    stop.drop();
    await berth.startServer();
    const state = await issued(berth, host);
    expect(state).toMatchObject({ failures: 0 });
    // The certificate does not wait for what is served with it.
    expect(await berth.ended(name, "web", rollouts[0]?.number ?? 0)).toMatchObject({ phase: "succeeded" });
    expect(await secureGet(berth, host, await pebble.root())).toMatchObject({ status: 200 });
    // An order whose address nobody heard is the only one that has to be made again; the authority forgets it.
    expect(between.count("/order-plz") - orders).toBe(step === "/order-plz" ? 2 : 1);
    expect(between.count("/finalize-order/") - ends).toBe(1);
  });

  test("are asked for again when a crash hid the answer, and not without end", async () => {
    const host = "hidden.example.org";
    const orders = between.count("/order-plz");
    let begun = 0;
    for (let round = 0; round < 3; round += 1) {
      begun = Date.now();
      const stop = between.stopAfter("/order-plz");
      if (round === 0) await berth.up("hidden", project(webApp("one"), host));
      else await berth.startServer();
      await stop.reached;
      await killServer();
      stop.drop();
    }
    await berth.startServer();
    const state = await until(async () => {
      const found = await stateOf(berth, host);
      return found?.triesAgainAt === undefined ? undefined : found;
    }, "a pause");
    // A pause from the last order on, which was asked for after this.
    expect(Date.parse(state.triesAgainAt ?? "")).toBeGreaterThan(begun + 50_000);
    expect(between.count("/order-plz") - orders).toBe(3);
    await berth.client.renewCertificate({ params: { host } });
    await issued(berth, host);
  });

  test("are renewed under open connections and requests in flight, and none is lost", async () => {
    const host = "after-orderplz.example.org";
    const root = await pebble.root();
    const before = await secureGet(berth, host, root);
    const port = (await secureDoor(berth))?.port;
    // Two connections that stay, and new ones all the time.
    const kept = new Agent({ keepAlive: true, maxSockets: 2 });
    let stopped = false;
    const failed: string[] = [];
    let answered = 0;
    const sockets = new Set<unknown>();
    const one = (agent: Agent | false, path: string): Promise<void> =>
      new Promise((resolve) => {
        request({ host: "127.0.0.1", port, path, servername: host, headers: { host }, ca: root, agent }, (answer) => {
          if (agent !== false) sockets.add(answer.socket);
          answer.resume().on("end", () => {
            if (answer.statusCode === 200) answered += 1;
            else failed.push(String(answer.statusCode));
            resolve();
          });
        })
          .on("error", (error) => {
            failed.push(error.message);
            resolve();
          })
          .end();
      });
    const work = async (agent: Agent | false, path: string): Promise<void> => {
      while (!stopped) await one(agent, path);
    };
    const all = Promise.all([work(kept, "/"), work(kept, "/slow"), work(false, "/")]);
    for (let round = 0; round < 3; round += 1) {
      const { fingerprint } = round === 0 ? before : await secureGet(berth, host, root);
      await berth.client.renewCertificate({ params: { host } });
      await until(
        async () => ((await secureGet(berth, host, root)).fingerprint === fingerprint ? undefined : true),
        "another certificate",
        60_000,
        () => berth.log(),
      );
    }
    const so = answered;
    await until(async () => (answered > so + 10 ? true : undefined), "more answers");
    stopped = true;
    await all;
    kept.destroy();
    expect(failed).toEqual([]);
    // The connections of before are the connections of after.
    expect(sockets.size).toBe(2);
    const { items } = await berth.client.listCertificates({ query: { search: host } });
    expect(items).toHaveLength(1);
  });
});
