// Measures how large images are that Berth composes, against those of a well-written Dockerfile on the same base images: `npm run bench:images -- [--json]`. As root, with Docker's
// programs and debootstrap. Uses the installation that BERTH_HOME and BERTH_DOCKER_HOST name when it made its own base images, else makes some on a dockerd of its own, which takes five
// minutes. Leaves nothing behind, and ends with 1 when a composed image is larger.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeBases } from "../../packages/server/src/builders/bases/make.ts";
import { readBases } from "../../packages/server/src/builders/bases/record.ts";
import { createDockerBuilder } from "../../packages/server/src/builders/image/docker.ts";
import { folderBlobs } from "../../packages/server/src/builders/testing/blobs.ts";
import { folderTar, streamOf } from "../../packages/server/src/builders/testing/tarball.ts";
import { readConfig, type Config } from "../../packages/server/src/config.ts";
import { planOf } from "../../packages/server/src/core/buildplan/tree.fixture.ts";
import { catalogueOf, currentBases } from "../../packages/server/src/core/image/bases.ts";
import { chooseBase, type Catalogue } from "../../packages/server/src/core/image/catalogue.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { startDockerd } from "../../packages/server/src/docker/testing/daemon.ts";
import { pathsOf } from "../../packages/server/src/paths.ts";
import { makingDeps, openDaemon } from "../../packages/server/src/server/images/making.ts";
import { holds, loadLine, note, report } from "../shared/bars.ts";
import { startRegistry } from "./registry.ts";
import { goSample, nodeSample, packages, type Sample } from "./samples.ts";

const { values: flags } = parseArgs({ options: { json: { type: "boolean", default: false } } });
const modules = join(import.meta.dirname, "..", "..", "node_modules");
const signal = new AbortController().signal;
const wanted = ["debian", "node", "go"];

interface Ground {
  readonly api: DockerApi;
  readonly catalogue: Catalogue;
}

/** The bases of an installation that has them; undefined otherwise. */
async function installed(config: Config): Promise<Ground | undefined> {
  const { bases } = readBases(pathsOf(config.home, config.runDir).bases);
  const names = currentBases(bases).map(({ name }) => name);
  if (config.engine.kind !== "docker" || !wanted.every((name) => names.includes(name))) return undefined;
  return { api: await openDaemon(config, signal), catalogue: catalogueOf({}, bases) };
}

async function withGround<T>(folder: string, use: (ground: Ground) => Promise<T>): Promise<T> {
  const config = readConfig();
  const ground = await installed(config);
  if (ground !== undefined) {
    try {
      return await use(ground);
    } finally {
      ground.api.close();
    }
  }
  await using daemon = await startDockerd();
  const api = new DockerApi(daemon.endpoint);
  try {
    const paths = pathsOf(folder, folder);
    const deps = makingDeps(config, paths, api, undefined, {
      clock: () => new Date(),
      onProgress: (event) => {
        if (event.type === "started") note(`Making ${event.recipe.name} ...`);
      },
      signal,
    });
    await makeBases(deps, wanted, { force: false, signal });
    return await use({ api, catalogue: catalogueOf({}, readBases(paths.bases).bases) });
  } finally {
    api.close();
  }
}

interface Sizes {
  readonly sample: string;
  readonly composed: number;
  readonly written: number;
  readonly base: number;
}

async function sizesOf({ api, catalogue }: Ground, sample: Sample, folder: string, env: Readonly<Record<string, string>>): Promise<Sizes> {
  const blobs = await folderBlobs(join(folder, "blobs"));
  const builder = createDockerBuilder({
    api,
    blobs,
    catalogue: () => catalogue,
    labels: {},
    staticServer: () => Promise.reject(new Error("no sample is a static site")),
    network: "host",
  });
  const sizeOf = async (image: string): Promise<number> => (await api.json<{ Size: number }>("GET", `/images/${image}/json`)).Size;
  const images: string[] = [];
  const build = async (name: string, files: Sample["files"]): Promise<number> => {
    const { digest } = await blobs.put(streamOf(await folderTar(files)));
    const lines: string[] = [];
    const plan = planOf(files, { prefer: "image" });
    const request = { id: `${name}-${String(process.pid)}`, stackId: "bench", stackName: "bench", sourceDigest: digest, plan, env };
    const outcome = await builder.build(
      { ...request, secretValues: [], deadline: 600_000 },
      (event) => {
        if (event.type === "log") lines.push(event.line.text);
      },
      signal,
    );
    if (!outcome.ok) throw new Error(`${name}: ${JSON.stringify(outcome.cause)}\n${lines.slice(-20).join("\n")}`);
    images.push(`berth/bench:${request.id}`);
    return sizeOf(outcome.digest);
  };
  const runtime = sample === goSample ? "go" : "node";
  const found = chooseBase(catalogue, runtime, "*");
  if (!found.ok) throw new Error(`no base for ${runtime}`);
  const run = found.base.run ?? catalogue.os;
  try {
    const composed = await build(`${runtime}-composed`, sample.files);
    const own = { Dockerfile: sample.dockerfile(found.base.build, run), ".dockerignore": "Dockerfile\n.dockerignore\n" };
    const written = await build(`${runtime}-written`, { ...sample.files, ...own });
    return { sample: sample.name, composed, written, base: await sizeOf(run) };
  } finally {
    for (const image of images) await api.json("DELETE", `/images/${image}`);
  }
}

const folder = mkdtempSync(join(tmpdir(), "berth-bench-images-"));
try {
  await using registry = await startRegistry(modules, [...packages.dependencies, ...packages.devDependencies], folder);
  const samples = [await nodeSample(modules, registry.url, join(folder, "sample")), goSample];
  process.exitCode = await withGround(folder, async (ground) => {
    const sizes: Sizes[] = [];
    for (const sample of samples) {
      note(`${sample.name}: ${loadLine()}`);
      sizes.push(await sizesOf(ground, sample, folder, sample === goSample ? {} : { npm_config_registry: registry.url }));
    }
    const bytes = (size: number): string => size.toLocaleString("en");
    const table = [
      ["sample", "composed, bytes", "by hand, bytes", "ratio", "of that the base, bytes", "over the base, ratio"],
      ...sizes.map(({ sample, composed, written, base }) => [
        sample,
        bytes(composed),
        bytes(written),
        (composed / written).toFixed(4),
        bytes(base),
        ((composed - base) / (written - base)).toFixed(4),
      ]),
    ];
    const bars = sizes.map(({ sample, composed, written }) =>
      holds(`${sample}: not larger than by hand`, `${bytes(composed - written)} bytes more`, composed <= written),
    );
    return report([table], bars, flags.json);
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
