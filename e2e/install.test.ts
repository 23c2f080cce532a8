// After a reboot everything comes back by itself: the units that `berth server install` writes, every process killed, and then exactly what the units
// name is started, as systemd would. systemd itself need not run for this.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { programs } from "./apps.ts";
import { TestBerth, isAlive, until } from "./harness.ts";

let berth: TestBerth;
const units = mkdtempSync(join(tmpdir(), "be-units-"));
const started: ChildProcess[] = [];
beforeAll(async () => {
  berth = await TestBerth.start();
}, 120_000);
afterAll(async () => {
  // The edge last: it is what ends the instances.
  await Promise.all(started.filter((child) => !child.spawnargs.includes(join(berth.home, "edge", "config.json"))).map(end));
  await berth?.stop();
  await Promise.all(started.map(end));
  rmSync(units, { recursive: true, force: true });
}, 120_000);

const isOver = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
async function end(child: ChildProcess): Promise<void> {
  if (isOver(child)) return;
  child.kill("SIGTERM");
  await until(async () => isOver(child) || undefined, "a service to end");
}
const isRoot = process.getuid?.() === 0;
const stack = "shop";
const compose = `services:
  web: { build: ., command: node web.js, ports: ["3000"], deploy: { replicas: 2 } }
  worker: { build: ., command: node worker.js }
`;

interface Service {
  readonly environment: Record<string, string>;
  readonly pre: string[][];
  readonly main: string[];
  readonly post: string[][];
}
const settings = (text: string, key: string): string[] =>
  text.split("\n").flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
/** As systemd splits a line: blanks, double quotes, backslashes; `%%` and `$$` are one character. */
const words = (line: string): string[] =>
  [...line.replace(/^-/, "").matchAll(/(?:[^\s"]|"(?:[^"\\]|\\.)*")+/g)].map(([word]) =>
    word
      .replace(/"((?:[^"\\]|\\.)*)"/g, (_all, inner: string) => inner.replace(/\\(.)/g, "$1"))
      .replaceAll("%%", "%")
      .replaceAll("$$", "$"),
  );
const pairs = (lines: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    lines.map((line) => {
      const text = words(line)[0] ?? "";
      const at = text.indexOf("=");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );

function readUnit(name: string): Service {
  const text = readFileSync(join(units, name), "utf8");
  const files = settings(text, "EnvironmentFile").map((path) => path.replace(/^-/, "").replaceAll("%%", "%"));
  const fromFiles = files.flatMap((path) =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => /^[A-Za-z_]/.test(line)),
  );
  const [main] = settings(text, "ExecStart");
  return {
    environment: { PATH: "/usr/local/bin:/usr/bin:/bin", ...pairs(settings(text, "Environment")), ...pairs(fromFiles) },
    pre: settings(text, "ExecStartPre").map(words),
    main: words(main ?? ""),
    post: settings(text, "ExecStartPost").map(words),
  };
}

/** Starts a service with nothing but what its unit names and what a service manager gives to all; `wrap` puts a command in front of it. */
function startService(name: string, wrap: readonly string[] = []): ChildProcess {
  const { environment: named, pre, main, post } = readUnit(name);
  // A user's own service manager gives the home; the machine's gives root's services none.
  const environment = isRoot ? named : { HOME: homedir(), ...named };
  for (const [command = "", ...args] of pre) spawnSync(command, args, { env: environment, cwd: "/" });
  const [command = "", ...args] = [...wrap, ...main];
  const child = spawn(command, args, { env: environment, cwd: "/", stdio: "ignore", detached: true });
  started.push(child);
  for (const [after = "", ...rest] of post) spawnSync(after, rest, { env: environment, cwd: "/", timeout: 40_000 });
  return child;
}

/** Every process of this home: by its environment, arguments, folder or program. */
function processes(): number[] {
  const speaksOfUs = (read: () => string): boolean => {
    try {
      return read().includes(berth.home);
    } catch {
      // Gone meanwhile, or a kernel's own.
      return false;
    }
  };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter(
      (pid) =>
        isAlive(pid) &&
        (speaksOfUs(() => readFileSync(`/proc/${pid}/environ`, "latin1")) ||
          speaksOfUs(() => readFileSync(`/proc/${pid}/cmdline`, "latin1")) ||
          speaksOfUs(() => readlinkSync(`/proc/${pid}/cwd`)) ||
          speaksOfUs(() => readlinkSync(`/proc/${pid}/exe`))),
    );
}
function isPostgres(pid: number): boolean {
  try {
    return /postgres/.test(readlinkSync(`/proc/${pid}/exe`));
  } catch (error) {
    // What serves one connection ends with it.
    if (isAlive(pid)) throw error;
    return false;
  }
}
function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
const instances = async (component: string) =>
  (await berth.client.listInstances({ params: { stack, component } })).items.toSorted((a, b) => a.id.localeCompare(b.id));
const health = () =>
  until(
    async () => {
      const { items } = await berth.client.listComponents({ params: { stack } });
      return items.length === 2 && items.every((item) => item.state === "healthy" && item.ready === item.replicas) ? items : undefined;
    },
    "everything to be healthy",
    60_000,
    () => berth.log(),
  );
/** Until this very process answers: the file of one that was killed is still there. */
const answersItself = (server: ChildProcess) =>
  until(
    async () => {
      try {
        const said = JSON.parse(readFileSync(join(berth.home, "server.json"), "utf8")) as { pid: number; url?: string };
        return said.pid === server.pid ? said.url : undefined;
      } catch {
        return undefined;
      }
    },
    "the server to answer",
    90_000,
    () => berth.log(),
  );
const answers = () =>
  until(
    async () => {
      const answer = await berth.get(`web.${stack}.localhost`).catch(() => undefined);
      return answer?.status === 200 ? answer.body : undefined;
    },
    "the router to lead to an instance",
    120_000,
  );

describe("installed as services", () => {
  test("the units are written, sound, private where they must be, and not over a stranger's", async () => {
    await berth.deployed(stack, { ...programs("one"), "compose.yaml": compose });
    const said = await berth.server("install", "--dir", units);
    expect(
      said
        .trim()
        .split("\n")
        .map((line) => line.slice(units.length + 1))
        .toSorted(),
    ).toEqual(["berth-database.service", "berth-edge.service", "berth.service"]);
    expect(statSync(join(berth.home, "service.env")).mode & 0o777).toBe(0o600);
    const check = spawnSync("systemd-analyze", ["--man=no", "verify", ...readdirSync(units).map((name) => join(units, name))], {
      encoding: "utf8",
    });
    if (check.error === undefined || process.env["BERTH_REQUIRE_ALL"] === "1")
      expect({ status: check.status, said: check.stderr }).toMatchObject({ status: 0, said: expect.not.stringContaining(units) as string });
    expect(await berth.server("install", "--print")).toContain("ExecStart=");
    writeFileSync(join(units, "mine.service"), "[Unit]\n");
    await expect(berth.server("install", "--dir", units, "--name", "mine")).rejects.toThrow(/is not from Berth/);
    expect(readFileSync(join(units, "mine.service"), "utf8")).toBe("[Unit]\n");
  });

  test("after every process was killed, what the units name brings everything back in its right number", { timeout: 480_000 }, async () => {
    const before = { web: await instances("web"), worker: await instances("worker") };
    const all = processes();
    expect(all.length).toBeGreaterThan(8);
    // Until none is left: some are about to end by themselves, and others to be started.
    await until(async () => {
      const living = processes();
      for (const pid of living) killNow(pid);
      return living.length === 0 ? true : undefined;
    }, "everything to be dead");

    // The edge alone brings what it led to back, without control plane and database. As root, in a machine that seems to have been started anew.
    const boot = join(berth.home, "another-boot");
    writeFileSync(boot, "11111111-2222-4333-8444-555555555555\n");
    const edge = startService(
      "berth-edge.service",
      isRoot
        ? ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"', "sh", boot]
        : [],
    );
    expect(await answers()).toMatch(/^one web-/);

    const database = startService("berth-database.service");
    const server = startService("berth.service");
    await answersItself(server);
    await berth.startServer();
    // Until the edge was heard, what is shown is from before, and those processes are dead.
    const shown = async () => [...(await instances("web")), ...(await instances("worker"))].map(({ pid }) => pid ?? 0);
    const running = await until(
      async () => {
        const pids = await shown();
        return pids.length === 3 && pids.every(isAlive) ? pids : undefined;
      },
      "the processes that run to be shown",
      60_000,
      () => berth.log(),
    );
    await health();
    for (const component of ["web", "worker"] as const)
      expect((await instances(component)).map(({ id, ready }) => [id, ready])).toEqual(before[component].map(({ id }) => [id, true]));
    expect(processes().filter(isPostgres).length).toBeGreaterThan(0);

    // A restart of one service takes none of the others along.
    const gone = (child: ChildProcess) =>
      until(async () => (child.exitCode !== null || child.signalCode !== null ? true : undefined), "the service to end");
    server.kill("SIGTERM");
    await gone(server);
    expect([edge, database].every((child) => child.exitCode === null && child.signalCode === null)).toBe(true);
    edge.kill("SIGTERM");
    await gone(edge);
    expect(running.every(isAlive)).toBe(true);
    startService(
      "berth-edge.service",
      isRoot
        ? ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"', "sh", boot]
        : [],
    );
    await answers();
    database.kill("SIGKILL");
    await gone(database);
    startService("berth-database.service");
    await answersItself(startService("berth.service"));
    await berth.startServer();
    await health();
    expect(await shown()).toEqual(running);
  });

  test("and are taken away again, without touching what runs", async () => {
    const running = (await instances("web")).map(({ pid }) => pid ?? 0);
    expect(await berth.server("uninstall")).toContain("removed");
    expect(readdirSync(units)).toEqual(["mine.service"]);
    expect(running.every(isAlive)).toBe(true);
    expect(await berth.server("uninstall")).toContain("Nothing was installed");
  });
});
