// The embedded PostgreSQL as root and as an ordinary user: made once, found again, and started again whatever a crash left behind.
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { withClient } from "../../test/server.ts";
import { keepEmbedded, startEmbedded } from "./embedded.ts";
import { findPostmaster, type SocketConnection } from "./embedded/postmaster.ts";
import { isRunning, statOf } from "../os/process.ts";
import { canMount, smallDisk } from "../os/testing/smalldisk.ts";
import { silentLog } from "./log.ts";

interface Started {
  readonly pid: number;
  readonly started: boolean;
  readonly connection: SocketConnection;
  readonly took: number;
}
interface Refused {
  readonly reason: string;
  readonly message: string;
  readonly hint: string;
}

// Databases are made, started and stopped, several in a test.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const root = process.getuid?.() === 0;
const ordinary = { uid: 12_345, gid: 12_345 };
const driver = join(import.meta.dirname, "../../test/embedded-driver.ts");
const readableByAll =
  spawnSync(process.execPath, ["--version"], { ...(root ? ordinary : {}) }).status === 0 &&
  spawnSync("/bin/cat", [driver], root ? ordinary : {}).status === 0;

function drive(verb: "start" | "stop", home: string, as: { uid?: number; gid?: number }): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [driver, verb, home],
      { ...as, cwd: "/", timeout: 120_000, env: { PATH: process.env["PATH"], HOME: home } },
      (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout));
        else reject(new Error(`${error.message}\n${stderr}`));
      },
    );
  });
}

async function gone(pid: number): Promise<void> {
  await expect.poll(() => isRunning(pid), { interval: 10 }).toBe(false);
}

/** A short path, as unix sockets need it. */
function newHome(as: { uid?: number; gid?: number }): string {
  const home = mkdtempSync(join(tmpdir(), "berth-pg-"));
  if (as.uid !== undefined && as.gid !== undefined) chownSync(home, as.uid, as.gid);
  return home;
}

const users = [
  { name: root ? "root" : "this user", as: {} as { uid?: number; gid?: number } },
  ...(root ? [{ name: "an ordinary user", as: ordinary }] : []),
];

describe.each(users)("as $name", ({ as }) => {
  const runnable = as.uid === undefined || readableByAll;
  let home: string;
  let first: Started;
  const start = () => drive("start", home, as) as Promise<Started>;
  beforeAll(async () => {
    home = newHome(as);
    if (runnable) first = await start();
  });
  afterAll(async () => {
    try {
      if (runnable) await drive("stop", home, as);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });

  it.runIf(runnable)("outlives the process that started it and is found by the next", async () => {
    expect(first.started).toBe(true);
    expect(isRunning(first.pid)).toBe(true);
    const again = await start();
    expect(again).toMatchObject({ pid: first.pid, started: false });
    await withClient(again.connection, (client) => client.query("create table kept (n int); insert into kept values (1)"));
  });

  it.runIf(runnable)("lets in only who has the password, and only from the folder's owner", async () => {
    const refused = async (change: Partial<SocketConnection>) =>
      withClient({ ...first.connection, ...change }, async () => "in").catch((error: { code?: string }) => error.code);
    expect(await refused({ password: "wrong" })).toBe("28P01");
    expect(await refused({ user: "postgres", database: "postgres" })).toBe("28000");
    expect(statSync(join(home, "postgres/password")).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, "postgres/data")).mode & 0o077).toBe(0);
    expect(statSync(first.connection.host).mode & 0o077).toBe(0);
    if (root) {
      const application = spawnSync("/bin/ls", [first.connection.host], { uid: 54_321, gid: 54_321 });
      expect(application.status).not.toBe(0);
      expect(processOwner(first.pid)).not.toBe(0);
    }
  });

  it.runIf(runnable)("never turns off durability, listens on no TCP port, and is no superuser", async () => {
    await withClient(first.connection, async (client) => {
      const { rows } = await client.query<Record<string, string>>(
        "select current_setting('fsync') as fsync, current_setting('synchronous_commit') as sync, current_setting('listen_addresses') as tcp, (select rolsuper::text from pg_roles where rolname = current_user) as super",
      );
      expect(rows[0]).toEqual({ fsync: "on", sync: "on", tcp: "", super: "false" });
    });
  });

  it.runIf(runnable)("starts again after kill -9, with what was committed, while orphans still hold its memory", async () => {
    const before = await start();
    const client = new pg.Client({ ...before.connection });
    client.on("error", () => {
      /* The server is about to be killed. */
    });
    await client.connect();
    await client.query("insert into kept values (2)");
    process.kill(before.pid, "SIGKILL");
    const after = await start();
    expect(after).toMatchObject({ started: true });
    expect(after.pid).not.toBe(before.pid);
    await withClient(after.connection, async (fresh) =>
      expect((await fresh.query("select n from kept order by n")).rows).toEqual([{ n: 1 }, { n: 2 }]),
    );
    await client.end().catch(() => undefined);
  });

  it.runIf(runnable)("gives two starters at once the same server", async () => {
    const running = await start();
    process.kill(running.pid, "SIGKILL");
    await gone(running.pid);
    const both = await Promise.all([start(), start()]);
    expect(new Set(both.map((one) => one.pid)).size).toBe(1);
    expect(both.filter((one) => one.started)).toHaveLength(1);
  });

  it.runIf(runnable)("starts quickly after a clean stop, and makes a new password when it was lost", async () => {
    await drive("stop", home, as);
    rmSync(join(home, "postgres/password"));
    expect((await start()).started).toBe(true);
    // What else the machine does makes a start take longer, and never shorter.
    let quickest = Number.POSITIVE_INFINITY;
    for (let count = 0; count < 5 && quickest >= 3_000; count += 1) {
      await drive("stop", home, as);
      const { started, took } = await start();
      expect(started).toBe(true);
      quickest = Math.min(quickest, took);
    }
    expect(quickest).toBeLessThan(3_000);
  });

  it.runIf(runnable)("starts although postmaster.pid names a stranger or a zombie", async () => {
    for (const make of [stranger, zombie]) {
      await drive("stop", home, as);
      const { parent, pid } = await make(as);
      try {
        const pidFile = join(home, "postgres/data/postmaster.pid");
        writeFileSync(pidFile, `${pid}\n${home}/postgres/data\n1\n5432\n${home}/run/postgres\n\n 1 1\nready   \n`);
        const owner = statSync(join(home, "postgres/data"));
        chownSync(pidFile, owner.uid, owner.gid);
        expect(await start()).toMatchObject({ started: true });
      } finally {
        parent.kill("SIGKILL");
      }
    }
  });

  it.runIf(runnable)("closes the superuser's door that a crash while provisioning left open", async () => {
    const running = await start();
    const rules = join(home, "postgres/data/pg_hba.conf");
    writeFileSync(rules, `local template1 postgres trust\n${readFileSync(rules, "utf8")}`);
    process.kill(running.pid, "SIGHUP");
    const door = { ...running.connection, user: "postgres", database: "template1" };
    const isOpen = () => withClient(door, async () => true).catch(() => false);
    await expect.poll(isOpen).toBe(true);
    await start();
    await expect.poll(isOpen).toBe(false);
  });
});

describe("what it refuses, in words", () => {
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  async function refusal(prepare: (data: string, home: string) => void): Promise<Refused> {
    const home = newHome(self);
    try {
      const data = join(home, "postgres/data");
      for (const folder of ["global", "base", "pg_wal", "pg_xact"]) mkdirSync(join(data, folder), { recursive: true });
      writeFileSync(join(data, "PG_VERSION"), "18\n");
      writeFileSync(join(data, "global/pg_control"), Buffer.alloc(8192));
      if (root) chownSync(data, 61_100, 61_100);
      prepare(data, home);
      return (await drive("start", home, {})) as Refused;
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  }

  it("a folder of a newer or an older PostgreSQL", async () => {
    expect(
      await refusal((data) => {
        writeFileSync(join(data, "PG_VERSION"), "99\n");
      }),
    ).toMatchObject({ reason: "data_newer", message: expect.stringContaining("made by PostgreSQL 99; this Berth brings 18") as string });
    expect(
      await refusal((data) => {
        writeFileSync(join(data, "PG_VERSION"), "17\n");
      }),
    ).toMatchObject({ reason: "data_older" });
  });

  it("a folder that lacks a part, or has one cut short", async () => {
    expect(
      await refusal((data) => {
        rmSync(join(data, "global/pg_control"));
      }),
    ).toMatchObject({ reason: "data_truncated", message: expect.stringContaining("pg_control is missing") as string });
    expect(
      await refusal((data) => {
        writeFileSync(join(data, "global/pg_control"), "short");
      }),
    ).toMatchObject({ reason: "data_truncated" });
    expect(
      await refusal((data) => {
        rmSync(join(data, "PG_VERSION"));
      }),
    ).toMatchObject({ reason: "data_truncated" });
  });

  it("a control file full of zeros, with PostgreSQL's own reason", async () => {
    const refused = await refusal((data) => {
      chmodSync(data, 0o700);
      if (root) spawnSync("chown", ["-R", "61100:61100", data]);
    });
    expect(refused.reason).toBe("start_failed");
    expect(refused.message).not.toMatch(/no reason/);
  });

  it.runIf(root)("a folder of the wrong owner (as root)", async () => {
    expect(
      await refusal((data) => {
        chownSync(data, 0, 0);
      }),
    ).toMatchObject({ reason: "wrong_owner" });
  });

  it("a socket path that is too long", async () => {
    const home = newHome(self);
    chmodSync(home, 0o711);
    try {
      expect(await drive("start", join(home, "x".repeat(100)), {})).toMatchObject({ reason: "socket_path_too_long" });
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it.runIf(root)("a home in a folder that other users may not pass (as root)", async () => {
    const home = newHome(self);
    try {
      expect(await drive("start", join(home, "below"), {})).toMatchObject({
        reason: "not_passable",
        message: expect.stringContaining(home) as string,
      });
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  it.skipIf(!canMount)("a full disk (a small one, mounted as root)", async () => {
    const home = newHome(self);
    try {
      using _disk = smallDisk(home, "60m", "0755");
      expect(await drive("start", home, {})).toMatchObject({ reason: "disk_full" });
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});

describe("startEmbedded", () => {
  it("waits for a database that has started and is kept from its first answers by the machine", async () => {
    const home = newHome({});
    const data = join(home, "postgres/data");
    let stopped: number | undefined;
    const stopping = setInterval(() => {
      const found = findPostmaster(data);
      if (stopped !== undefined || found?.ready !== true) return;
      stopped = found.pid;
      process.kill(found.pid, "SIGSTOP");
    }, 1);
    const letGo = async (): Promise<void> => {
      await expect.poll(() => stopped, { timeout: 120_000 }).toBeDefined();
      // Longer than one question waits for its answer.
      await sleep(6_000);
      process.kill(stopped ?? 0, "SIGCONT");
    };
    try {
      const [{ connection, pid }] = await Promise.all([startEmbedded({ home, runDir: join(home, "run"), log: silentLog }), letGo()]);
      expect(pid).toBe(stopped);
      await withClient(connection, (client) => client.query("select 1"));
    } finally {
      clearInterval(stopping);
      if (stopped !== undefined && isRunning(stopped)) process.kill(stopped, "SIGCONT");
      await drive("stop", home, {});
      rmSync(home, { recursive: true, force: true });
    }
  });
});

describe("keepEmbedded", () => {
  it("starts a database again that was killed while Berth runs", async () => {
    const home = newHome({});
    const stopping = new AbortController();
    let keeping: Promise<void> | undefined;
    try {
      const started = (await drive("start", home, {})) as Started;
      keeping = keepEmbedded({ home, runDir: join(home, "run"), log: silentLog, signal: stopping.signal, everyMs: 50 });
      process.kill(started.pid, "SIGKILL");
      const answers = () =>
        withClient(started.connection, async () => findPostmaster(join(home, "postgres/data"))?.pid !== started.pid).catch(() => false);
      await expect.poll(answers, { timeout: 60_000 }).toBe(true);
    } finally {
      stopping.abort();
      await keeping;
      await drive("stop", home, {});
      rmSync(home, { recursive: true, force: true });
    }
    expect(existsSync(home)).toBe(false);
  });
});

function processOwner(pid: number): number {
  return statSync(`/proc/${pid}`).uid;
}

async function stranger(as: { uid?: number; gid?: number }): Promise<{ parent: ChildProcess; pid: number }> {
  const parent = spawn("/bin/sleep", ["60"], { ...as, stdio: "ignore" });
  await once(parent, "spawn");
  return { parent, pid: parent.pid ?? 0 };
}

/** A child that ended and whose parent never asks for its exit status. */
async function zombie(as: { uid?: number; gid?: number }): Promise<{ parent: ChildProcess; pid: number }> {
  const parent = spawn("/bin/sh", ["-c", "sleep 0.1 & echo $!; exec sleep 60"], { ...as, stdio: ["ignore", "pipe", "ignore"] });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  while (statOf(pid)?.state !== "Z") await sleep(5);
  return { parent, pid };
}
