// The key file against what the database holds sealed: a start goes on where nothing is lost by it, and is refused in words where something would be.
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { silentLog } from "../db/log.ts";
import { giveUpSecretKeys, mergeSecretKeys, openSecretBox, rotateSecretKey, type SecretBox } from "../db/secretbox.ts";
import { insertSecret } from "../resources/secrets/store.ts";
import { putRegistry } from "../resources/registries/store.ts";
import { insertWebhook, webhookIdentity } from "../resources/webhooks/store.ts";
import * as credentials from "../resources/sources/credentials.ts";
import { sealedSecrets } from "./doctor-kept.ts";
import { lookAtKeys, openKeys } from "./keys.ts";
import { addKeys, goOnWithout, type WithSealed } from "./keys-change.ts";

const database = useTestDatabase();
let folder: string;
let keyFile: string;
let stackId: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "berth-keys-"));
  keyFile = join(folder, "secrets.key");
  const { db } = database();
  await sql`truncate stacks, clusters, certificates, registries, webhooks cascade`.execute(db);
  stackId = await stackOn("local");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function stackOn(cluster: string): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    with c as (insert into clusters (name, engine, node_id) values (${cluster}, 'local', gen_random_uuid()) returning id)
    insert into stacks (team_id, cluster_id, name) select t.id, c.id, ${`on-${cluster}`} from teams t, c limit 1 returning id`.execute(
    database().db,
  );
  return rows[0]?.id ?? "";
}
const set = (box: SecretBox, name: string, of = stackId): Promise<number> =>
  insertSecret(database().db, box, { stackId: of, name, value: `value of ${name}`, by: "admin" });
const start = (cluster: string | undefined = "local"): Promise<SecretBox> =>
  openKeys({ db: database().db, keyFile, cluster, log: silentLog });
const doctor = (): ReturnType<typeof sealedSecrets> => sealedSecrets(database().db, keyFile, "local");
async function refusal(work: Promise<unknown>): Promise<{ reason: string; message: string; hint: string }> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: "DatabaseRefused" });
  return error as { reason: string; message: string; hint: string };
}

test("a first start makes the file, a second one opens it, and nothing sealed needs none", async () => {
  const first = await start();
  expect((await start()).currentKey).toBe(first.currentKey);
  rmSync(keyFile);
  expect(await doctor()).toMatchObject({ status: "ok" });
  expect((await start()).currentKey).not.toBe(first.currentKey);
});

test("a file that is gone while secrets and credentials need it refuses the start, and none is made", async () => {
  const box = await start();
  await set(box, "password");
  await set(box, "password");
  await set(box, "token");
  await credentials.set(database().db, box, stackId, "deploy", { kind: "token", username: "x", token: "y" } as never);
  rmSync(keyFile);
  const { reason, message, hint } = await refusal(start());
  expect(reason).toBe("keys_missing");
  expect(message).toContain(keyFile);
  expect(message).toContain("2 secrets and 1 repository credential");
  expect(message).toContain(box.currentKey);
  expect(hint).toMatch(/--add FILE.*--accept-loss/);
  expect(existsSync(keyFile)).toBe(false);
  expect(await doctor()).toMatchObject({
    status: "failed",
    found: message.replace(/\.$/, ""),
    next: expect.stringContaining(hint) as string,
  });
});

test.each([
  ["empty", () => ""],
  ["cut short", (text: string) => text.slice(0, text.length / 2)],
  ["without its current key", (text: string) => text.replace(/"current": "\w+"/, '"current": "kother"')],
  ["with a key of another length", (text: string) => text.replace(/": "[A-Za-z0-9+/]{43}=/, '": "c2hvcnQ=')],
])("a damaged file (%s) is refused, never written over, and never quoted", async (_what, damage) => {
  await start();
  const text = damage(readFileSync(keyFile, "utf8"));
  writeFileSync(keyFile, text);
  for (const cluster of ["local", undefined]) {
    const { reason, message } = await refusal(start(cluster));
    expect(reason).toBe("keys_damaged");
    expect(message).toBe(`${keyFile} is damaged: it holds no keys that can be read.`);
  }
  expect(readFileSync(keyFile, "utf8")).toBe(text);
  expect(await doctor()).toMatchObject({ status: "failed" });
});

test("another home's file, and one with the right name and the wrong bytes, are refused", async () => {
  await set(await start(), "password");
  const kept = readFileSync(keyFile, "utf8");
  rmSync(keyFile);
  openSecretBox(keyFile);
  expect(await refusal(start())).toMatchObject({
    reason: "keys_other",
    message: expect.stringContaining("does not open 1 secret") as string,
  });
  writeFileSync(keyFile, kept.replaceAll(/": "[A-Za-z0-9+/]{43}=/g, `": "${Buffer.alloc(32, 7).toString("base64")}`));
  expect(await refusal(start())).toMatchObject({ reason: "keys_other" });
  expect(await doctor()).toMatchObject({ status: "failed" });
  writeFileSync(keyFile, kept);
  await start();
});

test("one row that was damaged by itself is not the key's fault", async () => {
  const box = await start();
  for (const name of ["a", "b"]) await set(box, name);
  await sql`update secrets set ciphertext = overlay(ciphertext placing 'AAAA' from 40) where name = 'a'`.execute(database().db);
  await start();
});

test("going on without the keys is said once, shown until each value is set again, and undone by adding the file that was found", async () => {
  const old = await start();
  await set(old, "password");
  await set(old, "token");
  const found = join(folder, "found.key");
  copyFileSync(keyFile, found);
  rmSync(keyFile);
  giveUpSecretKeys(keyFile, [old.currentKey], new Date());
  const box = await start();
  expect(await doctor()).toMatchObject({ status: "warning", found: expect.stringMatching(/^2 secrets cannot be opened/) as string });
  await set(box, "password");
  expect(await doctor()).toMatchObject({ status: "warning", found: expect.stringMatching(/^1 secret cannot be opened/) as string });
  await set(box, "token");
  expect(await doctor()).toMatchObject({ status: "ok" });
  // Restarts do not ask again, a rotation does not forget it, and what was sealed since stays readable beside the old values.
  rotateSecretKey(keyFile);
  await start();
  mergeSecretKeys(keyFile, readFileSync(found, "utf8"));
  const both = await start();
  expect([both.knows(old.currentKey), both.knows(box.currentKey), both.gaveUp(old.currentKey)]).toEqual([true, true, false]);
  // The old file alone, put over the new one, is refused: it does not open what was set since.
  copyFileSync(found, keyFile);
  expect(await refusal(start())).toMatchObject({ reason: "keys_other" });
});

/** Two keys with something sealed under each; a copy of the file; and the first key's bytes spoilt in the file. */
async function oneSpoilt(): Promise<{ readonly spoilt: string; readonly good: string; readonly copy: string }> {
  const first = await start();
  await set(first, "old");
  const good = rotateSecretKey(keyFile);
  await set(await start(), "new");
  const copy = readFileSync(keyFile, "utf8");
  const file = JSON.parse(copy) as { keys: Record<string, string> };
  const wrong = { ...file, keys: { ...file.keys, [first.currentKey]: Buffer.alloc(32, 7).toString("base64") } };
  writeFileSync(keyFile, JSON.stringify(wrong));
  return { spoilt: first.currentKey, good, copy };
}
const withSealed: WithSealed = (work) => work(database().db, "local");
const add = (text: string): ReturnType<typeof addKeys> => addKeys(keyFile, text, withSealed, new Date());

test("a key with the right name and the wrong bytes is replaced by the copy's, which opens what is sealed, and never the other way", async () => {
  const { spoilt, good, copy } = await oneSpoilt();
  const wrong = readFileSync(keyFile, "utf8");
  expect((await refusal(start())).message).toContain(spoilt);
  const added = await add(copy);
  expect(added).toMatchObject({ taken: [spoilt], left: [] });
  expect(readFileSync(added.aside ?? "", "utf8")).toBe(wrong);
  expect(await start()).toMatchObject({ currentKey: good });
  expect(await add(wrong)).toEqual({ taken: [], left: [spoilt], aside: undefined });
  await start();
  // The same file again changes nothing.
  expect(await add(copy)).toEqual({ taken: [], left: [], aside: undefined });
});

test("going on without one spoilt key loses no good one, and the spoilt file, added again, does not undo it", async () => {
  const { spoilt, good, copy } = await oneSpoilt();
  const state = await lookAtKeys(database().db, keyFile, "local");
  expect(state).toMatchObject({ lostKeys: [spoilt], spoilt: [spoilt], lost: { secret: 1 } });
  const aside = goOnWithout(keyFile, state, new Date()) ?? "";
  const box = await start();
  expect([box.currentKey, box.knows(spoilt), box.gaveUp(spoilt)]).toEqual([good, false, true]);
  expect(await add(readFileSync(aside, "utf8"))).toMatchObject({ taken: [], left: [spoilt] });
  expect((await start()).gaveUp(spoilt)).toBe(true);
  expect(await add(copy)).toMatchObject({ taken: [spoilt], left: [] });
  expect((await start()).gaveUp(spoilt)).toBe(false);
  expect(await doctor()).toMatchObject({ status: "ok" });
});

test("what comes is not sealed with a spoilt key that was the current one", async () => {
  const { good, copy } = await oneSpoilt();
  writeFileSync(keyFile, copy.replace(/(": ")[A-Za-z0-9+/]{43}=(?="\s*\}\s*\}\s*$)/, `$1${Buffer.alloc(32, 7).toString("base64")}`));
  const state = await lookAtKeys(database().db, keyFile, "local");
  expect(state.spoilt).toEqual([good]);
  goOnWithout(keyFile, state, new Date());
  const box = await start();
  expect(box.currentKey).not.toBe(good);
  await set(box, "new");
  await start();
});

test("a key that opens some of what is sealed under it stays, and so does that the rest was given up", async () => {
  const box = await start();
  await set(box, "password");
  await credentials.set(database().db, box, stackId, "deploy", { kind: "token", username: "x", token: "y" } as never);
  await sql`update credentials set ciphertext = overlay(ciphertext placing 'AAAA' from 40)`.execute(database().db);
  const copy = readFileSync(keyFile, "utf8");
  const state = await lookAtKeys(database().db, keyFile, "local");
  expect(state).toMatchObject({ lostKeys: [box.currentKey], spoilt: [], lost: { secret: 0, credential: 1 } });
  expect(goOnWithout(keyFile, state, new Date())).toBeUndefined();
  expect((await start()).currentKey).toBe(box.currentKey);
  await add(copy);
  expect((await start()).currentKey).toBe(box.currentKey);
});

test("what another server's keys seal is not asked of this one", async () => {
  const theirs = openSecretBox(join(folder, "theirs.key"));
  await set(theirs, "password", await stackOn("annex"));
  await sql`insert into certificates (name, chain, ciphertext, subject, issuer, hosts, not_before, not_after, fingerprint, chain_length, self_signed, updated_by)
    values ('site', 'x', ${theirs.seal("key", "certificate:site")}, 's', 'i', '{}', now(), now(), 'f', 1, false, 'admin')`.execute(
    database().db,
  );
  await start();
  expect(await doctor()).toMatchObject({ status: "ok" });
  // Alone, nobody else could have sealed the certificate.
  await sql`delete from stacks where name = 'on-annex'`.execute(database().db);
  await sql`delete from clusters where name = 'annex'`.execute(database().db);
  expect(await refusal(start())).toMatchObject({ reason: "keys_other", message: expect.stringContaining("1 certificate") as string });
  // A server that drives no cluster opens none of it.
  rmSync(keyFile);
  await openKeys({ db: database().db, keyFile, cluster: undefined, log: silentLog });
});

test("the secrets of webhooks are counted, too", async () => {
  const theirs = openSecretBox(join(folder, "theirs.key"));
  const ciphertext = theirs.seal("x", webhookIdentity("ci"));
  await insertWebhook(database().db, { name: "ci", registry: "registry.example", ciphertext, by: "admin" });
  expect(await refusal(start())).toMatchObject({ reason: "keys_missing", message: expect.stringContaining("1 webhook secret") as string });
  await add(readFileSync(join(folder, "theirs.key"), "utf8"));
  await start();
  expect(await doctor()).toMatchObject({ status: "ok" });
});

test("the passwords of registries are nobody's alone, and count like certificates", async () => {
  const theirs = openSecretBox(join(folder, "theirs.key"));
  await putRegistry(database().db, theirs, { host: "registry.example", username: "berth", password: "x", plainHttp: false, by: "admin" });
  const refused = await refusal(start());
  expect(refused).toMatchObject({ reason: "keys_missing", message: expect.stringContaining("1 registry password") as string });
  await add(readFileSync(join(folder, "theirs.key"), "utf8"));
  await start();
  expect(await doctor()).toMatchObject({ status: "ok" });
});
