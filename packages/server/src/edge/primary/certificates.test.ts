// What the edge says of its HTTPS door while that is being opened, changed and closed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { GivenCertificate } from "../../engines/traffic.ts";
import { testCertificate } from "../testing/certificates.ts";
import { HeldCertificates } from "./certificates.ts";

const dir = mkdtempSync(join(tmpdir(), "berth-held-"));
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const installation = "one";
const given = (name: string, hosts: readonly string[]): GivenCertificate => {
  const { certificate, key } = testCertificate({ hosts });
  return { name, chain: certificate, key, isDefault: false };
};

test("a host is shown from the moment that every router serves it until the moment before none does", async () => {
  let told = Promise.withResolvers<void>();
  let routers = Promise.withResolvers<void>();
  const file = join(dir, "certificates.json");
  const deps = {
    file,
    installation,
    address: async () => ({ host: "127.0.0.1", port: 8443 }),
    secure: async () => {
      told.resolve();
      await routers.promise;
    },
    epoch: () => 0,
  };
  const held = await HeldCertificates.open(deps);
  let generation = 0;
  /** What is shown while the routers are on their way, and then. */
  const shownWith = async (...certificates: GivenCertificate[]): Promise<unknown[]> => {
    told = Promise.withResolvers();
    routers = Promise.withResolvers();
    generation += 1;
    const done = held.put({ installation, epoch: 0, generation }, certificates);
    await told.promise;
    const meanwhile = held.state(undefined).https?.hosts;
    routers.resolve();
    await done;
    return [meanwhile, held.state(undefined).https?.hosts];
  };
  const [a, b, c] = [given("a", ["a.test"]), given("b", ["b.test"]), given("c", ["c.test"])];
  expect(await shownWith(a, b)).toEqual([undefined, ["a.test", "b.test"]]);
  expect(await shownWith(b, c)).toEqual([["b.test"], ["b.test", "c.test"]]);
  expect((await HeldCertificates.open(deps)).state(undefined)).toEqual({
    https: { host: "127.0.0.1", port: 8443, hosts: ["b.test", "c.test"] },
  });
  expect(held.state("a router cannot listen").https).toMatchObject({ problem: "a router cannot listen" });
  expect(await shownWith()).toEqual([undefined, undefined]);
});

test("without an address for it, what is said is why", async () => {
  let reason: string | undefined = "the port is taken";
  const held = await HeldCertificates.open({
    file: join(dir, "without.json"),
    installation,
    address: async () => {
      if (reason !== undefined) throw new Error(reason);
      return { host: "127.0.0.1", port: 8443 };
    },
    secure: async () => undefined,
    epoch: () => 0,
  });
  await held.put({ installation, epoch: 0, generation: 1 }, [given("a", ["a.test"])]);
  expect(held.state(undefined)).toMatchObject({ https: { problem: "the port is taken" } });
  reason = undefined;
  await held.retry();
  expect(held.state(undefined)).toEqual({ https: { host: "127.0.0.1", port: 8443, hosts: ["a.test"] } });
});
