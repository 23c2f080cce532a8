// What keeps a host from its certificate is told with its cause, is tried again ever more rarely, and goes well as soon as it can.
import { createServer } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AutomaticCertificate } from "@berth/contract/resources/certificates.ts";
import { testCertificate } from "../packages/server/src/edge/testing/certificates.ts";
import type { Between } from "../packages/server/src/reconcile/testing/between.ts";
import { pebbleMissing, type Pebble } from "../packages/server/src/reconcile/testing/pebble.ts";
import { CertificateLab, issued, project, stateOf } from "./automatic.ts";
import { type TestBerth, until, webApp } from "./harness.ts";

const minute = 60_000;
const acme = "urn:ietf:params:acme:error";

describe.skipIf(pebbleMissing() !== undefined)("a certificate that cannot be had", () => {
  let berth: TestBerth;
  let pebble: Pebble;
  let between: Between;
  let lab: CertificateLab;
  beforeAll(async () => {
    // Every eighth nonce is refused: some sentences have to be said again. Berth says each up to six times, so that it gives up one in 200,000.
    lab = await CertificateLab.open({ blocked: ["blocked.example.org"], refusedNonces: 12 });
    ({ berth, between, pebble } = lab);
  }, 300_000);
  beforeEach(() => {
    between.allow();
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  }, 120_000);

  /** Deploys one component at the host, and waits until its certificate failed. */
  async function failed(name: string, host: string): Promise<AutomaticCertificate> {
    await berth.up(name, project(webApp("one"), host));
    return failedAgain(host, 0);
  }
  function failedAgain(host: string, failures: number): Promise<AutomaticCertificate> {
    return until(
      async () => {
        const state = await stateOf(berth, host);
        return state !== undefined && state.failures > failures ? state : undefined;
      },
      `${host} to fail`,
      120_000,
      () => berth.log(),
    );
  }

  test("says what the authority refuses, tells it everywhere, and asks ever more rarely", async () => {
    const host = "blocked.example.org";
    const state = await failed("blocked", host);
    expect(state.cause).toMatchObject({ code: "authority_refused", params: { host } });
    expect(JSON.stringify(state.cause?.evidence)).toContain("rejectedIdentifier");
    const pause = Date.parse(state.triesAgainAt ?? "") - Date.parse(state.failedAt ?? "");
    expect(pause).toBeGreaterThan(0.8 * minute);
    expect(pause).toBeLessThan(1.2 * minute);
    const listed = await berth.cli(["certificates", "list"]);
    expect(listed.said).toMatch(/blocked\.example\.org/);
    expect(listed.said).toMatch(/refuses/);
    const shown = await berth.cli(["certificates", "show", host]);
    expect(shown.said).toMatch(/rejectedIdentifier/);
    expect(shown.said).toMatch(/berth certificates renew blocked\.example\.org/);
    const { items } = await berth.client.listEvents({ query: { code: "certificate_failed", stack: "blocked" } });
    expect(items[0]).toMatchObject({ component: "web", params: { host }, cause: { code: "authority_refused" } });
    expect((await berth.cli(["certificates", "renew", host])).code).toBe(0);
    const again = await failedAgain(host, 1);
    expect(Date.parse(again.triesAgainAt ?? "") - Date.parse(again.failedAt ?? "")).toBeGreaterThan(4 * minute);
    await expect(berth.client.renewCertificate({ params: { host: "nobody.example.org" } })).rejects.toMatchObject({ code: "not_found" });
  });

  test("stays away for as long as a rate limit says", async () => {
    between.refuse(
      "/order-plz",
      429,
      { type: `${acme}:rateLimited`, detail: "too many certificates already issued" },
      { "retry-after": "7200" },
    );
    const host = "limited.example.org";
    const state = await failed("limited", host);
    expect(state.cause).toMatchObject({ code: "authority_rate_limited", params: { reason: "too many certificates already issued" } });
    expect(Date.parse(state.triesAgainAt ?? "") - Date.parse(state.failedAt ?? "")).toBeGreaterThanOrEqual(7_200_000);
    between.allow();
    await berth.client.renewCertificate({ params: { host } });
    expect(await issued(berth, host)).toMatchObject({ failures: 0 });
    expect((await stateOf(berth, host))?.cause).toBeUndefined();
  });

  test("knows a name that is not there, and a machine that does not answer", async () => {
    const host = "hidden.example.org";
    pebble.hide(host);
    // Pebble calls it a failed connection; others have a word of its own for it.
    between.rewrite("/authZ/", (text) => text.replaceAll(`${acme}:connection`, `${acme}:dns`));
    expect((await failed("hidden", host)).cause).toMatchObject({ code: "proof_name_unknown", params: { host } });
    between.allow();
    pebble.leadElsewhere("away.example.org", "127.0.0.77");
    const away = await failed("away", "away.example.org");
    expect(away.cause).toMatchObject({ code: "proof_unreachable" });
    expect(JSON.stringify(away.cause)).toContain("refused");
  });

  test("knows another machine's answer", async () => {
    // Somebody else's web server at the address that the name leads to.
    const stranger = createServer((_req, res) => res.end("Welcome to nginx!"));
    stranger.listen(berth.router.port, "127.0.0.78");
    await until(async () => (stranger.listening ? true : undefined), "the other server");
    try {
      pebble.leadElsewhere("stolen.example.org", "127.0.0.78");
      const state = await failed("stolen", "stolen.example.org");
      expect(state.cause).toMatchObject({ code: "proof_wrong" });
      expect(JSON.stringify(state.cause?.evidence)).toContain("nginx");
    } finally {
      stranger.close();
    }
    pebble.leadElsewhere("stolen.example.org", "127.0.0.1");
    await berth.client.renewCertificate({ params: { host: "stolen.example.org" } });
    await issued(berth, "stolen.example.org");
  });

  test("knows an authority that does not answer, one that asks for another proof, and one that gives something else", async () => {
    between.cut("/order-plz");
    const host = "unreached.example.org";
    expect((await failed("unreached", host)).cause).toMatchObject({ code: "authority_unreachable", params: { host } });
    between.allow();
    between.rewrite("/authZ/", (text) => text.replaceAll('"http-01"', '"sms-01"'));
    await berth.client.renewCertificate({ params: { host } });
    expect((await failedAgain(host, 1)).cause).toMatchObject({ code: "proof_not_offered", params: { proof: "http-01" } });
    between.allow();
    between.rewrite("/certZ/", () => testCertificate({ hosts: [host] }).certificate);
    await berth.client.renewCertificate({ params: { host } });
    expect((await failedAgain(host, 2)).cause).toMatchObject({
      code: "certificate_unusable",
      params: { reason: expect.stringContaining("key") as string },
    });
    between.allow();
    await berth.client.renewCertificate({ params: { host } });
    await issued(berth, host);
  });

  test("leaves alone what an operator's own certificate covers, and names that no authority could know", async () => {
    const authority = testCertificate({ subject: "Test authority", isAuthority: true });
    const own = testCertificate({ hosts: ["*.own.example.org"], issuer: authority });
    await berth.client.setCertificate({
      params: { certificate: "own" },
      body: { chain: own.certificate + authority.certificate, key: own.key },
    });
    await berth.deployed("mixed", project(webApp("one"), "a.own.example.org", "b.example.org", "inner.localhost"));
    await issued(berth, "b.example.org");
    expect(await stateOf(berth, "a.own.example.org")).toBeUndefined();
    expect(await stateOf(berth, "inner.localhost")).toBeUndefined();
    // Those of before may be tried again meanwhile.
    expect(["a.own.example.org", "b.example.org", "inner.localhost"].map((host) => between.count("/order-plz", `"${host}"`))).toEqual([
      0, 1, 0,
    ]);
    // The operator takes another one over: what Berth got for it goes.
    const other = testCertificate({ hosts: ["b.example.org"], issuer: authority });
    await berth.client.setCertificate({
      params: { certificate: "other" },
      body: { chain: other.certificate + authority.certificate, key: other.key },
    });
    await until(async () => ((await stateOf(berth, "b.example.org")) === undefined ? true : undefined), "the automatic one to go");
    const { items } = await berth.client.listCertificates({ query: { search: "b.example.org" } });
    expect(items.map(({ name }) => name)).toEqual(["other"]);
  });
});
