// Backup and restore over a real database: everything comes back, nothing half, and what cannot be used is refused in words before anything changes.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import tar from "tar-stream";
import { createTestDatabase, useTestDatabase, type TestDatabase } from "../../../test/database.ts";
import { migrationsFolder, withClient } from "../../../test/server.ts";
import { openBlobFolder } from "../../blobs/folder.ts";
import { openSecretBox } from "../../db/secretbox.ts";
import { readMigrations, type Migration } from "../../db/migrate.ts";
import { pathsOf, type Paths } from "../../paths.ts";
import { keysIn } from "../keys-command.ts";
import { acceptDatabase } from "./inplace.ts";
import { readBackup } from "./read.ts";
import { planRestore, restore, type RestoreOrder } from "./restore.ts";
import { writeBackup, type BackupOrder } from "./write.ts";

const source = useTestDatabase();
const signal = new AbortController().signal;
const now = new Date("2026-05-01T12:00:00Z");
let known: Migration[];
let root: string;
let target: TestDatabase;

beforeAll(async () => {
  known = await readMigrations(migrationsFolder);
  await withClient(source().address, async (client) => {
    await client.query(
      "insert into installation default values on conflict do nothing; insert into clusters (name, engine) values ('local', 'local'); insert into stacks (team_id, cluster_id, name) select t.id, c.id, 'shop' from teams t, clusters c",
    );
  });
});
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "berth-backup-"));
  target = await createTestDatabase({ empty: true });
});
afterEach(async () => {
  await target.drop();
  rmSync(root, { recursive: true, force: true });
});

function homeOf(name: string): Paths {
  const home = join(root, name);
  mkdirSync(home, { recursive: true });
  return pathsOf(home, join(home, "run"));
}
const installation = async (address = source().address): Promise<{ id: string; epoch: number }> =>
  withClient(
    address,
    async (client) =>
      (await client.query<{ id: string; epoch: number }>("select id, epoch::int from installation")).rows[0] ?? { id: "", epoch: 0 },
  );

/** A home with a bundle and a secret that rows name. */
async function sourceHome(): Promise<{ paths: Paths; digest: string; order: (file: string, more?: Partial<BackupOrder>) => BackupOrder }> {
  const paths = homeOf("source");
  const blobs = await openBlobFolder(paths.blobs);
  const { digest } = await blobs.put(Readable.from([Buffer.alloc(300_000, "bundle")]));
  const sealed = openSecretBox(paths.secretsKey).seal("hunter2-hunter2", "secret:x/y/1");
  await withClient(source().address, async (client) => {
    await client.query("delete from secrets; delete from artifacts");
    await client.query("insert into artifacts (digest, kind, size) values ($1, 'bundle', 300000)", [digest]);
    await client.query(
      "insert into secrets (stack_id, name, version, ciphertext, created_by) select id, 'password', 1, $1, 'me' from stacks",
      [sealed],
    );
  });
  writeFileSync(join(paths.home, "config.json"), JSON.stringify({ port: 7421, databaseUrl: "postgresql://berth:top-secret@db/berth" }));
  return {
    paths,
    digest,
    order: (file, more = {}) => ({
      address: source().address,
      blobs,
      paths,
      program: "0.1.0",
      file: join(root, file),
      now,
      withBlobs: true,
      ...more,
    }),
  };
}

async function restoreOrder(file: string, paths: Paths, more: Partial<RestoreOrder> = {}): Promise<RestoreOrder> {
  return {
    file: join(root, file),
    address: target.address,
    blobs: await openBlobFolder(paths.blobs),
    paths,
    known,
    program: "0.1.0",
    now,
    withoutSecrets: false,
    withoutSafetyCopy: false,
    edgeEpoch: 0,
    ...more,
  };
}

/** Everything in the file, by name. */
async function entriesOf(file: string): Promise<Map<string, Buffer>> {
  const entries = new Map<string, Buffer>();
  const extract = tar.extract();
  Readable.from([readFileSync(file)]).pipe(extract);
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    entries.set(entry.header.name, Buffer.concat(chunks));
  }
  return entries;
}
async function writeEntries(file: string, entries: ReadonlyMap<string, Buffer>): Promise<void> {
  const pack = tar.pack();
  for (const [name, content] of entries) pack.entry({ name }, content);
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  writeFileSync(file, Buffer.concat(chunks));
}

describe("a backup", () => {
  test("restores rows and bundles into an empty home, with an epoch above every one that was seen", async () => {
    const { digest, order } = await sourceHome();
    const done = await writeBackup(order("b.tar"), signal);
    expect(done.manifest.blobs).toMatchObject({ included: true, count: 1, bytes: 300_000, missing: [], damaged: [] });
    expect(statSync(done.file).mode & 0o777).toBe(0o600);
    expect(readdirSync(root).filter((name) => name.includes("part") || name.includes("rows"))).toEqual([]);
    const paths = homeOf("target");
    const into = await restoreOrder("b.tar", paths, { withoutSecrets: true, edgeEpoch: 7 });
    const plan = await planRestore(into, signal);
    expect(plan).toMatchObject({ present: undefined, epoch: 8 });
    await restore(into, plan, signal);
    const { id } = await installation();
    expect(await installation(target.address)).toEqual({ id, epoch: 8 });
    expect(JSON.parse(readFileSync(paths.installationFile, "utf8"))).toEqual({ id, epoch: 8 });
    expect(await into.blobs.has(digest)).toBe(300_000);
    // Said by --without-secrets: the next start does not ask again.
    const { manifest } = done;
    const box = openSecretBox(paths.secretsKey);
    expect(manifest.secretKeys.map((key) => [box.knows(key), box.gaveUp(key)])).toEqual([[false, true]]);
    const stacks = await withClient(target.address, async (client) => (await client.query("select name from stacks")).rows as unknown);
    expect(stacks).toEqual([{ name: "shop" }]);
  });

  test("holds no key, password or secret as it is; with a passphrase the keys come along and open only by it", async () => {
    const { paths, order } = await sourceHome();
    await writeBackup(order("plain.tar"), signal);
    const keyText = readFileSync(paths.secretsKey, "utf8");
    const key = Object.values((JSON.parse(keyText) as { keys: Record<string, string> }).keys)[0] ?? "";
    await writeBackup(order("sealed.tar", { passphrase: "correct horse" }), signal);
    for (const file of ["plain.tar", "sealed.tar"]) {
      const all = [...(await entriesOf(join(root, file))).values()].map((content) => content.toString("latin1")).join("\n");
      for (const secret of [key, "hunter2-hunter2", "top-secret"]) expect(all).not.toContain(secret);
    }
    // The keys alone can be taken out of it (`berth server key --add`).
    const passphrase = join(root, "passphrase");
    writeFileSync(passphrase, "correct horse\n");
    expect(await keysIn(join(root, "sealed.tar"), passphrase)).toBe(keyText);
    expect(await keysIn(paths.secretsKey, undefined)).toBe(keyText);
    await expect(keysIn(join(root, "plain.tar"), passphrase)).rejects.toMatchObject({ name: "StartRefused" });
    const paths2 = homeOf("target");
    const plain = await restoreOrder("plain.tar", paths2);
    await expect(restore(plain, await planRestore(plain, signal), signal)).rejects.toMatchObject({
      name: "BackupRefused",
      message: expect.stringMatching(/Nothing here opens the secrets/) as string,
    });
    await expect(planRestore({ ...plain, passphrase: "correct horse" }, signal)).rejects.toMatchObject({
      message: expect.stringMatching(/holds no keys/) as string,
    });
    const sealed = await restoreOrder("sealed.tar", paths2);
    await expect(planRestore({ ...sealed, passphrase: "wrong horse" }, signal)).rejects.toMatchObject({
      message: expect.stringMatching(/passphrase does not open/) as string,
    });
    expect(existsSync(paths2.secretsKey)).toBe(false);
    const order2 = { ...sealed, passphrase: "correct horse" };
    await restore(order2, await planRestore(order2, signal), signal);
    const row = await withClient(
      target.address,
      async (client) => (await client.query<{ ciphertext: string }>("select ciphertext from secrets")).rows[0],
    );
    expect(openSecretBox(paths2.secretsKey).open(row?.ciphertext ?? "", "secret:x/y/1")).toBe("hunter2-hunter2");
    expect(JSON.parse(readFileSync(join(paths2.home, "config.json"), "utf8"))).toMatchObject({
      databaseUrl: expect.stringContaining("top-secret") as string,
    });
  });

  test("keeps what it replaces, so that there is a way back", async () => {
    const { order, paths } = await sourceHome();
    await writeBackup(order("b.tar"), signal);
    const into = await restoreOrder("b.tar", paths);
    await restore(into, await planRestore(into, signal), signal);
    await withClient(target.address, (client) => client.query("update stacks set name = 'changed since'"));
    const { safetyCopy } = await restore(into, await planRestore(into, signal), signal);
    const name = async (): Promise<unknown> =>
      withClient(target.address, async (client) => (await client.query("select name from stacks")).rows as unknown);
    expect(await name()).toEqual([{ name: "shop" }]);
    const back = { ...into, file: safetyCopy ?? "", now: new Date(now.getTime() + 1000) };
    const plan = await planRestore(back, signal);
    await restore(back, plan, signal);
    expect(await name()).toEqual([{ name: "changed since" }]);
    expect(await installation(target.address)).toMatchObject({ epoch: 4 });
  });

  test("ends what was open, so that nothing of yesterday starts today", async () => {
    const { order, paths } = await sourceHome();
    await withClient(source().address, async (client) => {
      await client.query(
        "insert into components (stack_id, name, kind, spec, replicas, memory) select id, 'web', 'web', '{}', 1, '{\"draining\": {\"x\": {}}}' from stacks",
      );
      await client.query(
        "insert into rollouts (component_id, cluster_id, number, phase, reason, spec, config, secret_refs, created_by) select c.id, k.id, 1, 'rolling', 'r', '{}', '{}', '{}', 'me' from components c, clusters k",
      );
      await client.query(
        "insert into builds (stack_id, cluster_id, number, source_digest, context, build_key, created_by) select s.id, k.id, 1, 'sha256:' || repeat('0', 64), '.', 'k', 'me' from stacks s, clusters k",
      );
      for (const [number, phase] of [
        [1, "queued"],
        [2, "running"],
      ] as const)
        await client.query(
          "insert into tasks (stack_id, component_id, cluster_id, number, phase, command, trigger, deadline, created_by) select s.id, c.id, k.id, $1, $2, '{}', 'user', 1, 'me' from stacks s, components c, clusters k",
          [number, phase],
        );
      await client.query("insert into tombstones (kind, cluster, ref, generation) values ('component', 'local', '{}', 1)");
      await client.query(
        "insert into due (kind, key, cluster, lease_holder, lease_until) values ('component', 'x', 'local', 'dead', now() + interval '1 day')",
      );
    });
    try {
      const done = await writeBackup(order("open.tar"), signal);
      expect(done.manifest.blobs.missing).toEqual([`sha256:${"0".repeat(64)}`]);
      const into = await restoreOrder("open.tar", paths);
      await restore(into, await planRestore(into, signal), signal);
      await withClient(target.address, async (client) => {
        const one = async (sql: string): Promise<unknown> => (await client.query(sql)).rows;
        expect(
          await one(
            "select phase, ended_at is not null as ended, cause ->> 'code' as code from rollouts union all select phase, ended_at is not null, cause ->> 'code' from builds",
          ),
        ).toEqual([
          { phase: "superseded", ended: true, code: "restored" },
          { phase: "cancelled", ended: true, code: "restored" },
        ]);
        expect(await one("select number, phase from tasks order by 1")).toEqual([
          { number: 1, phase: "cancelled" },
          { number: 2, phase: "running" },
        ]);
        expect(await one("select id from tombstones")).toEqual([]);
        expect(await one("select memory, held from components")).toEqual([{ memory: {}, held: false }]);
        expect(await one("select lease_holder, due_at <= now() as due from due where key = 'x'")).toEqual([
          { lease_holder: null, due: true },
        ]);
        expect(await one("select unadopted from clusters")).toEqual([{ unadopted: true }]);
      });
    } finally {
      await withClient(source().address, (client) =>
        client.query(
          "delete from due; delete from tombstones; delete from tasks; delete from builds; delete from rollouts; delete from components",
        ),
      );
    }
  });

  test("can be stopped, and leaves nothing behind then, nor when the disk is full or the file exists", async () => {
    const { order } = await sourceHome();
    const stopped = new AbortController();
    const stopping = {
      ...order("stopped.tar"),
      blobs: {
        ...order("x").blobs,
        has: async (digest: string) => {
          stopped.abort(new Error("stopped"));
          return order("x").blobs.has(digest);
        },
      },
    };
    await expect(writeBackup(stopping, stopped.signal)).rejects.toThrow("stopped");
    writeFileSync(join(root, "there.tar"), "mine");
    await expect(writeBackup(order("there.tar"), signal)).rejects.toMatchObject({
      message: expect.stringMatching(/exists already/) as string,
    });
    await expect(writeBackup(order("nowhere/b.tar"), signal)).rejects.toMatchObject({ name: "BackupRefused" });
    expect(readFileSync(join(root, "there.tar"), "utf8")).toBe("mine");
    expect(readdirSync(root).sort()).toEqual(["source", "there.tar"]);
    const bad = await writeBackup({ ...order("bad.tar") }, signal);
    expect(bad.manifest.blobs.damaged).toEqual([]);
  });

  test("tells of a bundle that is damaged or gone, and saves all else", async () => {
    const { digest, order, paths } = await sourceHome();
    writeFileSync(join(paths.blobs, "sha256", digest.slice(7, 9), digest.slice(7)), "damaged");
    expect((await writeBackup(order("damaged.tar"), signal)).manifest.blobs).toMatchObject({ count: 0, damaged: [digest] });
    await order("x").blobs.remove(digest);
    expect((await writeBackup(order("gone.tar"), signal)).manifest.blobs).toMatchObject({ count: 0, missing: [digest] });
  });
});

describe("a file that is", () => {
  const cases: [string, (bytes: Buffer, entries: Map<string, Buffer>) => Buffer | Map<string, Buffer>, RegExp][] = [
    ["cut short in the middle", (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2)), /damaged/],
    [
      "cut short by its last part",
      (_bytes, entries) => {
        entries.delete("end.json");
        return entries;
      },
      /damaged: it ends too early/,
    ],
    [
      "changed in one byte of a bundle",
      (bytes) => {
        const copy = Buffer.from(bytes);
        copy[copy.indexOf("bundlebundle") + 1000] = 0x21;
        return copy;
      },
      /damaged: blobs\/.* was changed/,
    ],
    [
      "missing a table",
      (_bytes, entries) => {
        entries.delete("tables/stacks.jsonl.gz");
        return entries;
      },
      /damaged: tables\/stacks.jsonl.gz is missing/,
    ],
    [
      "changed in its list",
      (_bytes, entries) =>
        entries.set(
          "manifest.json",
          Buffer.from((entries.get("manifest.json")?.toString() ?? "").replace('"shop"', '"pohs"').replace('"rows":1', '"rows":2')),
        ),
      /damaged: its list of parts was changed/,
    ],
    ["given another part", (_bytes, entries) => entries.set("tables/users2.jsonl.gz", Buffer.alloc(0)), /damaged|does not belong/],
    [
      "of a newer format",
      (_bytes, entries) =>
        entries.set(
          "about.json",
          Buffer.from((entries.get("about.json")?.toString() ?? "").replace('"format":1', '"format":2').replace("0.1.0", "9.9.9")),
        ),
      /written by a newer Berth \(9\.9\.9\)/,
    ],
    ["something else", () => Buffer.from("PK\u0003\u0004 this is a zip, is it not?".repeat(100)), /is not a backup of Berth/],
    ["empty", () => Buffer.alloc(0), /is not a backup of Berth/],
  ];
  test.each(cases)("%s is refused, and nothing was changed", async (_name, change, words) => {
    const { order, paths } = await sourceHome();
    const { file } = await writeBackup(order("b.tar"), signal);
    const made = change(readFileSync(file), await entriesOf(file));
    if (Buffer.isBuffer(made)) writeFileSync(join(root, "bad.tar"), made);
    else await writeEntries(join(root, "bad.tar"), made);
    const into = await restoreOrder("bad.tar", paths);
    await expect(planRestore(into, signal)).rejects.toMatchObject({
      name: "BackupRefused",
      message: expect.stringMatching(words) as string,
    });
    expect(
      await withClient(
        target.address,
        async (client) => (await client.query("select count(*)::int as tables from pg_tables where schemaname = 'public'")).rows as unknown,
      ),
    ).toEqual([{ tables: 0 }]);
  });

  test("of a newer schema, or of another installation with stacks here, is refused", async () => {
    const { order, paths } = await sourceHome();
    await writeBackup(order("b.tar"), signal);
    const older = { ...(await restoreOrder("b.tar", paths)), known: known.slice(0, 1) };
    await expect(planRestore(older, signal)).rejects.toMatchObject({ reason: "schema_needs_newer" });
    const into = await restoreOrder("b.tar", paths);
    await restore(into, await planRestore(into, signal), signal);
    await withClient(target.address, (client) => client.query("update installation set id = gen_random_uuid()"));
    await expect(planRestore(into, signal)).rejects.toMatchObject({
      message: expect.stringMatching(/Restore|stack\(s\) of installation/) as string,
    });
  });

  test("replaced between its check and its restore changes nothing", async () => {
    const { order, paths } = await sourceHome();
    await writeBackup(order("b.tar"), signal);
    const into = await restoreOrder("b.tar", paths);
    const plan = await planRestore(into, signal);
    const bytes = readFileSync(into.file);
    bytes[bytes.indexOf("bundlebundle") + 5] = 0x21;
    writeFileSync(into.file, bytes);
    await expect(restore(into, plan, signal)).rejects.toThrow();
    expect(
      await withClient(
        target.address,
        async (client) => (await client.query("select count(*)::int as tables from pg_tables where schemaname = 'public'")).rows as unknown,
      ),
    ).toEqual([{ tables: 0 }]);
  });
});

test("a database that was put back by other means gets an epoch above what this home remembers", async () => {
  const { paths, order } = await sourceHome();
  await writeBackup(order("b.tar"), signal);
  const into = await restoreOrder("b.tar", paths);
  await restore(into, await planRestore(into, signal), signal);
  const { id, epoch } = await installation(target.address);
  writeFileSync(paths.installationFile, JSON.stringify({ id, epoch: epoch + 5 }));
  const accepting = { address: target.address, paths, folder: migrationsFolder, program: "999.0.0", edgeEpoch: epoch + 6 };
  expect(await acceptDatabase({ ...accepting, commit: false })).toEqual({ id, from: epoch, to: epoch + 7 });
  expect(await installation(target.address)).toEqual({ id, epoch });
  await acceptDatabase({ ...accepting, commit: true });
  expect(await installation(target.address)).toEqual({ id, epoch: epoch + 7 });
  expect(JSON.parse(readFileSync(paths.installationFile, "utf8"))).toEqual({ id, epoch: epoch + 7 });
});

test("a reader's parts have the hashes that the list names", async () => {
  const { order, digest } = await sourceHome();
  const { file } = await writeBackup(order("b.tar"), signal);
  const { manifest, about } = await readBackup(file, {}, signal);
  expect(about).toMatchObject({ format: 1, program: "0.1.0", createdAt: now.toISOString() });
  for (const [name, content] of await entriesOf(file))
    if (name !== "manifest.json" && name !== "end.json")
      expect(manifest.files[name]).toEqual({ size: content.length, sha256: createHash("sha256").update(content).digest("hex") });
  expect(Object.keys(manifest.files)).toContain(`blobs/${digest.slice(7)}`);
});
