// The demo where instances are containers: a daemon that answers, a home that is of that engine, and base images. Makes base images once where the daemon has none to build on.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { readBases } from "../../packages/server/src/builders/bases/record.ts";
import { readConfig, type Config } from "../../packages/server/src/config.ts";
import { catalogueOf, currentBases } from "../../packages/server/src/core/image/bases.ts";
import { chooseBase } from "../../packages/server/src/core/image/catalogue.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { parseEndpoint } from "../../packages/server/src/docker/endpoint.ts";
import { DockerError } from "../../packages/server/src/docker/errors.ts";
import { pathsOf } from "../../packages/server/src/paths.ts";
import { makingDeps, openDaemon } from "../../packages/server/src/server/images/making.ts";
import { ImagesRefused } from "../../packages/server/src/server/images/refused.ts";
import type { Progress } from "../progress.mjs";
import { DemoError, root, show } from "./berth.ts";
import { checkCluster } from "./cluster.ts";
import type { Places, Record_ } from "./record.ts";

export type DemoEngine = "local" | "docker" | "kubernetes";

/** What a home of the demo runs itself. For a cluster it is Docker, which builds the images. */
const ownEngine = (wanted: DemoEngine): "local" | "docker" => (wanted === "kubernetes" ? "docker" : wanted);

/** What the guestbook is built on, besides the operating system. */
const runtimes = ["node", "python"] as const;
const never = new AbortController().signal;

/** Refuses what cannot work, before anything is made. */
export async function checkEngine(wanted: DemoEngine, where: Places): Promise<void> {
  const config = readConfig();
  const isNew = !existsSync(join(where.home, "installation.json"));
  if (config.engine.kind !== ownEngine(wanted) && !isNew)
    throw new DemoError(
      `The Berth in ${where.home} runs ${config.engine.kind === "local" ? "processes" : "containers"}, and a home is of one engine for good.`,
      `Take that demo down first (npm run demo -- --down), or have a second one beside it: BERTH_HOME=~/berth-${wanted} npm run demo -- --engine ${wanted}`,
    );
  if (wanted === "local") return;
  if (wanted === "kubernetes") checkCluster();
  const docker = withDocker(config);
  try {
    (await openDaemon(docker, never)).close();
  } catch (error) {
    throw error instanceof ImagesRefused ? new DemoError(error.message, error.hint) : error;
  }
  if (process.getuid?.() !== 0)
    throw new DemoError(
      "Containers of a stack find each other through routes of this machine, which only root may set.",
      `Run this as root: sudo npm run demo -- --engine ${wanted}`,
    );
}

/** As config.json will say it; where the daemon is was told by the environment, or is the usual place. */
function withDocker(config: Config): Config {
  if (config.engine.kind === "docker") return config;
  return readConfig({ ...process.env, BERTH_ENGINE: "docker" });
}

/** A new home of the demo's own is told once what it is for: later commands need no variables for it. */
export function settleEngine(wanted: DemoEngine, where: Places, record: Record_): void {
  if (wanted === "local") return;
  const file = join(where.home, "config.json");
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as object) : {};
  const config = readConfig();
  const { engine } = withDocker(config);
  const isSettled = config.engine.kind === "docker" && (wanted === "docker" || "registry" in before);
  if (isSettled) return;
  if (!record.made.includes(where.home))
    throw new DemoError(
      `${where.home} was there before, so the demo does not change what it is for.`,
      `Give the demo a home of its own: BERTH_HOME=~/berth-${wanted} npm run demo -- --engine ${wanted}`,
    );
  const daemon = engine.kind === "docker" ? { dockerHost: engine.docker } : {};
  const registry = wanted === "kubernetes" ? { registry: config.registry } : {};
  writeFileSync(file, `${JSON.stringify({ ...before, engine: "docker", ...daemon, ...registry }, null, 2)}\n`);
}

/** Makes the base images that the guestbook needs, unless the daemon has some or config.json names others. */
export async function haveBases(progress: Progress): Promise<void> {
  const config = readConfig();
  if (config.engine.kind !== "docker") return;
  const paths = pathsOf(config.home, config.runDir);
  const api = new DockerApi(parseEndpoint(config.engine.docker));
  try {
    const missing = await missingBases(config, paths.bases, api);
    if (missing.length === 0) return;
    const reason = whyNot(config, paths, api);
    if (reason !== undefined) {
      progress.note(`Base images cannot be made here: ${reason} Docker pulls those of each runtime's makers instead.`);
      return;
    }
    progress.line(`\n${progress.bold(`berth images build ${missing.join(" ")}`)}  ${progress.dim("(once; a few minutes)")}`);
    const code = await show(["images", "build", ...missing], { cwd: root });
    if (code !== 0)
      throw new DemoError(
        `The base images were not made (exit code ${code}).`,
        "The lines above say why. `npm run demo -- --engine docker` goes on from here; images of a registry can be named in config.json instead (docs/guide/images.md).",
      );
    progress.line("");
  } finally {
    api.close();
  }
}

/** By the names that `berth images build` takes. */
async function missingBases(config: Config, record: string, api: DockerApi): Promise<string[]> {
  const { bases } = readBases(record);
  const catalogue = catalogueOf(config.images, bases);
  const lacking: string[] = [];
  if (!(await hasImage(api, catalogue.os))) lacking.push("debian");
  for (const runtime of runtimes) {
    const found = chooseBase(catalogue, runtime, "*");
    if (!found.ok || !(await hasImage(api, found.base.build)) || !(await hasImage(api, found.base.run ?? catalogue.os)))
      lacking.push(runtime);
  }
  const named = config.images.os !== undefined || config.images.runtimes !== undefined;
  return named && currentBases(bases).length === 0 ? [] : lacking;
}

async function hasImage(api: DockerApi, reference: string): Promise<boolean> {
  try {
    await api.json("GET", `/images/${reference}/json`);
    return true;
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return false;
    throw error;
  }
}

/** undefined: nothing is in the way. */
function whyNot(config: Config, paths: ReturnType<typeof pathsOf>, api: DockerApi): string | undefined {
  try {
    makingDeps(config, paths, api, undefined, { clock: () => new Date(), onProgress: () => undefined, signal: never });
    return undefined;
  } catch (error) {
    if (error instanceof ImagesRefused) return `${error.message} (${error.hint})`;
    throw error;
  }
}
