// Runs the program `buildah` in its box, and ends it with everything that it started. Knows nothing of plans or images.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { killProcesses } from "../process.ts";
import { authFile, boxed, boxPath, type Box } from "./buildah-box.ts";

/** In the environment of what runs in a box: by it, one that a crashed control plane left is found. */
const mark = "BERTH_BUILD_FOLDER";

export interface BuildahCall {
  readonly args: readonly string[];
  /** Beside what Buildah needs itself. */
  readonly env: Readonly<Record<string, string>>;
  /** A file of credentials, as `--authfile` has it. */
  readonly auth?: string;
  /** Each line of what it tells. `merged`: what it prints as well, in its order. */
  readonly onLine: (line: string) => void;
  readonly output: "merged" | "apart";
  readonly signal: AbortSignal;
}

export interface BuildahRun {
  /** What it prints when that comes apart. Has to be read to its end; an aborted signal ends it early. */
  readonly stdout: Readable;
  /** Once everything in the box is gone and all that it told was read. Rejects when the program cannot be started or `onLine` throws. */
  readonly ended: Promise<{ readonly code: number | null }>;
}

/** `program`: `buildah` by its absolute path. */
export function startBuildah(program: string, box: Box, call: BuildahCall): BuildahRun {
  const [first = "", ...args] = boxed(box, [program, ...call.args], { auth: call.auth !== undefined, output: call.output });
  const child = spawn(first, args, {
    cwd: "/",
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      ...call.env,
      PATH: [boxPath, "/sbin"].join(delimiter),
      HOME: "/root",
      TMPDIR: "/store/tmp",
      CONTAINERS_CONF: "/build/containers.conf",
      CONTAINERS_STORAGE_CONF: "/build/storage.conf",
      CONTAINERS_REGISTRIES_CONF: "/build/registries.conf",
      ...(call.auth === undefined ? {} : { REGISTRY_AUTH_FILE: authFile }),
      [mark]: box.folder,
    },
  });
  // Told of by its end; where no more files can be opened there is nothing else of it.
  child.on("error", () => undefined);
  // A box that ends before it has read is told of by its end.
  child.stdin.on("error", () => undefined);
  child.stdin.end(call.auth ?? "");
  const stop = (): void => {
    // The first process of the box goes with it, and the kernel ends everything in there.
    child.kill("SIGKILL");
    // Its reader may be gone already; nobody wants the rest.
    if (call.output === "apart") child.stdout.destroy();
  };
  if (call.signal.aborted) stop();
  else call.signal.addEventListener("abort", stop, { once: true });
  const lines = createInterface({ input: call.output === "merged" ? child.stdout : child.stderr, crlfDelay: Infinity });
  const said = call.output === "merged" ? child.stderr : undefined;
  const reading = (async () => {
    for await (const line of lines) call.onLine(line);
  })();
  said?.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n")) if (line !== "") call.onLine(line);
  });
  const ended = (async () => {
    try {
      const closed = once(child, "close") as Promise<[number | null]>;
      // Nobody may wait for it yet when it cannot be started.
      closed.catch(() => undefined);
      const [[code]] = await Promise.all([closed, reading]);
      return { code };
    } catch (error) {
      stop();
      throw error;
    } finally {
      call.signal.removeEventListener("abort", stop);
    }
  })();
  return { stdout: child.stdout, ended };
}

/** One call that makes nothing, such as `rmi --prune`. Throws with its last words when it fails, and the signal's reason. */
export async function callBuildah(program: string, box: Box, args: readonly string[], signal: AbortSignal): Promise<void> {
  const told: string[] = [];
  const { ended } = startBuildah(program, box, { args, env: {}, onLine: (line) => told.push(line), output: "merged", signal });
  const { code } = await ended;
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`buildah ${args[0] ?? ""} failed: ${told.at(-1) ?? "it said nothing"}`);
}

/** Ends what a crashed control plane left in the box of this folder. */
export async function endBox(folder: string): Promise<void> {
  await killProcesses({ leaders: [], recent: false, mark: `${mark}=${folder}` });
  await removeGroup(groupOf(folder));
}

/** The control group of a build's steps: `--cgroup-parent`. */
export function groupOf(folder: string): string {
  return `/berth-build-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`;
}

/** An end by force leaves empty groups behind, in every tree that this machine has; for a moment, what was ended is still in them. */
export async function removeGroup(group: string, top = "/sys/fs/cgroup"): Promise<void> {
  if (!existsSync(top)) return;
  const trees = [top, ...readdirSync(top, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [join(top, one.name)] : []))];
  for (let round = 0; round < 40; round += 1) {
    const left = trees.map((tree) => join(tree, group)).filter((folder) => !isRemoved(folder));
    if (left.length === 0) return;
    await pause(50);
  }
}

function isRemoved(folder: string): boolean {
  if (!existsSync(folder)) return true;
  try {
    for (const one of readdirSync(folder, { withFileTypes: true }))
      if (one.isDirectory() && !isRemoved(join(folder, one.name))) return false;
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return true;
    if (code === "EBUSY") return false;
    throw error;
  }
}
