// Starts the edge when it does not run. The edge is a process of its own that a stop of the control plane leaves alone (promise 2).
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, renameSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import type { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Config } from "../config.ts";
import type { Paths } from "../paths.ts";

export interface EdgeStart { readonly started: boolean; readonly router: { readonly host: string; readonly port: number } }

/** The edge's entry: beside this file in the bundle, below `src` in a checkout. */
export function edgeEntry(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "edge.js");
  return existsSync(bundled) ? bundled : join(here, "..", "edge", "main.ts");
}

/** Makes sure that the edge runs and obeys this installation. Throws with the end of its log when it does not come up. */
export async function ensureEdge(config: Config, paths: Paths, installation: string, traffic: EdgeTraffic, signal: AbortSignal): Promise<EdgeStart> {
  const running = await hello(traffic, signal);
  if (running !== undefined) return { started: false, router: running.router };
  mkdirSync(dirname(paths.edgeConfig), { recursive: true, mode: 0o711 });
  mkdirSync(dirname(paths.edgeLog), { recursive: true, mode: 0o700 });
  writeAtomically(paths.edgeConfig, JSON.stringify({
    home: paths.home, runDir: paths.run, installation, version: config.version, router: { host: config.router.host, port: config.router.port, portIsDefault: config.router.portIsDefault }, workers: Math.max(2, availableParallelism()),
  }));
  const log = openSync(paths.edgeLog, "a", 0o600);
  const child = spawn(process.execPath, [edgeEntry(), paths.edgeConfig], { detached: true, stdio: ["ignore", log, log], env: config.childEnv, cwd: paths.home });
  const ended = new Promise<string>((resolve) => { child.once("exit", (code, by) => { resolve(`it ended with ${by ?? `exit code ${code}`}`); }).once("error", (error) => { resolve(error.message); }); });
  child.unref();
  const until = Date.now() + 20_000;
  for (;;) {
    const answer = await hello(traffic, signal);
    if (answer !== undefined) return { started: true, router: answer.router };
    const failed = await Promise.race([ended, delay(25, undefined, { signal })]);
    if (failed !== undefined || Date.now() > until) throw new Error(`The edge did not come up: ${failed ?? "no answer within 20 s"}. Its log is ${paths.edgeLog}.`);
  }
}

async function hello(traffic: EdgeTraffic, signal: AbortSignal): Promise<Awaited<ReturnType<EdgeTraffic["hello"]>> | undefined> {
  try {
    return await traffic.hello(signal);
  } catch (error) {
    signal.throwIfAborted();
    // Not running and not yet listening look the same; both end by starting or by waiting.
    if ((error as { code?: unknown }).code === "engine_unavailable") return undefined;
    throw error;
  }
}

export function writeAtomically(file: string, text: string, mode = 0o600): void {
  writeFileSync(`${file}.new`, text, { mode });
  renameSync(`${file}.new`, file);
}
