// Credentials of registries over a real database: sealed, never told, audited, and what becomes of them when their key is gone.
import { join } from "node:path";
import { sql } from "kysely";
import { beforeEach, expect, test } from "vitest";
import { Value } from "typebox/value";
import { RegistryHost } from "@berth/contract/resources/registries.ts";
import { openSecretBox } from "../src/db/secretbox.ts";
import { openRegistries, registryIdentity } from "../src/resources/registries/store.ts";
import { useServices } from "./services.ts";

const services = useServices();
const password = "correct-horse-battery";
const registry = "registry.example:5000";
const set = (body: { username?: string; password?: string; plainHttp?: boolean } = {}, host = registry) =>
  services().handlers.setRegistry({ params: { registry: host }, body: { username: "berth", password, ...body } }, services().call());
const opened = () => openRegistries(services().database.db, services().deps.secretBox, registry);

beforeEach(async () => {
  await services().database.db.deleteFrom("registries").execute();
});

test("a password is kept sealed, found by whoever pulls, and told to nobody", async () => {
  const { db } = services().database;
  const answers = [await set(), await services().handlers.listRegistries({ query: {} }, services().call())];
  expect(answers[1]).toMatchObject({ items: [{ host: registry, username: "berth", plainHttp: false, updatedBy: "admin" }] });
  expect(await opened()).toEqual([{ host: registry, username: "berth", password, plainHttp: false, readable: true }]);
  for (const table of ["registries", "audit", "events"]) {
    const { rows } = await sql<{ text: string }>`select coalesce(string_agg(t::text, ' '), '') as text from ${sql.table(table)} t`.execute(
      db,
    );
    answers.push(rows[0]?.text as never);
  }
  expect(JSON.stringify(answers)).not.toContain(password);
  const { rows } = await sql<{ object: string; params: unknown }>`select object, params from audit where action = 'registries.set'`.execute(
    db,
  );
  expect(rows).toEqual([{ object: "installation", params: { registry, username: "berth" } }]);
});

test("they are changed in place and forgotten, and one that is not there is not found", async () => {
  await set();
  await set({ username: "ada", password: "next", plainHttp: true });
  expect(await opened()).toMatchObject([{ username: "ada", password: "next", plainHttp: true }]);
  const remove = () => services().handlers.deleteRegistry({ params: { registry } }, services().call());
  await remove();
  expect(await opened()).toEqual([]);
  await expect(remove()).rejects.toMatchObject({ code: "not_found" });
});

test("only one on the loopback is asked without TLS unless somebody says so", async () => {
  expect(await set({}, "127.0.0.1:5000")).toMatchObject({ plainHttp: true });
  expect(await set({ plainHttp: false }, "127.0.0.1:5000")).toMatchObject({ plainHttp: false });
  expect(await set({}, "default")).toMatchObject({ plainHttp: false });
});

test("a password whose key is gone, or that was moved to another host, is known not to be readable", async () => {
  const { db } = services().database;
  await set();
  await set({}, "other.example");
  await sql`update registries set ciphertext = (select ciphertext from registries where host = 'other.example') where host = ${registry}`.execute(
    db,
  );
  expect(await opened()).toMatchObject([{ password: "", readable: false }]);
  const gone = openSecretBox(join(services().home, "gone.key"));
  await sql`update registries set ciphertext = ${gone.seal(password, registryIdentity(registry))} where host = ${registry}`.execute(db);
  expect(await opened()).toMatchObject([{ password: "", readable: false }]);
});

test.each([
  ["registry.example", true],
  ["registry.example:5000", true],
  ["127.0.0.1:5000", true],
  ["localhost", true],
  ["default", true],
  ["https://registry.example", false],
  ["registry.example/berth", false],
  ["Registry.example", false],
  ["registry.example:0", false],
  ["user@registry.example", false],
  ["-x.example", false],
])("%s is a registry's host: %s", (host, is) => {
  expect(Value.Check(RegistryHost, host)).toBe(is);
});
