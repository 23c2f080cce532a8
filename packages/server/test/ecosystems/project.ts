// Builds a small project as Berth would (upload, detection, host builder) and runs what came out of it in another folder, for the tests of every ecosystem.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import type { RunAs } from "../../src/builders/builder.ts";
import { unpack } from "../../src/builders/host/unpack.ts";
import { networkEnvOf } from "../../src/config.ts";
import { readSourceTree } from "../../src/builders/source/tree.ts";
import { never, testHost, type TestHost } from "../../src/builders/testing/host.ts";
import { detectBuildPlan, filesOfInterest } from "../../src/core/buildplan/detect.ts";
import { chooseCommand } from "../../src/core/release/release.ts";
import { environmentOf } from "../../src/edge/agent/environment.ts";
import { findTool, standardPath } from "../../src/engines/local/tools.ts";
import { createToolFinder } from "../../src/server/tools.ts";

const execute = promisify(execFile);

export type Files = Readonly<Record<string, string | Buffer>>;

const own = fileURLToPath(new URL("../../../../.cache/test-tools/", import.meta.url));
/** Where the tests look for tools: this machine's PATH, and what `.ci/run` installs for them. */
const searched = [
  ...(process.env["PATH"] ?? "").split(":"),
  join(own, "node/node_modules/.bin"),
  join(own, "berry/node_modules/.bin"),
  join(own, "python/bin"),
].filter((folder) => folder !== "" && !folder.includes("node_modules/node-linux-"));
export const buildUser: RunAs | undefined = process.getuid?.() === 0 ? { uid: 61_234, gid: 61_234 } : undefined;

/** Who can execute all of them: the build user, else the tests' own; undefined when one of them is missing, and missing tools are no failure here. */
export async function userWith(names: readonly (readonly [string, string])[]): Promise<"build" | "own" | undefined> {
  for (const user of ["build", "own"] as const) {
    const runAs = user === "build" ? buildUser : undefined;
    const answers = await Promise.all(
      names.map(([name, wanted]) => findTool(name, wanted, { path: searched, ...(runAs === undefined ? {} : { runAs }) })),
    );
    if (answers.every((answer) => "found" in answer)) return user;
  }
  return process.env["BERTH_REQUIRE_ALL"] === "1" ? "build" : undefined;
}

/** A host builder whose tools are those of this machine. */
export async function ecosystemHost(user: "build" | "own"): Promise<TestHost> {
  const runtime = openFolder("berth-runtime-");
  const host = await testHost({
    findTool: createToolFinder(runtime, searched),
    systemPath: standardPath.join(":"),
    passEnv: networkEnvOf(process.env),
    ...(user === "own" ? { user: "own" as const } : {}),
  });
  return {
    ...host,
    dispose: async () => {
      await host.dispose();
      rmSync(runtime, { recursive: true, force: true });
    },
  };
}

export async function planOf(host: TestHost, digest: string, root = "."): Promise<BuildPlan> {
  const tree = await readSourceTree(host.blobs, digest, filesOfInterest, never);
  const detected = detectBuildPlan(tree, { root, prefer: "process" });
  if (!detected.ok) throw new Error(`no plan: ${JSON.stringify(detected.cause)}`);
  return detected.plan;
}

/** The files with the lockfile that a tool makes of them: lockfiles name where packages come from, which is the machine's own affair. */
export async function locked(
  files: Files,
  lockfile: string,
  tool: string,
  wanted: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Files> {
  const folder = openFolder("berth-lock-");
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    const finder = createToolFinder(folder, searched);
    const found = await finder(tool, wanted, undefined);
    const node = await finder("node", "*", undefined);
    if (!found.ok || !node.ok) throw new Error(`there is no ${tool} ${wanted}`);
    await execute(found.path, args, {
      cwd: folder,
      env: {
        ...networkEnvOf(process.env),
        PATH: [found.binDir, node.binDir, ...searched, ...standardPath].join(":"),
        HOME: folder,
        LANG: "C.UTF-8",
        CI: "1",
        ...env,
      },
      timeout: 240_000,
    });
    return { ...files, [lockfile]: readFileSync(join(folder, lockfile), "utf8") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface Built {
  readonly plan: BuildPlan;
  readonly digest: string;
  readonly steps: readonly string[];
  readonly text: string;
}

/** Builds it to the end; fails with the cause and the log when it does not. */
export async function built(
  host: TestHost,
  files: Files,
  options: { readonly root?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Built> {
  const source = await host.upload(files);
  const plan = await planOf(host, source, options.root);
  const lacking = await host.builder.check(plan, "s1");
  if (lacking !== undefined) throw new Error(`lacking: ${JSON.stringify(lacking)}`);
  const { outcome, events, text } = await host.run({ sourceDigest: source, plan, env: options.env ?? {}, deadline: 240_000 });
  if (!outcome.ok) throw new Error(`${JSON.stringify(outcome.cause)}\n${text}`);
  const steps = events.flatMap((event) =>
    event.type === "step" && (event.state === "finished" || event.state === "cached") ? [`${event.name} ${event.state}`] : [],
  );
  return { plan, digest: outcome.digest, steps, text };
}

/** What the check says before a build starts on a machine whose PATH has nothing of the ecosystem. */
export async function lackingOn(
  files: Files,
  path: readonly string[],
  options: { readonly root?: string } = {},
): Promise<Cause | undefined> {
  const host = await testHost({
    user: "own",
    findTool: async (name, wanted) => {
      // Instead of this machine's usual folders.
      const answer = await findTool(name, wanted, { path, usual: [] });
      return "failure" in answer
        ? { ok: false, cause: answer.failure }
        : { ok: true, path: answer.found.path, version: answer.found.version, binDir: dirname(answer.found.path) };
    },
  });
  try {
    return await host.builder.check(await planOf(host, await host.upload(files), options.root), "s1");
  } finally {
    await host.dispose();
  }
}

export interface Answered {
  readonly status: number;
  readonly body: string;
}

/** Starts the process type as the local engine would, in a new folder and as the build's user, until its port answers `GET /`. */
export async function answers(host: TestHost, { plan, digest }: Built, process_ = "web"): Promise<Answered> {
  const top = openFolder("berth-run-");
  const root = join(top, "release");
  const home = join(top, "home");
  for (const folder of [root, home]) {
    mkdirSync(folder);
    if (host.user !== undefined) chownSync(folder, host.user.uid, host.user.gid);
  }
  let child: ChildProcess | undefined;
  try {
    await unpack(await host.blobs.open(digest), root, host.user, never);
    const chosen = chooseCommand("web", { ...defaultSpec("web"), process: process_ }, plan);
    if (!chosen.ok) throw new Error(JSON.stringify(chosen.cause));
    const finder = createToolFinder(top, searched);
    const dirs = await Promise.all(
      chosen.runtime.tools.map(async ({ name, wanted }) => {
        const found = await finder(name, wanted, host.user);
        if (!found.ok) throw new Error(JSON.stringify(found.cause));
        return found.binDir;
      }),
    );
    const port = await freePort();
    const env = environmentOf({
      workload: {
        ref: { stack: "s", component: "web" },
        stackId: "s1",
        kind: "web",
        releaseHash: "h",
        releaseNumber: 1,
        artifact: { kind: "bundle", digest },
        command: chosen.runtime.command,
        workdir: ".",
        artifactEnv: chosen.runtime.env,
        env: {},
        secretValues: [],
        ports: [{ name: "http", protocol: "http" }],
        volumes: [],
        resources: {},
        probes: {},
        restart: "always",
        gracePeriod: 1000,
        securityProfile: "restricted",
        tools: [],
      },
      instance: "i1",
      ports: { http: port },
      root,
      home,
      tmp: home,
      path: [...dirs, ...standardPath].join(":"),
      volumes: {},
    });
    const { command } = chosen.runtime;
    const [program = "", ...args] = "exec" in command ? command.exec : ["/bin/sh", "-c", command.shell];
    let output = "";
    child = spawn(program, args, {
      cwd: root,
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      ...(host.user === undefined ? {} : { uid: host.user.uid, gid: host.user.gid }),
    });
    const failed = new Promise<never>((_resolve, reject) => {
      child?.once("error", (error) => {
        reject(error);
      });
      child?.once("exit", (code, signal) => {
        reject(new Error(`it ended with ${String(code ?? signal)}:\n${output}`));
      });
    });
    failed.catch(() => undefined);
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (data: Buffer) => {
        output += data.toString();
      });
    return await Promise.race([failed, firstAnswer(port, () => output)]);
  } finally {
    end(child);
    rmSync(top, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function end(child: ChildProcess | undefined): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

async function firstAnswer(port: number, output: () => string): Promise<Answered> {
  const until = performance.now() + 120_000;
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/`);
      return { status: response.status, body: await response.text() };
    } catch (error) {
      if (performance.now() > until) throw new Error(`nothing answered:\n${output()}`, { cause: error });
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }
}

/** Below those that the kernel gives to whoever asks for any port: nobody else has it when the program begins to listen at last. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = randomInt(10_000, 20_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => {
      server.close(resolve);
    });
    return port;
  }
  throw new Error("no port is free");
}

/** A new folder that every user may pass, as Berth's home is. */
function openFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(folder, 0o755);
  return folder;
}
