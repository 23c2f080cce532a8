// Nobody reads a secret who may not: none is in a log, event, error, process list, file of the database or backup, and no process of Berth
// leaves a core dump or lets a signal open a debugger. Real server, edge, PostgreSQL and programs.
import { execFile } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attachEmbedded } from "../packages/server/src/db/embedded.ts";
import { silentLog } from "../packages/server/src/db/log.ts";
import { TestBerth, isAlive, until, webApp } from "./harness.ts";

const run = promisify(execFile);
let berth: TestBerth;
const folder = mkdtempSync(join(tmpdir(), "be-secrets-"));
/** The soft limit of core dumps that this process, and so what it starts, has. */
async function allowCoreDumps(limit: string): Promise<void> {
  await run("prlimit", ["--pid", String(process.pid), `--core=${limit}:`]);
}
const limit = core(process.pid);
beforeAll(async () => {
  // As on a machine where dumps are wanted: else there would be nothing to refuse.
  const hard = /^Max core file size +\S+ +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? "0";
  await allowCoreDumps(hard);
  berth = await TestBerth.start({ BERTH_LOG_LEVEL: "debug" });
}, 180_000);
afterAll(async () => {
  await allowCoreDumps(limit);
  await berth?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 180_000);

/** Values that nothing else on this machine holds, and that no encoding but base64 changes. */
const value = (what: string): string => `hush${what}${Buffer.from(folder).toString("hex").slice(-16)}hush`;
const secrets = {
  secret: value("secret"),
  second: value("second"),
  gitToken: value("gittoken"),
  gitUrl: value("giturl"),
  refused: value("refused"),
  path: value("path"),
  query: value("query"),
  header: value("header"),
};

interface Running {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}
function processes(): Running[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]);
      return [{ pid: Number(name), parent, command: readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ") }];
    } catch {
      return []; // ended meanwhile
    }
  });
}

/** Control plane, edge with its children, and PostgreSQL; nothing of a tenant. */
async function berths(): Promise<{ readonly edge: number; readonly node: Running[]; readonly postgres: Running[] }> {
  const edge = (JSON.parse(await berth.edge("status", "--json")) as { pid: number }).pid;
  const postmaster = Number(readFileSync(join(berth.home, "postgres", "data", "postmaster.pid"), "utf8").split("\n")[0]);
  const all = processes();
  const node = all.filter(
    ({ pid, parent, command }) => pid === berth.serverPid() || pid === edge || (parent === edge && /edge/.test(command)),
  );
  return { edge, node, postgres: all.filter(({ pid, parent }) => pid === postmaster || parent === postmaster) };
}

function core(pid: number): string {
  return /^Max core file size +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[1] ?? "";
}

/** undefined: the process has ended meanwhile, as those do that PostgreSQL starts for a connection or a while. */
function whileItLives<T>(pid: number, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isAlive(pid)) throw error;
    return undefined;
  }
}

describe("the processes of Berth", () => {
  test("leave no core dump, by their limits", async () => {
    const { node, postgres } = await berths();
    expect(node.length).toBeGreaterThanOrEqual(6);
    expect(postgres.length).toBeGreaterThanOrEqual(2);
    for (const { pid, command } of node) expect(core(pid), command).toBe("0");
    const limits = postgres.flatMap(({ pid }) => whileItLives(pid, () => core(pid)) ?? []);
    expect(limits.length).toBeGreaterThanOrEqual(1);
    expect(new Set(limits)).toEqual(new Set(["0"]));
  });

  test("open no debugger at SIGUSR1", async () => {
    const { node } = await berths();
    const sockets = (): string[] => node.flatMap(({ pid }) => listening(pid).map((port) => `${pid}:${port}`));
    const before = sockets();
    for (const { pid } of node) process.kill(pid, "SIGUSR1");
    // A debugger says where it listens; one that is not there never does, so this waits for what comes after the signal: an answer of each.
    expect((await fetch(`${berth.url}/readyz`)).status).toBe(200);
    await berth.edge("status");
    for (const { pid, command } of node) expect(isAlive(pid), command).toBe(true);
    expect(sockets()).toEqual(before);
    expect(berth.log() + readFileSync(join(berth.home, "logs", "edge.log"), "utf8")).not.toContain("Debugger");
    for (const { pid, command } of node) expect(command, String(pid)).toContain("--disable-sigusr1");
  });

  test("leave none when they crash", async () => {
    const { node, edge } = await berths();
    // The edge last: its children leave by themselves when it is gone.
    const before = node
      .map(({ pid }) => ({ pid, cwd: readlinkSync(`/proc/${pid}/cwd`) }))
      .toSorted((one, other) => Number(one.pid === edge) - Number(other.pid === edge));
    for (const { pid } of before) process.kill(pid, "SIGSEGV");
    await until(async () => (before.every(({ pid }) => !isAlive(pid)) ? true : undefined), "them all to end");
    for (const { pid, cwd } of before)
      expect(
        readdirSync(cwd).filter((name) => name === "core" || name === `core.${pid}`),
        cwd,
      ).toEqual([]);
    await berth.startServer();
  });
});

/** TCP ports that a process listens on. */
function listening(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // closed meanwhile
      }
    }),
  );
  return ["tcp", "tcp6"]
    .flatMap((kind) => readFileSync(`/proc/${pid}/net/${kind}`, "utf8").split("\n").slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A" && inodes.has(fields[9] ?? ""))
    .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "0", 16))
    .sort((a, b) => a - b);
}

describe("a secret", () => {
  const said: string[] = [];
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<number> => {
    const answer = await fetch(`${berth.url}/api/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${berth.token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    said.push(
      `${method} ${path.replaceAll(/hush\w+hush/g, "?")} ${JSON.stringify(Object.fromEntries(answer.headers))} ${await answer.text()}`,
    );
    return answer.status;
  };
  test("is used by a deployment, a crash, a failing build and requests that are refused", { timeout: 480_000 }, async () => {
    await berth.client.createStack({ body: { name: "hush" } });
    expect(await ask("PUT", "stacks/hush/secrets/token", { value: secrets.secret })).toBe(200);
    expect(await ask("PUT", "stacks/hush/credentials/git", { kind: "token", username: "u", token: secrets.gitToken })).toBe(204);
    const compose = (name: string): string =>
      JSON.stringify({ services: { web: { build: ".", ports: ["3000"], "x-berth": { secrets: { TOKEN: name } } } } });
    // It says its secret, and dies of it when asked to.
    const app = webApp("one", `console.log("my secret is " + process.env.TOKEN); console.error("env", JSON.stringify(process.env));`);
    await berth.deployed("hush", { ...app, "compose.yaml": compose("token") });
    await ask("PUT", "stacks/hush/secrets/second", { value: secrets.second });
    const crashing = webApp("two", `console.error("dying with " + process.env.TOKEN); process.exit(3);`);
    const made = await berth.up("hush", { ...crashing, "compose.yaml": compose("second") });
    for (const rollout of made.rollouts) await berth.ended("hush", rollout.component, rollout.number);
    const broken = { ...app, "compose.yaml": compose("token"), Procfile: "web: node server.js" };
    const failing = {
      ...broken,
      "package.json": JSON.stringify({ name: "web", scripts: { build: "env; exit 7", start: "node server.js" } }),
    };
    const built = await berth.up("hush", failing);
    for (const rollout of built.rollouts) await berth.ended("hush", rollout.component, rollout.number);

    const { refused } = secrets;
    const statuses = [
      await ask("PUT", "stacks/hush/secrets/Wrong_Name", { value: refused }),
      await ask("PUT", "stacks/hush/secrets/token", { value: refused, more: refused }),
      await ask("PUT", "stacks/hush/secrets/token", { value: [refused] }),
      await ask("PUT", "stacks/hush/secrets/token", refused),
      await ask("PUT", "stacks/hush/secrets/token", `{"value":"${refused}`),
      await ask("PUT", "stacks/hush/secrets/token", { value: `${refused}\0` }),
      await ask("PUT", "stacks/nowhere/secrets/token", { value: refused }),
      await ask("PUT", "stacks/hush/credentials/git", { kind: "token", token: refused, privateKey: refused }),
      await ask("PUT", "stacks/hush/credentials/git", { kind: refused, token: refused }),
      await ask("POST", "login", { token: refused }),
      await ask("POST", "login", { token: refused, name: { x: refused } }),
      await ask("GET", "stacks", undefined, { authorization: `Bearer berth_${refused}` }),
      await ask("GET", "stacks", undefined, { authorization: `Basic ${Buffer.from(`u:${refused}`).toString("base64")}` }),
      await ask("POST", "stacks/hush/sources/git", { url: `https://user:${secrets.gitUrl}@127.0.0.1:9/x.git`, credential: "git" }),
      await ask("POST", "stacks/hush/sources/git", { url: `https://user:${secrets.gitUrl}@example.invalid/x.git` }),
      await ask("POST", "stacks/hush/sources/git", { url: `https://${secrets.gitUrl}@[bad/x.git` }),
      await ask("POST", "stacks/hush/sources/git", { url: `ftp://user:${secrets.gitUrl}@example.com/x.git` }),
    ];
    for (const [index, status] of statuses.entries())
      expect({ index, refused: status >= 400 && status < 500 }).toEqual({ index, refused: true });
  });

  test("and by failures of Berth itself", async () => {
    // A table that is away makes every statement with a secret in its parameters fail inside PostgreSQL.
    await statement("alter table secrets rename to secrets_away; alter table credentials rename to credentials_away");
    try {
      expect(await ask("PUT", "stacks/hush/secrets/third", { value: secrets.refused })).toBe(500);
      expect(await ask("PUT", "stacks/hush/credentials/third", { kind: "token", token: secrets.refused })).toBe(500);
    } finally {
      await statement("alter table secrets_away rename to secrets; alter table credentials_away rename to credentials");
    }
  });

  test("is in no answer", async () => {
    for (const path of [
      "",
      "/config",
      "/secrets",
      "/credentials",
      "/sources",
      "/builds",
      "/versions",
      "/export",
      "/rollouts",
      "/components",
      "/components/web/releases",
      "/components/web/instances",
      "/components/web/config",
      "/events",
    ])
      await ask("GET", `stacks/hush${path}`);
    for (const path of ["audit", "events", "doctor", "me", "tokens"]) await ask("GET", path);
    for (const build of [1, 2, 3]) await ask("GET", `stacks/hush/builds/${build}/log`);
    await ask("GET", "stacks/hush/components/web/logs?tail=1000");
    expect(said.length).toBeGreaterThan(40);
    expect(leaks(said.join("\n"))).toEqual([]);
    // The program did say it: it was masked.
    expect(said.join("\n")).toMatch(/my secret is \*+/);
  });

  test("is in no process list", async () => {
    const { node, postgres } = await berths();
    for (const { pid, command } of [...node, ...postgres]) {
      const seen = `${command}\n${whileItLives(pid, () => readFileSync(`/proc/${pid}/environ`, "latin1")) ?? ""}`;
      expect(leaks(seen, [...Object.values(secrets), berth.token]), command).toEqual([]);
    }
    for (const { command } of processes()) expect(leaks(command, [...Object.values(secrets), berth.token])).toEqual([]);
  });

  test("is in no file of Berth, and in no backup", { timeout: 480_000 }, async () => {
    await run(process.execPath, [berth.program, "backup", join(folder, "all.tar")], { env: berth.env, timeout: 150_000 });
    await berth.server("stop");
    const found = [...filesBelow(berth.home), ...filesBelow(folder)].flatMap((file) =>
      leaks(whileItIsThere(() => readFileSync(file, "latin1")) ?? "", [...Object.values(secrets), berth.token]).map(
        (what) => `${file.replace(berth.home, "")}: ${what}`,
      ),
    );
    // What the edge starts an instance with, when nobody else is there to ask: for its own user alone.
    const specs = found.filter((line) => line.startsWith("/edge/"));
    expect(specs.length).toBeGreaterThan(0);
    for (const line of specs) expect(lstatSync(join(berth.home, line.split(": ")[0] ?? "")).mode & 0o077, line).toBe(0);
    expect(found.filter((line) => !line.startsWith("/edge/"))).toEqual([]);
    await berth.startServer();
  });
});

/** In the server's own database, as the server. */
async function statement(text: string): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  const client = new pg.Client(await attachEmbedded({ home: berth.home, runDir: join(berth.home, "run"), log: silentLog, signal }));
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

function leaks(text: string, of: readonly string[] = Object.values(secrets)): string[] {
  return of.flatMap((one) => {
    const base64 = Buffer.from(one).toString("base64").slice(4, -4);
    return [one, base64].flatMap((form) => {
      const at = text.indexOf(form);
      return at === -1 ? [] : [text.slice(Math.max(0, at - 200), at + form.length + 50)];
    });
  });
}

/** What runs goes on, and with it its drafts of files come and go. */
function whileItIsThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
}

function filesBelow(dir: string): string[] {
  const entries = whileItIsThere(() => readdirSync(dir, { withFileTypes: true })) ?? [];
  return entries.flatMap((entry) => {
    const path = join(dir, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}
