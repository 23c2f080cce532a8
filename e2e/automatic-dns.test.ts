// Certificates by dns-01: the operator's program sets the record, is not waited for without end, and takes the record away again; names with a star can be had.
import { existsSync } from "node:fs";
import { chmod, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../packages/server/src/edge/testing/harness.ts";
import { hookScript, recordsIn } from "../packages/server/src/reconcile/testing/pebble-records.ts";
import { Pebble, pebbleMissing } from "../packages/server/src/reconcile/testing/pebble.ts";
import { askingOf, issued, project, secureGet, stateOf } from "./automatic.ts";
import { TestBerth, until, webApp } from "./harness.ts";

describe.skipIf(pebbleMissing() !== undefined)("automatic certificates by dns-01", () => {
  let berth: TestBerth;
  let pebble: Pebble;
  /** Seconds: so short that a test sees its last third, in which a new one has to be had, also by a machine that does much else. */
  const life = 90;
  beforeAll(async () => {
    // Nobody listens where http-01 would be asked; and an account has to be bound to one that the authority knows.
    pebble = await Pebble.start({
      httpPort: await freePort(),
      life,
      bindings: { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
    });
    const hook = join(pebble.folder, "hook.cjs");
    await writeFile(hook, hookScript(pebble.records));
    await chmod(hook, 0o755);
    berth = await TestBerth.start({
      ...askingOf(pebble.directory, pebble),
      BERTH_ACME_EAB_KID: "kid-1",
      BERTH_ACME_EAB_KEY: "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
      BERTH_ACME_CHALLENGE: "dns-01",
      BERTH_ACME_DNS_HOOK: hook,
      BERTH_ACME_DNS_HOOK_SECONDS: "15",
    });
  }, 300_000);
  afterAll(async () => {
    await berth?.stop();
    await pebble?.[Symbol.asyncDispose]();
  }, 120_000);

  const failedTimes = (host: string, failures: number) =>
    until(
      async () => {
        const state = await stateOf(berth, host);
        return state !== undefined && state.failures >= failures ? state : undefined;
      },
      `${host} to fail`,
      120_000,
      () => berth.log(),
    );

  test("a program that fails or hangs is told with what it printed, and what it set is taken away in the end", async () => {
    const host = "*.zone.example.org";
    await writeFile(`${pebble.records}.fails`, "");
    await berth.up("shop", project(webApp("one"), host));
    const failed = await failedTimes(host, 1);
    expect(failed.cause).toMatchObject({
      code: "proof_hook_failed",
      params: { reason: "ended with exit code 3" },
      evidence: [{ kind: "log", text: expect.stringContaining("the zone is read-only") as string }],
    });
    await rm(`${pebble.records}.fails`);
    await writeFile(`${pebble.records}.hangs`, "");
    await berth.client.renewCertificate({ params: { host } });
    expect((await failedTimes(host, 2)).cause).toMatchObject({ code: "proof_hook_failed", params: { reason: "did not end within 15 s" } });
    await rm(`${pebble.records}.hangs`);
    await berth.client.renewCertificate({ params: { host } });
    await issued(berth, host);
    expect(await secureGet(berth, "any.zone.example.org", await pebble.root())).toMatchObject({ status: 200 });
    await until(
      async () => ((await recordsIn(pebble.records))["_acme-challenge.zone.example.org"]?.length === 0 ? true : undefined),
      "the record to be taken away",
    );
    expect(existsSync(`${pebble.records}.calls`) ? await readFile(`${pebble.records}.calls`, "utf8") : "").toMatch(
      /^add _acme-challenge\.zone\.example\.org\nremove _acme-challenge\.zone\.example\.org\n/,
    );
    expect(berth.log()).not.toContain("zWNDZM6eQGHWpSRTPal5");
  });

  test("it is renewed by itself at two thirds of its life, long before it ends", async () => {
    const host = "renewed.example.org";
    await berth.deployed("renewed", project(webApp("one"), host));
    const first = await issued(berth, host);
    // A record that is not taken away is told, and stands in nobody's way.
    await writeFile(`${pebble.records}.keeps`, "");
    const root = await pebble.root();
    const { fingerprint } = await secureGet(berth, host, root);
    const end = Date.parse(first.notAfter ?? "");
    await until(
      async () => ((await secureGet(berth, host, root)).fingerprint === fingerprint ? undefined : true),
      "another certificate",
      end - Date.now(),
      () => berth.log(),
      250,
    );
    expect(Date.now()).toBeLessThan(end);
    expect(Date.now()).toBeGreaterThan(end - life * 1_000 * 0.4);
    expect((await stateOf(berth, host))?.cause).toBeUndefined();
    const left = await until(
      async () => (await berth.client.listEvents({ query: { code: "certificate_proof_left", stack: "renewed" } })).items[0],
      "word of the record that was left",
    );
    expect(left).toMatchObject({ params: { host }, cause: { code: "proof_hook_failed" } });
  });
});
