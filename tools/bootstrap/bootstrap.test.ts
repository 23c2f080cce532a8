// The set-up against real folders and the real npm, with a workspace that needs no registry: what counts as installed, what is repaired,
// and that two runs never work on one folder at once.
import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { forNpm, forProgram } from "./env.mjs";
import { whatFailed } from "./install.mjs";

// Most of these run npm, some of them several times.
vi.setConfig({ testTimeout: 240_000 });

let root = "";
const children: ChildProcess[] = [];

/** A repository as small as can be: one workspace package, a program to run, and the real bootstrap. */
beforeEach(() => {
  root = mkdtempSync(join(realpathSync(tmpdir()), "berth-bootstrap-"));
  mkdirSync(join(root, "tools"));
  mkdirSync(join(root, "packages", "one"), { recursive: true });
  for (const part of ["bootstrap", "bootstrap.mjs", "progress.mjs"])
    cpSync(join(import.meta.dirname, "..", part), join(root, "tools", part), { recursive: true });
  writeFileSync(
    join(root, "package.json"),
    JSON.stringify({
      name: "tiny",
      version: "1.0.0",
      private: true,
      workspaces: ["packages/*"],
      scripts: { check: "node tools/bootstrap.mjs check" },
    }),
  );
  writeFileSync(join(root, "packages/one/package.json"), JSON.stringify({ name: "@tiny/one", version: "1.0.0" }));
  writeFileSync(
    join(root, "package-lock.json"),
    JSON.stringify({
      name: "tiny",
      version: "1.0.0",
      lockfileVersion: 3,
      requires: true,
      packages: {
        "": { name: "tiny", version: "1.0.0", workspaces: ["packages/*"] },
        "node_modules/@tiny/one": { resolved: "packages/one", link: true },
        "packages/one": { name: "@tiny/one", version: "1.0.0" },
      },
    }),
  );
  writeFileSync(
    join(root, "tools/check.ts"),
    "const given: string[] = process.argv.slice(2);\nconsole.log(JSON.stringify({ given, env: process.env }));\nprocess.exitCode = 7;\n",
  );
});

afterEach(async () => {
  await Promise.all(
    children.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    }),
  );
  rmSync(root, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly output: string;
}

function start(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ended: Promise<Ended>; output: () => string } {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, npm_config_cache: join(root, "npm-cache"), npm_config_update_notifier: "false", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  return {
    child,
    output: () => output,
    ended: new Promise((resolve) => {
      child.on("close", (code) => {
        resolve({ code: code ?? -1, output });
      });
    }),
  };
}

const bootstrap = (...args: string[]): Promise<Ended> => start(process.execPath, ["tools/bootstrap.mjs", ...args]).ended;
const stamp = (): string => join(root, "node_modules/.berth-install.json");

it("installs once, hands over arguments and exit code, and does nothing the second time", async () => {
  const first = await bootstrap("check", "--flag", "two words");
  expect(first.output).toContain("Installed dependencies");
  expect(first.output).toContain(`"given":["--flag","two words"]`);
  expect(first.code).toBe(7);
  const written = statSync(stamp()).mtimeMs;

  const second = await bootstrap("check");
  expect(second.output).not.toContain("nstall");
  expect(second.code).toBe(7);
  expect(statSync(stamp()).mtimeMs).toBe(written);
});

const damages: [string, () => void][] = [
  [
    "a package was removed",
    () => {
      rmSync(join(root, "node_modules/@tiny/one"));
    },
  ],
  [
    "npm was interrupted before it wrote its list",
    () => {
      rmSync(join(root, "node_modules/.package-lock.json"));
      rmSync(stamp());
    },
  ],
  [
    "the lockfile changed",
    () => {
      const file = join(root, "package-lock.json");
      writeFileSync(file, `${readFileSync(file, "utf8")}\n`);
    },
  ],
  [
    "the stamp is half written",
    () => {
      writeFileSync(stamp(), '{"finger');
      writeFileSync(join(root, "node_modules/.package-lock.json"), "{");
    },
  ],
  [
    "node_modules is an empty folder",
    () => {
      rmSync(join(root, "node_modules"), { recursive: true });
      mkdirSync(join(root, "node_modules"));
    },
  ],
];
it.each(damages)("installs again when %s", async (_, damage) => {
  await bootstrap("check");
  damage();
  const again = await bootstrap("check");
  expect(again.output).toContain("Installed dependencies");
  expect(again.code).toBe(7);
  expect(existsSync(join(root, "node_modules/@tiny/one/package.json"))).toBe(true);
});

it("takes an install that was made by hand as it is", async () => {
  await start("npm", ["ci", "--no-audit", "--no-fund"]).ended;
  expect(existsSync(stamp())).toBe(false);
  expect((await bootstrap("check")).output).not.toContain("nstall");
  expect(existsSync(stamp())).toBe(true);
});

it("lets one run set up while another waits", async () => {
  const runs = [bootstrap("check"), bootstrap("check"), bootstrap("check")];
  const ended = await Promise.all(runs);
  expect(ended.map((run) => run.code)).toEqual([7, 7, 7]);
  expect(ended.filter((run) => run.output.includes("Installed dependencies"))).toHaveLength(1);
});

it("goes on after a run that was killed while it held the lock", async () => {
  // An npm that never ends stands for a slow network.
  const slow = join(root, "slow");
  mkdirSync(slow);
  writeFileSync(join(slow, "npm-cli.js"), "process.title = 'slow npm'; console.log('begun'); setInterval(() => {}, 1000);");
  const first = start(process.execPath, ["tools/bootstrap.mjs", "check"], { npm_execpath: join(slow, "npm-cli.js") });
  const note = join(root, ".cache/npm-ci.json");
  await expect.poll(() => existsSync(note) && readFileSync(note, "utf8").endsWith("}"), { timeout: 60_000 }).toBe(true);
  const orphan = (JSON.parse(readFileSync(note, "utf8")) as { pid: number }).pid;
  first.child.kill("SIGKILL");
  await first.ended.catch(() => undefined);

  const second = await bootstrap("check");
  expect(second.output).toContain("ending it");
  expect(second.output).toContain("Installed dependencies");
  expect(second.code).toBe(7);
  expect(isAlive(orphan)).toBe(false);
});

it("passes a signal on and ends as the program ended", async () => {
  await bootstrap("check");
  writeFileSync(
    join(root, "tools/check.ts"),
    "process.on('SIGTERM', () => { console.log('told'); process.exit(3); });\nconsole.log('ready');\nsetInterval(() => {}, 1000);\n",
  );
  const run = start(process.execPath, ["tools/bootstrap.mjs", "check"]);
  await expect.poll(run.output, { timeout: 60_000 }).toContain("ready");
  run.child.kill("SIGTERM");
  expect(await run.ended).toMatchObject({ code: 3, output: expect.stringContaining("told") as string });
});

it("leaves nothing of npm run in the program's environment", async () => {
  const run = await start("npm", ["run", "--silent", "check"]).ended;
  const { env } = JSON.parse(run.output.slice(run.output.indexOf(`{"given"`))) as { env: Record<string, string> };
  // Where packages come from is the machine's, not npm run's: builds need it.
  const network = ["npm_config_registry", "npm_config_cafile", "npm_config_proxy", "npm_config_https_proxy", "npm_config_noproxy"];
  expect(Object.keys(env).filter((key) => /^npm_/i.test(key) && !network.includes(key))).toEqual([]);
  expect(env["PATH"]).not.toContain(join(root, "node_modules/.bin"));
  expect(env["PATH"]).not.toContain("node-gyp-bin");
});

it("says what is possible when the command is not known", async () => {
  const run = await bootstrap("toString");
  expect(run.code).toBe(2);
  expect(run.output).toContain("usage:");
});

describe("environment", () => {
  const env = {
    PATH: "/r/node_modules/.bin:/node_modules/.bin:/home/u/.local/bin:/x/node-gyp-bin:/usr/bin",
    HOME: "/home/u",
    INIT_CWD: "/r",
    npm_lifecycle_event: "demo",
    npm_package_name: "berth",
    npm_config_cache: "/c",
    npm_config_registry: "http://127.0.0.1:1/",
    npm_config_proxy: "",
  };
  it("keeps where packages come from, and the user's own PATH", () => {
    expect(forProgram(env, "/r")).toEqual({
      PATH: "/home/u/.local/bin:/usr/bin",
      HOME: "/home/u",
      npm_config_registry: "http://127.0.0.1:1/",
    });
    expect(forNpm(env, "/r")).toMatchObject({ npm_config_cache: "/c" });
  });
  it("changes nothing but npm's variables when npm did not start it", () => {
    expect(forProgram({ PATH: "/r/node_modules/.bin:/usr/bin", INIT_CWD: "/r" }, "/r")).toEqual({
      PATH: "/r/node_modules/.bin:/usr/bin",
      INIT_CWD: "/r",
    });
  });
});

it.each([
  ["npm error code ENOTFOUND", "cannot reach"],
  ["npm error code EAI_AGAIN", "cannot reach"],
  ["npm error code E403", "refused access"],
  ["npm error code ENOSPC", "disk is full"],
  ["npm error code EACCES", "may not write"],
  ["npm error code EINTEGRITY", "damaged"],
  ["npm error code SELF_SIGNED_CERT_IN_CHAIN", "certificate"],
  ["npm: spawn npm ENOENT", "no npm"],
  ["npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync", "do not agree"],
  ["something else", "could not install"],
])("explains %s", (output, words) => {
  const [sentence, hint] = whatFailed(output, "/r");
  expect(sentence).toContain(words);
  expect(hint.length).toBeGreaterThan(20);
});

function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")[0] !== "Z";
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
