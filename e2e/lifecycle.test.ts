// Starting and stopping the real program: repeated, at the same time, in the middle of each other, after crashes, beside strangers. All of it ends in one
// server or in words.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { TestBerth, isAlive, serverProgram, until } from "./harness.ts";

const berths: TestBerth[] = [];
const strangers: Server[] = [];
afterEach(async () => {
  for (const stranger of strangers.splice(0)) stranger.close();
  for (const berth of berths.splice(0)) await berth.stop();
}, 400_000);

function make(more: Record<string, string> = {}): TestBerth {
  const berth = new TestBerth(more);
  berths.push(berth);
  return berth;
}
const pidIn = (output: string): string | undefined => /\(process (\d+)\)/.exec(output)?.[1];
const lockOf = (berth: TestBerth): string => join(berth.home, "server.lock");
/** A server that waits for its database, and so is starting for as long as a test wants. */
const waiting = (): TestBerth => make({ DATABASE_URL: "postgres://nobody:secret@127.0.0.1:1/none" });
const starts = (berth: TestBerth): Promise<number> =>
  until(
    async () => {
      const status = await berth.tryServer("status");
      expect(status.code).toBe(1);
      return status.output.includes("Berth is starting") ? Number(pidIn(status.output.replace(",", ")"))) : undefined;
    },
    "the server to be starting",
    60_000,
  );

test("several starts at once are one start, and a start of a server that runs answers like a success", async () => {
  const berth = make();
  const all = await Promise.all([1, 2, 3, 4].map(() => berth.tryServer("start")));
  expect(
    all.map((one) => one.code),
    JSON.stringify(all),
  ).toEqual([0, 0, 0, 0]);
  const pids = new Set(all.map((one) => pidIn(one.output)));
  expect(pids.size).toBe(1);
  const again = await berth.tryServer("start");
  expect(again).toMatchObject({ code: 0, output: expect.stringContaining("Berth runs already") as string });
  expect(pids).toContain(pidIn(again.output));

  // Killed, with everything of its start left behind: the starts that come find one new server.
  process.kill(berth.serverPid(), "SIGKILL");
  const fresh = await Promise.all([1, 2, 3, 4].map(() => berth.tryServer("start")));
  expect(
    fresh.map((one) => one.code),
    JSON.stringify(fresh),
  ).toEqual([0, 0, 0, 0]);
  const next = new Set(fresh.map((one) => pidIn(one.output)));
  expect(next.size).toBe(1);
  expect([...next][0]).not.toBe([...pids][0]);
  // In the foreground there is nothing to join.
  expect(await berth.tryServer("run")).toMatchObject({
    code: 1,
    output: expect.stringMatching(/runs already, as process \d+\.\nNext: /) as string,
  });
});

test("a start waits for one that is under way, with words, and both end with the same ones; a stop ends a start", async () => {
  const berth = waiting();
  const first = berth.tryServer("start");
  const pid = await starts(berth);
  const joining = startsBeside(berth);
  // Only then does it wait for that one: a start that comes after the stop is another one.
  await until(
    () => Promise.resolve(joining.said().includes("waiting for it") || undefined),
    "the second start to join",
    60_000,
    joining.said,
  );
  await until(
    async () => ((await berth.tryServer("status")).output.includes("nothing listens there") ? true : undefined),
    "the reason to be told",
    60_000,
  );
  expect(await berth.tryServer("stop")).toMatchObject({ code: 0 });
  expect(isAlive(pid)).toBe(false);
  const second = await joining.ended;
  for (const { code, output } of [await first, second]) {
    expect(code).toBe(1);
    expect(output).toContain("Error: the server was stopped while it was starting.");
    expect(output).not.toContain("secret");
  }
  expect(second.output).toContain(`Process ${pid} is starting already; waiting for it.`);
  expect(existsSync(lockOf(berth))).toBe(false);
  expect(await berth.tryServer("stop")).toMatchObject({ code: 0, output: "Berth was not running.\n" });
});

test("a start that is killed leaves a server that the next one joins", async () => {
  const berth = make();
  const cut = spawn(process.execPath, [serverProgram, "server", "start"], { env: berth.env, stdio: "ignore" });
  await until(async () => (existsSync(lockOf(berth)) ? true : undefined), "the server to begin", 60_000);
  cut.kill("SIGKILL");
  const { pid } = JSON.parse(readFileSync(lockOf(berth), "utf8")) as { pid: number };
  const { code, output } = await berth.tryServer("start");
  expect({ code, pid: pidIn(output) }).toEqual({ code: 0, pid: String(pid) });
});

test.each([
  [
    "of a process that is another one now",
    () => JSON.stringify({ pid: process.pid, start: "1", boot: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() }),
  ],
  [
    "of before the machine's restart",
    () =>
      JSON.stringify({
        pid: process.pid,
        start: readFileSync(`/proc/${process.pid}/stat`, "utf8")
          .replace(/^.*\) /s, "")
          .split(" ")[19],
        boot: "another",
      }),
  ],
  ["that a full disk left empty", () => ""],
])("a lock %s keeps nobody out, and what lies beside it is not believed", async (_, lock) => {
  const berth = make();
  const stranger = createServer((socket) => {
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  });
  strangers.push(stranger);
  const port = await listening(stranger, 0);
  writeFileSync(lockOf(berth), lock());
  writeFileSync(join(berth.home, "server.json"), JSON.stringify({ pid: process.pid, version: "0.1.0", url: `http://127.0.0.1:${port}` }));
  expect(await berth.tryServer("status")).toMatchObject({ code: 1, output: expect.stringContaining("is not running") as string });
  const { code, output } = await berth.tryServer("start");
  expect(code, output).toBe(0);
  expect(output).not.toContain(`:${String(port)}`);
  expect(await berth.tryServer("status")).toMatchObject({ code: 0 });
});

test("a stranger on a chosen port is an error with words; on a port that nobody chose it is stepped around", async () => {
  const stranger = createServer();
  strangers.push(stranger);
  const port = await listening(stranger, 0);
  const chosen = make({ BERTH_PORT: String(port) });
  const { code, output } = await chosen.tryServer("start");
  expect({ code, output }).toEqual({
    code: 1,
    output: `Error: Port ${port} on 127.0.0.1 is taken.\nNext: Set BERTH_PORT to another one, or stop what listens there.\n`,
  });
  const router = await make({ BERTH_ROUTER_PORT: String(port) }).tryServer("start");
  expect(router.code).toBe(1);
  expect(router.output).toMatch(new RegExp(`^Error: .*${port}.*taken.*\nNext: .*BERTH_ROUTER_PORT.*\n$`));

  // Whoever has them, this test or another: they are taken.
  for (const fixed of [7420, 8080]) await listening(track(createServer()), fixed).catch(() => undefined);
  const moved = make({ BERTH_PORT: "", BERTH_ROUTER_PORT: "" });
  await moved.startServer();
  expect(Number(new URL(moved.url).port)).toBeGreaterThan(7420);
  expect(moved.router.port).toBeGreaterThan(8080);
});

test("mistaken settings are named, without a stack trace", async () => {
  for (const [name, value, words] of [
    ["BERTH_PORT", "eighty", "BERTH_PORT is no port: eighty."],
    ["BERTH_CLUSTER", "My Cluster", "BERTH_CLUSTER is no name: My Cluster."],
    ["BERTH_HOST", "192.0.2.1", "192.0.2.1 is no address of this machine."],
    ["BERTH_LOG_LEVEL", "loud", "BERTH_LOG_LEVEL is loud."],
  ] as const) {
    const berth = new TestBerth({ [name]: value });
    const { code, output } = await berth.tryServer("start");
    expect(code).toBe(1);
    expect(output).toMatch(/^Error: .*\nNext: .*\n$/);
    expect(output).toContain(words);
    // So that it can be stopped.
    await new TestBerth({ BERTH_HOME: berth.home }).stop();
    rmSync(berth.home, { recursive: true, force: true });
  }
});

/** `berth server start`, with what it has said so far. */
function startsBeside(berth: TestBerth): {
  readonly said: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
} {
  const child = spawn(process.execPath, [serverProgram, "server", "start"], { env: berth.env, timeout: 150_000 });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  return { said: () => output, ended: once(child, "close").then(([code]) => ({ code: code as number | null, output })) };
}

function track(server: Server): Server {
  strangers.push(server);
  return server;
}

function listening(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}
