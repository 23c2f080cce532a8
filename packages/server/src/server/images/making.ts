// What making base images needs of this machine, and why it cannot be done where something is missing: said before anything is begun.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { openApt } from "../../builders/bases/apt.ts";
import { bootstrap } from "../../builders/bases/debian.ts";
import type { MakingDeps } from "../../builders/bases/make.ts";
import { fileSources, machineSources, type DebianSources } from "../../builders/bases/sources.ts";
import type { Config } from "../../config.ts";
import { baseRecipes } from "../../core/image/bases.ts";
import { DockerApi } from "../../docker/api.ts";
import { parseEndpoint } from "../../docker/endpoint.ts";
import { DockerUnreachable } from "../../docker/errors.ts";
import type { Paths } from "../../paths.ts";
import { ImagesRefused } from "./refused.ts";
import { findOnPath } from "../../os/programs.ts";

/** Whose package each comes from. */
const programs = { debootstrap: "debootstrap", "apt-get": "apt", setpriv: "util-linux", unshare: "util-linux", tar: "tar" } as const;

/** Where an ordinary PATH of root may not look. */
const systemFolders = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/** The major version of npm that the makers of this Node.js deliver with it. */
const npmRange = "11";

export interface GivenSources {
  readonly file: string;
  readonly suite: string;
}

/** The daemon of the installation. Errors: `images_need_docker`, `docker_unreachable`. The caller closes it. */
export async function openDaemon(config: Config, signal: AbortSignal): Promise<DockerApi> {
  if (config.engine.kind !== "docker")
    throw new ImagesRefused(
      "images_need_docker",
      "This installation runs processes, which are built on no base images.",
      "Use it with containers: BERTH_ENGINE=docker with a home of its own (BERTH_HOME), or `npm run demo -- --engine docker`.",
    );
  const api = new DockerApi(parseEndpoint(config.engine.docker));
  try {
    await api.version(signal);
    return api;
  } catch (error) {
    api.close();
    if (!(error instanceof DockerUnreachable)) throw error;
    throw unreachable(error);
  }
}

export function unreachable(error: DockerUnreachable): ImagesRefused {
  return new ImagesRefused(
    "docker_unreachable",
    `No Docker daemon answers: ${error.message}.`,
    error.code === "EACCES" || error.code === "EPERM"
      ? "Run this as root, or as a member of the socket's group."
      : "Start it (`systemctl start docker`), or name another one with BERTH_DOCKER_HOST=unix:///path/of/its/socket.",
    { cause: error },
  );
}

/** Errors: `images_need_root`, `program_missing`, `debian_sources_missing`. */
export function makingDeps(
  config: Config,
  paths: Paths,
  api: DockerApi,
  given: GivenSources | undefined,
  rest: Pick<MakingDeps, "clock" | "onProgress"> & { readonly signal: AbortSignal },
): MakingDeps {
  if (process.getuid?.() !== 0)
    throw new ImagesRefused(
      "images_need_root",
      "Base images are made by root: debootstrap sets up a whole system with its owners.",
      "Run this with sudo and the same BERTH_HOME, or name images of a registry in config.json (docs/guide/images.md).",
    );
  const path = [config.systemPath, ...systemFolders].join(delimiter);
  for (const [program, name] of Object.entries(programs))
    if (findOnPath(program, path) === undefined)
      throw new ImagesRefused("program_missing", `${program} is not installed.`, `Install it: apt-get install ${name}`);
  const npm = findOnPath("npm", path);
  if (npm === undefined)
    throw new ImagesRefused("program_missing", "npm is not installed.", "Install it: it comes with Node.js, or as the package npm.");
  const sources = sourcesOf(given);
  const env = { ...config.childEnv, ...config.networkEnv, PATH: path };
  const running = { signal: rest.signal, env };
  const folder = join(paths.images, "making");
  return {
    api,
    record: paths.bases,
    folder,
    clock: rest.clock,
    onProgress: rest.onProgress,
    recipes: baseRecipes,
    bootstrap: (root) => bootstrap(root, { suite: sources.suite, mirror: sources.mirror, ...running }),
    openApt: () => openApt(join(folder, "work"), sources.sources, running),
    own: { node: { path: process.execPath, version: process.version.replace(/^v/, "") }, npm: { command: npm, range: npmRange } },
    env,
  };
}

function sourcesOf(given: GivenSources | undefined): DebianSources {
  const found = given === undefined ? machineSources() : existsSync(given.file) ? fileSources(given.file, given.suite) : undefined;
  if (found !== undefined) return found;
  throw new ImagesRefused(
    "debian_sources_missing",
    given === undefined
      ? "The apt sources of this machine (/etc/apt) name no Debian release with its component main."
      : `${given.file} names no source of Debian's ${given.suite} with its component main.`,
    "Name them: `berth images build --sources FILE --suite bookworm`, where FILE is written as sources.list(5) says.",
  );
}
