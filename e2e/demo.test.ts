// What a newcomer meets first: the demo comes up with URLs that answer, can be repeated, and goes without a trace, or without touching what was there before.
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { fetchThrough } from "../tools/demo/fetch.ts";
import { until } from "./harness.ts";

const root = join(import.meta.dirname, "..");
let folder = "";
let env: NodeJS.ProcessEnv = {};

interface Ended {
  readonly code: number;
  readonly output: string;
}

function run(file: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(file, args, { cwd: root, env, maxBuffer: 10_000_000, timeout: 300_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, output: stdout + stderr });
    });
  });
}
const demo = (...args: string[]): Promise<Ended> => run(process.execPath, [join(root, "tools/demo.ts"), ...args]);
const berth = (...args: string[]): Promise<Ended> => run(join(root, "bin/berth"), args);

beforeAll(async () => {
  env = { ...process.env };
  const built = await run(process.execPath, [join(root, "tools/build.ts")]);
  expect(built.code, built.output).toBe(0);
}, 360_000);

beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), "berth-demo-"));
  // As root, Berth's own users have to pass this folder.
  chmodSync(folder, 0o711);
  const { PATH } = process.env;
  env = { PATH, LANG: "C.UTF-8", HOME: join(folder, "user"), BERTH_HOME: join(folder, "home"), BERTH_PORT: "0", BERTH_ROUTER_PORT: "0" };
  mkdirSync(join(folder, "user"));
});

afterEach(async () => {
  await berth("server", "stop", "--all");
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}, 360_000);

/** Processes that have the demo's home in their environment or arguments: all of Berth's, and none of anyone else's. */
function processes(): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^[0-9]+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        const text = `${readFileSync(`/proc/${pid}/environ`, "latin1")}\0${readFileSync(`/proc/${pid}/cmdline`, "latin1")}`;
        return text.includes(folder) ? [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")}`] : [];
      } catch {
        // It ended meanwhile, or belongs to another user.
        return [];
      }
    });
}

const urls = (output: string): string[] => [...output.matchAll(/^✓ (http:\S+) {2}200 in/gm)].map((found) => found[1] ?? "");

it("comes up with URLs that answer, can be repeated at once, and goes without a trace", async () => {
  const first = await demo();
  expect(first.code, first.output).toBe(0);
  expect(urls(first.output)).toHaveLength(2);
  for (const url of urls(first.output)) expect(await fetchThrough(url, 30_000)).toMatchObject({ status: 200 });
  expect(processes()).not.toEqual([]);

  const again = await demo();
  expect(again.code, again.output).toBe(0);
  expect(again.output).toContain("Berth runs already");
  expect(urls(again.output)).toEqual(urls(first.output));

  const down = await demo("--down");
  expect(down.code, down.output).toBe(0);
  expect(existsSync(join(folder, "home"))).toBe(false);
  expect(existsSync(join(folder, "user/.config/berth"))).toBe(false);
  // What was killed is there until the machine comes to it.
  await until(
    () => Promise.resolve(processes().length === 0 || undefined),
    "every process to be gone",
    30_000,
    () => processes().join("\n"),
  );

  expect(await demo("--down")).toMatchObject({ code: 0, output: expect.stringContaining("nothing to take down") as string });
}, 900_000);

it("leaves a Berth that was there before as it was", async () => {
  expect(await berth("server", "start")).toMatchObject({ code: 0 });
  const pid = /process (\d+)/.exec((await berth("server", "status")).output)?.[1];
  const up = await demo();
  expect(up.code, up.output).toBe(0);

  const down = await demo("--down");
  expect(down.code, down.output).toBe(0);
  const status = await berth("server", "status");
  expect(status).toMatchObject({ code: 0, output: expect.stringContaining(`process ${pid}`) as string });
  expect((await berth("stacks", "list", "--json")).output).not.toContain("guestbook");
}, 900_000);

it("refuses to touch a stack of the same name that it did not make", async () => {
  expect(await berth("server", "start")).toMatchObject({ code: 0 });
  expect(await berth("stacks", "create", "guestbook")).toMatchObject({ code: 0 });
  const up = await demo();
  expect(up.code).toBe(1);
  expect(up.output).toContain("did not make it");
  expect(await demo("--down")).toMatchObject({ code: 0 });
  expect((await berth("stacks", "list", "--json")).output).toContain("guestbook");
}, 900_000);
