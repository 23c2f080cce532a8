// The built program as a process of its own: exit codes, signals, start-up time, and what it does on a real terminal.
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn as spawnTerminal } from "@lydell/node-pty";
import { build } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "./testing/api.ts";
import { plain } from "./testing/cli.ts";
import { aComponent, aRollout, aStack, anEvent, now } from "./testing/objects.ts";

let folder: string;
let program: string;
let api: TestApi;
let deleted: string[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "berth-built-"));
  await build({
    input: join(import.meta.dirname, "main.ts"),
    platform: "node",
    external: ["bufferutil", "utf-8-validate"],
    logLevel: "silent",
    output: { dir: folder, entryFileNames: "berth.mjs", chunkFileNames: "berth/[name]-[hash].mjs", format: "esm" },
  });
  program = join(folder, "berth.mjs");
  // Stands where the built server stands: says what it was told, and knows how to be interrupted.
  writeFileSync(
    join(folder, "server.js"),
    `
    const args = process.argv.slice(2);
    if (args.includes("--json")) { console.log(JSON.stringify({ running: true, home: "/h", url: process.env.TEST_URL })); process.exit(0); }
    if (args[1] === "token") { console.log("once"); process.exit(0); }
    if (args[1] === "run") { process.on("SIGTERM", () => { console.log("stopping"); process.exit(0); }); setInterval(() => {}, 1000); }
    console.log("server told: " + args.join(" "));
    if (args[1] !== "run") process.exit(args[1] === "stop" ? 3 : 0);
  `,
  );
  api = await startApi(
    {
      listComponents: () => ({ items: [aComponent()] }),
      showRollout: () => aRollout(),
      restartComponent: () => ({ rollout: 1 }),
      login: ({ body }) => {
        expect(body.token).toBe("once");
        return { token: "t", user: "admin" };
      },
      showMe: () => ({ user: { id: "u", name: "admin" }, teams: [], permissions: [], allowed: {} }),
      showStack: () => aStack(),
      deleteStack: ({ params }) => {
        deleted.push(params.stack);
        return {};
      },
      async *watch({ signal }) {
        while (!signal.aborted) {
          yield anEvent();
          await new Promise((resolve) => {
            setTimeout(resolve, 50);
          });
        }
      },
      async *readStackLogs({ signal }) {
        for (let number = 0; !signal.aborted; number += 1) {
          yield {
            at: now.toISOString(),
            instance: "web-1",
            component: "web",
            stream: "stdout",
            text: `line ${number} ${"x".repeat(10_000)}`,
            cursor: String(number),
          };
          await new Promise((resolve) => {
            setImmediate(resolve);
          });
        }
      },
    },
    { token: "t" },
  );
});
afterAll(async () => {
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

const env = (): Record<string, string> => ({
  HOME: folder,
  PATH: process.env["PATH"] ?? "",
  BERTH_SERVER: api.url,
  BERTH_TOKEN: "t",
  BERTH_STACK: "shop",
  TEST_URL: api.url,
});
function berth(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8", env: env(), timeout: 60_000 });
  return { status, stdout, stderr };
}

/** Without blocking this process, whose server has to answer. */
function start(args: readonly string[], more: Record<string, string> = {}) {
  const child = spawn(process.execPath, [program, ...args], { env: { ...env(), ...more }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on("close", (code) => {
      resolve({ code, stdout, stderr });
    });
  });
  const until = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if ((stdout + stderr).includes(text)) resolve();
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      look();
    });
  return { child, ended, until };
}

describe("the built program", () => {
  it("answers --help and --version with 0, mistakes with 2, and an absent server with 1", async () => {
    expect(berth("--help")).toMatchObject({ status: 0, stderr: "", stdout: expect.stringContaining("Daily verbs") as string });
    expect(berth("--version")).toMatchObject({ status: 0, stdout: "berth 0.1.0\n" });
    expect(berth("statsu")).toMatchObject({
      status: 2,
      stdout: "",
      stderr: "Error: There is no command `berth statsu`.\nNext: Did you mean `berth status`?\n",
    });
    expect(berth("--server", "http://127.0.0.1:1", "stacks", "list")).toMatchObject({ status: 1, stdout: "" });
  });

  it("shows help in less than 150 ms of its own work, because it loads neither schemas nor client", () => {
    berth("--help");
    const bare = Math.min(...[1, 2, 3].map(() => measured(["-e", "0"])));
    const help = Math.min(...[1, 2, 3].map(() => measured([program, "--help"])));
    expect(help - bare).toBeLessThan(150);
    const first = readFileSync(program, "utf8");
    expect(first).not.toContain("listStackRollouts");
  });

  it("ends quietly when the reader of its output leaves", async () => {
    const { child, ended, until } = start(["logs"]);
    await until("line 10");
    child.stdout.destroy();
    expect(await ended).toMatchObject({ code: 0, stderr: "" });
  });

  it("ends with 130 on Ctrl-C and says that the work goes on", async () => {
    const { child, ended, until } = start(["restart", "web"]);
    await until("web: rolling");
    child.kill("SIGINT");
    expect(await ended).toMatchObject({
      code: 130,
      stderr: expect.stringContaining("The work goes on in the server. Watch it with `berth rollouts watch -s shop`.") as string,
    });
  });

  it("keeps compiled code in the user's own cache folder", () => {
    berth("--help");
    expect(statSync(join(folder, ".cache", "berth", "compiled")).isDirectory()).toBe(true);
  });
});

/** On a real pseudo-terminal; `prepare` is a shell's line before the program. */
function onTerminal(args: readonly string[], prepare: string, more: Record<string, string> = {}) {
  const terminal = spawnTerminal("/bin/sh", ["-c", `${prepare}; exec "$0" "$@"`, process.execPath, program, ...args], {
    name: more["TERM"] ?? "xterm",
    cols: 100,
    rows: 30,
    cwd: folder,
    env: { ...env(), ...more },
  });
  let output = "";
  const waiting: (() => void)[] = [];
  terminal.onData((text) => {
    output += text;
    for (const look of waiting) look();
  });
  const ended = new Promise<{ code: number; output: string }>((resolve) => {
    terminal.onExit(({ exitCode }) => {
      resolve({ code: exitCode, output });
    });
  });
  const until = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (plain(output).includes(text)) resolve();
      };
      waiting.push(look);
      look();
      void ended.then(() => {
        reject(new Error(`ended without ${text}:\n${output}`));
      });
    });
  return {
    ended,
    until,
    type: (text: string) => {
      terminal.write(text);
    },
    kill: (signal: string) => {
      terminal.kill(signal);
    },
  };
}

describe("on a terminal", () => {
  it.each([
    ["says 0 columns and rows", "stty cols 0 rows 0", ""],
    ["is 100 wide", ":", ""],
  ])("that %s, shows the live lines whole", async (_, prepare) => {
    const { ended, until, kill } = onTerminal(["restart", "web"], prepare);
    await until("rolling");
    kill("SIGINT");
    const { code, output } = await ended;
    expect(code).toBe(130);
    expect(output).toContain("\x1b[2K");
    expect(plain(output)).toMatch(/web {2}rolling/);
  });

  it("that cannot move its cursor, prints plain lines", async () => {
    const { ended, until, kill } = onTerminal(["restart", "web"], "stty cols 0 rows 0", { TERM: "dumb" });
    await until("web: rolling");
    kill("SIGINT");
    expect((await ended).output).not.toContain("\x1b");
  });

  it("asks for the name before a stack is removed: another word changes nothing, the name does it, and so does --yes anywhere", async () => {
    deleted = [];
    const wrong = onTerminal(["stacks", "delete", "shop", "--no-wait"], ":");
    await wrong.until("Type shop to go on:");
    wrong.type("y\r");
    expect(await wrong.ended).toMatchObject({ code: 1, output: expect.stringContaining("Nothing was changed.") as string });
    const left = onTerminal(["stacks", "delete", "shop", "--no-wait"], ":");
    await left.until("Type shop to go on:");
    left.type("\u0003");
    expect(await left.ended).toMatchObject({ code: 130 });
    expect(await start(["stacks", "delete", "shop", "--no-wait"]).ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Add --yes") as string,
    });
    expect(deleted).toEqual([]);

    const right = onTerminal(["stacks", "delete", "shop", "--no-wait"], ":");
    await right.until("Type shop to go on:");
    right.type("shop\r");
    expect(await right.ended).toMatchObject({ code: 0 });
    expect(await start(["stacks", "delete", "shop", "--no-wait", "--yes"]).ended).toMatchObject({ code: 0 });
    expect(deleted).toEqual(["shop", "shop"]);
  });

  it("asks for a token without showing it", async () => {
    const login = onTerminal(["login", "--ask"], ":", { BERTH_TOKEN: "", HOME: join(folder, "elsewhere") });
    await login.until("Token for");
    login.type("once\r");
    const { code, output } = await login.ended;
    expect(code, output).toBe(0);
    expect(output).toContain("Signed in");
    expect(output.split("Signed in")[0]).not.toContain("once");
  });
});

describe("berth server", () => {
  it("is passed on to the server's program with everything that was typed, and its exit code comes back", () => {
    expect(berth("server", "stop", "--all")).toMatchObject({ status: 3, stdout: "server told: server stop --all\n" });
    expect(berth("edge", "status")).toMatchObject({ status: 0, stdout: "server told: edge status\n" });
  });

  it("in the foreground ends the server's program when it is told to end itself", async () => {
    const { child, ended, until } = start(["server"]);
    await until("server told: server run");
    child.kill("SIGTERM");
    expect(await ended).toMatchObject({ code: 0, stdout: "server told: server run\nstopping\n" });
  });

  it("start signs this user in the first time, and leaves a login that works alone", async () => {
    const first = await start(["server", "start"], { BERTH_TOKEN: "" }).ended;
    expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("signed in as admin") as string });
    expect(JSON.parse(readFileSync(join(folder, ".config", "berth", "credentials.json"), "utf8"))).toMatchObject({
      current: api.url,
      servers: { [api.url]: { token: "t" } },
    });
    expect((await start(["server", "start"], { BERTH_TOKEN: "" }).ended).stderr).toBe("");
  });

  it("says so where only the command line is installed", () => {
    const alone = mkdtempSync(join(tmpdir(), "berth-alone-"));
    try {
      cpSync(program, join(alone, "berth.mjs"));
      cpSync(join(folder, "berth"), join(alone, "berth"), { recursive: true });
      const { status, stderr } = spawnSync(process.execPath, [join(alone, "berth.mjs"), "server", "start"], {
        encoding: "utf8",
        env: env(),
      });
      expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining("only the command line") as string });
    } finally {
      rmSync(alone, { recursive: true });
    }
  });
});

/** ms of processor time: what else the machine does hardly counts. */
function measured(args: readonly string[]): number {
  const tell =
    'data:text/javascript,process.on("exit",()=>{const used=process.resourceUsage();process._rawDebug(`cpu ${used.userCPUTime+used.systemCPUTime}`)})';
  const { stderr } = spawnSync(process.execPath, ["--import", tell, ...args], { env: env(), encoding: "utf8" });
  return Number(/^cpu (\d+)$/m.exec(stderr)?.[1]) / 1000;
}
