// `berth doctor` of installations that are really broken, one thing at a time: what is wrong, why it matters, what to do, exit code 1, and well again
// once it was mended. What cannot be broken here without breaking the machine is tested beside the code (server/doctor-*.test.ts).
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Check } from "@berth/contract/resources/installation.ts";
import { EdgeTraffic } from "../packages/server/src/engines/edge-traffic.ts";
import { TestBerth, isAlive, until, webApp } from "./harness.ts";
import { berthCommand, projectFolder } from "./provoke/cli.ts";

let berth: TestBerth;
let taken: Server;
let port = 0;
let digest = "";
const stopped = new Set<number>();
beforeAll(async () => {
  berth = await TestBerth.start();
  taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, "127.0.0.1", resolve);
  });
  ({ port } = taken.address() as AddressInfo);
  expect(await berthCommand(berth, ["up", "-s", "shop", projectFolder(berth, webApp("one"))])).toMatchObject({ code: 0 });
  await berth.client.setSecret({ params: { stack: "shop", secret: "password" }, body: { value: "a secret that is sealed" } });
  const { items } = await berth.client.listReleases({ params: { stack: "shop", component: "web" }, query: {} });
  digest = items[0]?.artifact ?? "";
}, 180_000);
afterAll(async () => {
  for (const pid of stopped) if (isAlive(pid)) process.kill(pid, "SIGCONT");
  taken?.close();
  await berth?.stop();
}, 180_000);

interface Visit {
  readonly code: number;
  readonly text: string;
  check(name: string): Check | undefined;
  readonly failed: readonly string[];
}

const look = async (args: readonly string[], more: Readonly<Record<string, string>>) =>
  berthCommand(berth, ["doctor", ...args], berth.home, { BERTH_HOME: berth.home, BERTH_PORT: "0", BERTH_ROUTER_PORT: "0", ...more });

async function asJson(more: Readonly<Record<string, string>> = {}): Promise<Visit> {
  const { code, out } = await look(["--json"], more);
  const { checks } = JSON.parse(out) as { checks: Check[] };
  const failed = checks.filter(({ status }) => status === "failed").map(({ name }) => name);
  expect(code, out).toBe(failed.length === 0 ? 0 : 1);
  for (const { name, status, next } of checks) if (status !== "ok") expect(next, `what to do about ${name}`).toMatch(/\S/);
  return { code, text: out, check: (name) => checks.find((one) => one.name === name), failed };
}

/** As text and as JSON, which have to say the same. */
async function doctor(more: Readonly<Record<string, string>> = {}): Promise<Visit> {
  const [seen, text] = await Promise.all([asJson(more), look([], more)]);
  expect(text.code).toBe(seen.code);
  for (const name of seen.failed) {
    const check = seen.check(name);
    expect(text.out).toContain(`${name}: ${check?.found ?? ""}\n         ${check?.why ?? ""}\n         Next: ${check?.next ?? ""}\n`);
  }
  return { ...seen, text: text.out };
}

/** Breaks, looks, mends, whatever the look says. */
async function broken(name: string, says: RegExp, next: RegExp, breaking: () => void, mending: () => void): Promise<Visit> {
  breaking();
  let seen: Visit;
  try {
    seen = await doctor();
  } finally {
    mending();
  }
  expect(seen.check(name), seen.text).toMatchObject({
    status: "failed",
    found: expect.stringMatching(says) as string,
    why: expect.stringMatching(/^[A-Z].{20,}\.$/) as string,
    next: expect.stringMatching(next) as string,
  });
  expect(seen.code).toBe(1);
  expect(seen.text).toMatch(/\n\d broken/);
  return seen;
}

const file = (name: string): string => join(berth.home, name);
const blob = (): string => join(berth.home, "blobs", "sha256", digest.slice(7, 9), digest.slice(7));
function away(path: string): readonly [() => void, () => void] {
  return [
    () => {
      renameSync(path, `${path}.away`);
    },
    () => {
      rmSync(path, { force: true });
      renameSync(`${path}.away`, path);
    },
  ];
}
function replaced(path: string, change: (old: Buffer) => Buffer | string): readonly [() => void, () => void] {
  const old = readFileSync(path);
  return [
    () => {
      writeFileSync(path, change(old));
    },
    () => {
      writeFileSync(path, old);
    },
  ];
}

describe.sequential("with the server up", () => {
  test("nothing is broken", async () => {
    const { code, failed, text } = await doctor();
    expect({ code, failed }, text).toEqual({ code: 0, failed: [] });
    expect(text).toMatch(/ok +kept releases: 1 bundle of kept releases, all read whole/);
    expect(text).toMatch(/Nothing is broken|All is well/);
  });

  test("a key file that others may read", async () => {
    const seen = await broken(
      "keys",
      /^others may read \S+secrets\.key$/,
      /^Run: chmod 600 \S+secrets\.key$/,
      () => {
        chmodSync(file("secrets.key"), 0o644);
      },
      () => {
        chmodSync(file("secrets.key"), 0o600);
      },
    );
    expect(seen.failed).toEqual(["keys"]);
  });

  test("a key file that is missing, damaged, or another installation's", async () => {
    const key = file("secrets.key");
    await broken("secrets", /secrets\.key is missing, and only it opens 1 secret of/, /^Put the file back/, ...away(key));
    await broken("secrets", /secrets\.key is damaged/, /^Put the file back/, ...replaced(key, () => "{"));
    const other = { current: "k1", keys: { k1: Buffer.alloc(32, 7).toString("base64") } };
    await broken("secrets", /does not open 1 secret of/, /^Put the file back/, ...replaced(key, () => JSON.stringify(other)));
    // The right name and the wrong bytes.
    await broken(
      "secrets",
      /does not open 1 secret of/,
      /^Put the file back/,
      ...replaced(key, (old) => old.toString().replaceAll(/": "[A-Za-z0-9+/]{43}=/g, `": "${Buffer.alloc(32, 7).toString("base64")}`)),
    );
  });

  test("a bundle of a kept release that is missing, cut short, or has a byte that was not written", async () => {
    await broken("kept releases", /1 bundle of kept releases missing \(sha256:\w{12}\)/, /berth up/, ...away(blob()));
    await broken("kept releases", /damaged on disk/, /berth restore/, ...replaced(blob(), (old) => old.subarray(0, old.length / 2)));
    const flipped = (old: Buffer): Buffer => Buffer.from(old.map((byte, at) => (at === old.length >> 1 ? byte ^ 1 : byte)));
    await broken("kept releases", /damaged on disk/, /Check the disk/, ...replaced(blob(), flipped));
  });

  test("a supervisor that hangs", async () => {
    const traffic = new EdgeTraffic({
      socketPath: join(berth.home, "run", "edge.sock"),
      home: berth.home,
      cluster: "local",
      router: { host: "127.0.0.1", port: 0 },
      now: Date.now,
    });
    const { agent } = await traffic.hello(AbortSignal.timeout(30_000));
    await traffic.close();
    if (agent === null) throw new Error("no supervisor runs");
    await broken("local engine", /not answer/, /berth edge upgrade/, ...halted(agent));
  });

  function halted(pid: number): readonly [() => void, () => void] {
    return [
      () => {
        process.kill(pid, "SIGSTOP");
        stopped.add(pid);
      },
      () => {
        process.kill(pid, "SIGCONT");
        stopped.delete(pid);
      },
    ];
  }

  test("and well again once everything was mended", async () => {
    await until(async () => ((await asJson()).failed.length === 0 ? true : undefined), "the doctor to find nothing", 60_000);
  });
});

describe.sequential("with the server down", () => {
  test("a server that was killed: its lock is left, and what to do is said", async () => {
    const pid = berth.serverPid();
    process.kill(pid, "SIGKILL");
    await until(async () => (isAlive(pid) ? undefined : true), "the server to be gone");
    const { check, text, code } = await doctor();
    expect(code).toBe(1);
    expect(text).toMatch(/failed +server: http:\S+ does not answer/);
    expect(check("server"), text).toMatchObject({
      status: "failed",
      found: expect.stringMatching(/none runs; process \d+, whose lock \S+server\.lock is left, ended without tidying up/) as string,
      next: expect.stringMatching(/^`berth server start` starts it; .*nothing that was accepted is lost/) as string,
    });
    for (const name of ["home folder", "database", "keys", "edge", "disk"]) expect(check(name), name).toMatchObject({ status: "ok" });
  });

  test("a chosen port that is taken, by whom, before and after the start that fails for it", async () => {
    const wanted = { BERTH_PORT: String(port) };
    const ports = (await asJson(wanted)).check("ports");
    expect(ports).toMatchObject({ status: "failed", next: expect.stringContaining("BERTH_PORT") as string });
    expect(ports?.found).toMatch(new RegExp(`^port ${String(port)} of the API is taken by \\S+ \\(pid ${String(process.pid)}\\)$`));
    expect(await startIn(wanted)).toMatch(/is taken/);
    expect((await asJson(wanted)).check("server")).toMatchObject({
      status: "failed",
      found: expect.stringMatching(
        new RegExp(`: none runs, and the last start failed: Port ${String(port)} on 127\\.0\\.0\\.1 is taken\\.$`),
      ) as string,
      next: expect.stringMatching(/BERTH_PORT/) as string,
    });
  });

  const startIn = async (more: Readonly<Record<string, string>>): Promise<string> =>
    (await berthCommand(berth, ["server", "start"], berth.home, { BERTH_HOME: berth.home, BERTH_ROUTER_PORT: "0", ...more })).err;

  test("a database of one's own that does not answer, and one whose address is nonsense", async () => {
    const url = `postgres://berth:hush@127.0.0.1:1/shop`;
    const { check, text } = await asJson({ DATABASE_URL: url });
    expect(check("database"), text).toMatchObject({
      status: "failed",
      found: "The database shop at 127.0.0.1:1 does not answer: nothing listens there",
      next: expect.stringMatching(/DATABASE_URL/) as string,
    });
    expect(text).not.toContain("hush");
  });

  test("a stopped database whose folder a newer PostgreSQL made, or that lost a part", async () => {
    await berth.server("stop");
    const data = join(berth.home, "postgres", "data");
    const seen = async (): Promise<Check | undefined> => (await asJson()).check("database");
    expect(await seen()).toMatchObject({ status: "ok", found: expect.stringMatching(/stopped/) as string });
    for (const [[breaking, mending], says] of [
      [replaced(join(data, "PG_VERSION"), () => "99\n"), /was made by PostgreSQL 99; this Berth brings \d+/],
      [away(join(data, "global", "pg_control")), /is damaged: global\/pg_control is missing/],
    ] as const) {
      breaking();
      try {
        expect(await seen()).toMatchObject({ status: "failed", found: expect.stringMatching(says) as string });
      } finally {
        mending();
      }
    }
  });

  test("a home folder that is not there", async () => {
    const { check } = await asJson({ BERTH_HOME: join(berth.home, "elsewhere") });
    expect(check("home folder")).toMatchObject({ status: "failed", next: expect.stringMatching(/BERTH_HOME/) as string });
    expect(existsSync(join(berth.home, "elsewhere"))).toBe(false);
  });

  test("a key file that is gone: no start makes another one by itself, the doctor agrees, and both ways out lead on", async () => {
    const [key, kept] = [file("secrets.key"), file("kept.key")];
    renameSync(key, kept);
    const refused = await berth.tryServer("start");
    expect(refused.code).toBe(1);
    expect(refused.output).toMatch(
      /^Error: \S+secrets\.key is missing, and only it opens 1 secret of this database \(key k\w+\)\.\nNext: Put the file back.*--accept-loss/m,
    );
    const seen = await asJson();
    expect(seen.check("secrets"), seen.text).toMatchObject({
      status: "failed",
      found: expect.stringMatching(/only it opens 1 secret/) as string,
    });
    expect(seen.check("server")?.found).toMatch(/the last start failed: \S+secrets\.key is missing/);

    const asked = await berth.tryServer("key", "--accept-loss");
    expect(asked).toMatchObject({
      code: 0,
      output: expect.stringMatching(/Lost is the value of 1 secret.*\nNothing was changed\./) as string,
    });
    expect(existsSync(key)).toBe(false);
    await berth.server("key", "--accept-loss", "--yes");
    await berth.startServer();
    const listed = async (): Promise<string> => (await berth.cli(["secrets", "list", "-s", "shop"])).said;
    expect(await listed()).toMatch(/password.*cannot be opened: set it again/);
    expect((await asJson()).check("secrets")).toMatchObject({ status: "warning", next: expect.stringMatching(/set them again/) as string });
    await berth.client.setSecret({ params: { stack: "shop", secret: "password" }, body: { value: "another secret" } });
    expect(await listed()).not.toContain("cannot be opened");

    await berth.server("stop");
    expect(await berth.server("key", "--add", kept)).toMatch(/^Added to \S+secrets\.key: k\w+\./);
    expect((await berth.tryServer("key")).output).toMatch(/secrets\.key opens 1 secret\.$/m);

    // The right names over the wrong bytes: a copy mends that, too.
    const copy = readFileSync(key, "utf8");
    writeFileSync(kept, copy);
    writeFileSync(key, copy.replaceAll(/": "[A-Za-z0-9+/]{43}=/g, `": "${Buffer.alloc(32, 7).toString("base64")}`));
    expect((await berth.tryServer("key")).output).toMatch(/does not open \d secrets? .* keys k\w+, k\w+\./);
    expect(await berth.server("key", "--add", kept)).toMatch(/^The file of before is kept as \S+\nAdded to \S+secrets\.key: k\w+, k\w+\./);
    expect((await berth.tryServer("key")).output).toMatch(/secrets\.key opens 1 secret\.$/m);
  });

  test("and well again once it was started", async () => {
    await berth.startServer();
    let seen = "";
    await until(
      async () => {
        const { failed, text } = await asJson();
        seen = text;
        return failed.length === 0 ? true : undefined;
      },
      "the doctor to find nothing",
      60_000,
      () => seen,
    );
  });
});
