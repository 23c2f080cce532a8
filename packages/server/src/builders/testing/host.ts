// A host builder with a home of its own for tests: real folders, real programs, and as root a real other user.
import { execFileSync } from "node:child_process";
import { chmodSync, constants, copyFileSync, mkdirSync, mkdtempSync, realpathSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import type { BuildPlan, BuildStep } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest, FindTool, RunAs } from "../builder.ts";
import { createHostBuilder, type HostBuilderDeps } from "../host/build.ts";
import { receiveUpload } from "../source/upload.ts";
import { readTar } from "../untar.ts";
import { folderBlobs, type TestBlobs } from "./blobs.ts";
import { folderTar, streamOf } from "./tarball.ts";
import { isExecutable } from "../../os/programs.ts";

export interface TestHost {
  readonly home: string;
  readonly blobs: TestBlobs;
  readonly builder: Builder;
  readonly user: RunAs | undefined;
  upload(files: Readonly<Record<string, string | Buffer>>): Promise<string>;
  run(
    request: Partial<BuildRequest> & Pick<BuildRequest, "plan" | "sourceDigest">,
    signal?: AbortSignal,
  ): Promise<{ outcome: BuildOutcome; events: BuildEvent[]; text: string }>;
  content(digest: string): Promise<Map<string, string>>;
  dispose(): Promise<void>;
}

export const never = new AbortController().signal;
let builds = 0;

/** `user: "own"` builds as the test's own user even as root. */
export async function testHost(options: Partial<HostBuilderDeps> & { readonly user?: "own" } = {}): Promise<TestHost> {
  const top = mkdtempSync(join(tmpdir(), "berth-build-"));
  chmodSync(top, 0o711);
  const home = join(top, "home");
  mkdirSync(home, { mode: 0o711 });
  const user: RunAs | undefined = process.getuid?.() === 0 && options.user !== "own" ? { uid: 61_234, gid: 61_234 } : undefined;
  const blobs = await folderBlobs(join(top, "blobs"));
  chmodSync(join(top, "blobs"), 0o700);
  const builder = createHostBuilder({ home, blobs, findTool: findHere(join(top, "tools")), uidFor: () => user, ...options });
  return {
    home,
    blobs,
    builder,
    user,
    upload: async (files) => (await receiveUpload(streamOf(await folderTar(files)), { blobs, tmpDir: join(top, "tmp") }, never)).digest,
    run: async (request, signal = never) => {
      const events: BuildEvent[] = [];
      const outcome = await builder.build(
        {
          id: `b${String((builds += 1))}-${String(process.pid)}`,
          stackId: "s1",
          stackName: "shop",
          env: {},
          secretValues: [],
          deadline: 240_000,
          ...request,
        },
        (event) => events.push(event),
        signal,
      );
      return { outcome, events, text: events.flatMap((event) => (event.type === "log" ? [event.line.text] : [])).join("\n") };
    },
    content: async (digest) => {
      const found = new Map<string, string>();
      for await (const { raw, content } of readTar(await blobs.open(digest), { signal: never })) {
        const chunks: Buffer[] = [];
        for await (const data of content) chunks.push(data);
        found.set(raw.name, raw.type === "symlink" ? `-> ${raw.linkname ?? ""}` : Buffer.concat(chunks).toString());
      }
      return found;
    },
    dispose: () => rm(top, { recursive: true, force: true }),
  };
}

/** The programs of this machine, taken as they are; a Node.js that another user may not pass to is copied to where they may. */
function findHere(dir: string): FindTool {
  return (name, wanted) => {
    if (name === "node")
      return Promise.resolve({ ok: true, path: nodeFor(dir), version: process.versions.node, binDir: dirname(nodeFor(dir)) });
    const path = ["/usr/local/bin", "/usr/bin", "/bin"]
      .map((folder) => join(folder, name === "python" ? "python3" : name))
      .find(isExecutable);
    if (path === undefined)
      return Promise.resolve({
        ok: false,
        cause: cause("tool_missing", { tool: name, wanted: wanted === "*" ? "" : ` ${wanted}`, how: "Install it." }),
      });
    return Promise.resolve({
      ok: true,
      path,
      version:
        /\d+(?:\.\d+)+/.exec(
          execFileSync(path, ["--version"], {
            encoding: "utf8",
            env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, HOME: dirname(dir) },
          }),
        )?.[0] ?? "0",
      binDir: dirname(path),
    });
  };
}

function nodeFor(dir: string): string {
  const real = realpathSync(process.execPath);
  for (let at = real; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) break;
    if (dirname(at) === at) return real;
  }
  const copy = join(dir, basename(real));
  if (!isExecutable(copy)) {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    copyFileSync(real, copy, constants.COPYFILE_FICLONE);
    chmodSync(copy, 0o755);
  }
  return copy;
}

export function planOf(parts: Partial<BuildPlan> = {}): BuildPlan {
  return {
    kind: "procfile",
    root: ".",
    tools: [],
    steps: [],
    processes: {},
    env: {},
    caches: [],
    exclude: [],
    findings: [],
    warnings: [],
    ...parts,
  };
}

export function stepOf(command: Command | string, parts: Partial<BuildStep> = {}): BuildStep {
  return {
    name: "build",
    command: typeof command === "string" ? { shell: command } : command,
    why: "test",
    inputs: [],
    outputs: [],
    network: false,
    ...parts,
  };
}

/** Waits until the condition holds; fails with its name when it does not within a minute. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
