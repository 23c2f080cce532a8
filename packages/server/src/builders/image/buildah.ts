// The image builder over Buildah, for hosts of podman: podman's own service goes on with a build when its client is gone. Each build runs in a box of its own
// (buildah-box.ts) upon its stack's store, and what came of it is handed to the service that runs it as an archive: why so is decision 32.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { secretsOf } from "../../core/buildplan/needs.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import type { DockerApi } from "../../docker/api.ts";
import { authFileOf } from "../../docker/registry-auth.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import type { BuildLog } from "../log.ts";
import { withAdditions } from "./additions.ts";
import { attempt, layOutContext, type Attempting } from "./attempt.ts";
import { BuildahReader } from "./buildah-answer.ts";
import { archiveFile, ownNetwork, settingsOf, type Box } from "./buildah-box.ts";
import { forBuildah } from "./buildah-file.ts";
import { callBuildah, endBox, groupOf, removeGroup, startBuildah } from "./buildah-run.ts";
import { BuildahStores } from "./buildah-stores.ts";
import type { ImageFacts } from "./facts.ts";
import { imageLabels } from "./labels.ts";
import { loadIntoDocker } from "./output.ts";
import { checkImagePlan, prepareBuild, type PreparedBuild, type Preparing } from "./prepare.ts";

export interface BuildahBuilderDeps extends Preparing, Attempting {
  /** `buildah` by its absolute path. */
  readonly program: string;
  /** Gives steps a network of their own (`slirp4netns`); undefined: they have the machine's. */
  readonly slirp?: string | undefined;
  /** Who runs the images. Those that it keeps on this machine can be built upon. */
  readonly api: DockerApi;
  /** Whether what the daemon says of its own folders is about this machine. */
  readonly isHere: boolean;
  /** A folder of this builder's own, on a disk with room for sources. */
  readonly folder: string;
  /** What is kept for later builds. */
  readonly stores: string;
  /** Bytes that all stacks' stores may keep together after a build. */
  readonly cacheBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly logins?: () => Promise<readonly RegistryLogin[]>;
  /** Proxies, as steps and pulls need them. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes of memory that each step may use; undefined: no limit. */
  readonly memory?: number;
}

const idFile = "id";

export function createBuildahBuilder(deps: BuildahBuilderDeps): Builder {
  const stores = new BuildahStores(deps.stores);
  const output = loadIntoDocker(deps.api);
  const running = new Set<string>();

  function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    return attempt(deps, request, { onEvent, signal }, async (log, either) => {
      const prepared = await prepareBuild(deps, request, "buildah", { cachePrefix: "berth" }, either);
      if (!prepared.ok) return prepared;
      const folder = join(deps.folder, request.id);
      running.add(request.id);
      const store = await stores.take(request.stackId);
      try {
        await clear(folder);
        const box = await layOut(folder, store.path, request, prepared.build, either);
        // Of a build that was ended: what it had begun is in the store, and nobody's.
        if (store.alone && existsSync(join(store.path, "root"))) await callBuildah(deps.program, box, ["rm", "--all"], either);
        const outcome = await execute(box, request, prepared.build, log, onEvent, either);
        await bound(box, log, signal);
        return outcome;
      } finally {
        await removeGroup(groupOf(folder));
        await rm(folder, { recursive: true, force: true });
        stores.release(store.path);
        running.delete(request.id);
      }
    });
  }

  async function layOut(folder: string, store: string, request: BuildRequest, build: PreparedBuild, signal: AbortSignal): Promise<Box> {
    await layOutContext(deps.blobs, request, build, { folder, empty: ["root"] }, signal);
    const { driver, bases } = await storageOf(deps.api, deps.isHere, signal);
    const logins = (await deps.logins?.()) ?? [];
    const plainHttp = logins.filter((login) => login.plainHttp).map(({ host }) => host);
    for (const [name, text] of Object.entries(settingsOf({ driver, bases: bases !== undefined }, plainHttp)))
      await writeFile(join(folder, name), text);
    return { folder, store, bases, slirp: deps.slirp };
  }

  async function execute(
    box: Box,
    request: BuildRequest,
    prepared: PreparedBuild,
    log: BuildLog,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<BuildOutcome> {
    const { plan } = request;
    const labels = imageLabels(request, deps.labels);
    const script = withAdditions(
      { ...prepared.script, ...forBuildah(prepared.script) },
      { stackId: request.stackId, labels, target: plan.target },
    );
    await writeFile(join(box.folder, "Dockerfile"), script.text);
    const asked = secretsOf(script.instructions).flatMap(({ id }) => {
      const value = request.secrets?.[id];
      return value === undefined ? [] : [{ id, value }];
    });
    const reader = new BuildahReader({ log, onEvent, script });
    const logins = (await deps.logins?.()) ?? [];
    const { ended } = startBuildah(deps.program, box, {
      args: buildArgs(box, request, asked),
      env: { ...deps.env, ...Object.fromEntries(asked.map(({ value }, index) => [secretVariable(index), value])) },
      auth: authFileOf(logins),
      onLine: (line) => reader.line(line),
      output: "merged",
      signal,
    });
    const { code } = await ended.finally(() => reader.stop());
    signal.throwIfAborted();
    if (code !== 0) {
      const why = reader.failure();
      if (why === undefined) throw new Error(`buildah ended with code ${String(code)}: ${reader.lastWords()}`);
      return { ok: false, cause: why };
    }
    reader.finish();
    const id = (await readFile(join(box.folder, idFile), "utf8")).trim().replace(/^sha256:/, "");
    const facts = await handOver(box, id, request, signal);
    return { ok: true, ...facts, tools: [] };
  }

  /** The daemon takes what it lacks of it; its name keeps it from a cleaning of what is unused and nameless. */
  async function handOver(box: Box, id: string, request: BuildRequest, signal: AbortSignal): Promise<ImageFacts> {
    const told: string[] = [];
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const args = ["push", "--quiet", id, `docker-archive:${archiveFile}`];
    const run = startBuildah(deps.program, box, { args, env: {}, onLine: (line) => told.push(line), output: "apart", signal: either });
    const archive = (async function* whole(): AsyncGenerator<Buffer> {
      yield* run.stdout as AsyncIterable<Buffer>;
      const { code } = await run.ended;
      if (code !== 0) throw new Error(`buildah push ended with code ${String(code)}: ${told.at(-1) ?? ""}`);
    })();
    let facts: ImageFacts;
    try {
      facts = await output.take(archive, request.plan, signal);
    } catch (error) {
      failed.abort(error);
      await run.ended.catch(() => undefined);
      signal.throwIfAborted();
      throw error;
    }
    await deps.api.json("POST", `/images/${facts.digest}/tag`, { query: { repo: `berth/${request.stackName}`, tag: request.id }, signal });
    return facts;
  }

  function buildArgs(box: Box, request: BuildRequest, asked: readonly { readonly id: string }[]): string[] {
    const { plan, env } = request;
    const secret = ({ id }: { readonly id: string }, index: number): string[] => ["--secret", `id=${id},env=${secretVariable(index)}`];
    return [
      "build",
      // The daemon's own format: in the other one, health checks and shells of a Dockerfile are lost.
      ...["--format", "docker", "--layers", "--force-rm", "--identity-label=false", "--isolation", "oci", "--retry", "1"],
      ...["--file", "/build/Dockerfile", "--ignorefile", "/build/ignore", "--iidfile", `/build/${idFile}`, "--tag", lastName(request)],
      ...["--cgroup-parent", groupOf(box.folder)],
      ...(deps.slirp === undefined ? ["--network", "host"] : ownNetwork),
      ...(deps.memory === undefined ? [] : ["--memory", String(deps.memory), "--memory-swap", String(deps.memory)]),
      ...(plan.target === undefined ? [] : ["--target", plan.target.toLowerCase()]),
      ...Object.entries(env).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
      ...asked.flatMap(secret),
      "/build/context",
    ];
  }

  /** Other stacks' stores go first, then what is not the last image of a component, then all of it. */
  async function bound(box: Box, log: BuildLog, signal: AbortSignal): Promise<void> {
    if (!existsSync(join(box.store, "root"))) return;
    await stores.measure(box.store);
    await stores.removeOldest(deps.cacheBytes);
    if ((await stores.total()) <= deps.cacheBytes || !stores.isUsedAlone(box.store)) return;
    await callBuildah(deps.program, box, ["rmi", "--prune", "--force"], signal);
    if ((await stores.measure(box.store)) <= deps.cacheBytes) return;
    log.say("What is kept for this stack's builds is more than it may be; the next one begins anew.");
    await stores.remove(box.store);
  }

  return {
    kind: "image",
    check: (plan) => Promise.resolve(checkImagePlan(plan, deps.catalogue(), "buildah")),
    build,
    forget: (stackId) => stores.remove(stores.pathOf(stackId)),
    sweep: async (isActive) => {
      await stores.sweep();
      await mkdir(deps.folder, { recursive: true, mode: 0o700 });
      for (const id of await readdir(deps.folder)) if (!isActive(id) && !running.has(id)) await clear(join(deps.folder, id));
    },
  };
}

async function clear(folder: string): Promise<void> {
  await endBox(folder);
  await rm(folder, { recursive: true, force: true });
}

/** How the daemon keeps images, and where, as far as that can be read here. */
async function storageOf(
  api: DockerApi,
  isHere: boolean,
  signal: AbortSignal,
): Promise<{ readonly driver: string; readonly bases: string | undefined }> {
  const { Driver: driver = "", DockerRootDir: root = "" } = await api.json<{ Driver?: string; DockerRootDir?: string }>("GET", "/info", {
    signal,
  });
  const bases = isHere && existsSync(join(root, `${driver}-images`)) ? root : undefined;
  return { driver: bases !== undefined || driver === "vfs" ? driver : "overlay", bases };
}

/** In its store, the last image of a component has this name. */
function lastName({ plan }: BuildRequest): string {
  const of = JSON.stringify([plan.root, plan.dockerfile, plan.target, plan.processes]);
  return `localhost/berth-last:${createHash("sha256").update(of).digest("hex").slice(0, 16)}`;
}

const secretVariable = (index: number): string => `BERTH_SECRET_${String(index)}`;
