// Certificates that Berth gets by itself, from a real authority: a domain in a Compose file is all that anybody writes, and it is served over HTTPS.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Between } from "../packages/server/src/reconcile/testing/between.ts";
import { pebbleMissing, type Pebble } from "../packages/server/src/reconcile/testing/pebble.ts";
import { type TestBerth, until, webApp } from "./harness.ts";
import { CertificateLab, issued, project, secureGet, stateOf } from "./automatic.ts";

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

  test("two hosts get their certificates at once, are served with them, and plain requests are sent there", async () => {
    const hosts = ["shop.example.org", "www.example.org"];
    await berth.deployed("shop", project(webApp("one"), ...hosts));
    const [one, two] = await Promise.all(hosts.map((host) => issued(berth, host)));
    const root = await pebble.root();
    for (const host of hosts) {
      expect(await secureGet(berth, host, root)).toMatchObject({ status: 200, body: expect.stringContaining("one") as string });
      expect(await berth.get(host, "/a?b")).toMatchObject({ status: 308 });
    }
    expect(one?.certificate).not.toBe(two?.certificate);
    // One order for each host.
    expect(between.count("/order-plz")).toBe(2);
    // At two thirds of its life, and not much sooner.
    const { renewsAt = "", notAfter = "" } = one ?? {};
    const left = (Date.parse(notAfter) - Date.parse(renewsAt)) / (90 * 86_400_000);
    expect(left).toBeGreaterThan(0.33);
    expect(left).toBeLessThan(0.39);
  });

  test("the authority is answered for a component that is stopped, at a host whose plain requests are all sent to HTTPS", async () => {
    await berth.deployed("stopped", project(webApp("one"), "first.example.org"));
    await issued(berth, "first.example.org");
    await berth.client.stopComponent({ params: { stack: "stopped", component: "web" } });
    await until(async () => ((await berth.get("first.example.org")).status === 308 ? true : undefined), "the redirect");
    const before = (await stateOf(berth, "first.example.org"))?.notAfter;
    await berth.client.renewCertificate({ params: { host: "first.example.org" } });
    await until(async () => {
      const state = await stateOf(berth, "first.example.org");
      if (state?.cause !== undefined) throw new Error(JSON.stringify(state.cause));
      return state?.phase === "issued" && state.notAfter !== before ? true : undefined;
    }, "a renewal");
  });
});
