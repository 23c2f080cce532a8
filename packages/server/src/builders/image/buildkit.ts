// The image builder over BuildKit. The context is unpacked into a private folder for as long as the build takes, since the client reads folders; secrets are
// in the client's environment and nowhere on a disk. What stacks may share in BuildKit's caches, and why no more, is decision 23.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Built } from "../../core/attest/built.ts";
import type { BaseImage } from "../../core/attest/provenance.ts";
import { secretsOf } from "../../core/buildplan/needs.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import { authVariable } from "../../docker/registry-auth.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import type { BuildLog } from "../log.ts";
import { killProcesses } from "../process.ts";
import { attempt, layOutContext, type Attempting } from "./attempt.ts";
import { callBuildctl, isUnreachable, lastWords, startBuildctl, BuildkitUnreachable, type Buildkit } from "./buildctl.ts";
import { imageLabels } from "./labels.ts";
import type { ImageOutput } from "./output.ts";
import { checkImagePlan, prepareBuild, type PreparedBuild, type Preparing } from "./prepare.ts";
import { SolveReader } from "./solve.ts";
import { basesOfBuildkit } from "./used.ts";

/** An image that is taken from a folder (an OCI image layout) instead of a registry. */
export interface LayoutImage {
  readonly folder: string;
  /** Of its manifest. */
  readonly digest: string;
}

export interface BuildkitBuilderDeps extends Preparing, Attempting {
  readonly buildkit: Buildkit;
  readonly output: ImageOutput;
  /** A folder of this builder's own, on a disk with room for sources. */
  readonly folder: string;
  /** On every image that this builder makes. */
  readonly labels: Readonly<Record<string, string>>;
  /** Of all registries that base images may come from; `standard`: what the registry of names without a host is called. */
  readonly logins?: (signal: AbortSignal) => Promise<{ readonly all: readonly RegistryLogin[]; readonly standard: string }>;
  /** By the name that a Dockerfile uses. */
  readonly layouts?: Readonly<Record<string, LayoutImage>>;
  /** Bytes that BuildKit's cache may keep after a build; it forgets what was not used for longest. undefined: as buildkitd itself is configured. */
  readonly cacheBytes?: number;
}

/** In the environment of the client: by it, one that a crashed control plane left is found. */
const mark = "BERTH_BUILD_FOLDER";
const dockerfileName = "Dockerfile";
/** Where the client writes what BuildKit calls the build. */
const refName = "ref";
/** Where it writes what became of the image. */
const metadataName = "metadata";
/** ms */
const pruneTime = 60_000;

export function createBuildkitBuilder(deps: BuildkitBuilderDeps): Builder {
  const running = new Set<string>();

  function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    return attempt(deps, request, { onEvent, signal }, async (log, either) => {
      const folder = join(deps.folder, request.id);
      running.add(request.id);
      try {
        const prepared = await prepareBuild(deps, request, "buildkit", { cachePrefix: "berth", networkNone: true }, either);
        if (!prepared.ok) return prepared;
        await clear(folder);
        await layOut(folder, request, prepared.build, either);
        const outcome = await solve(folder, request, prepared.build, log, onEvent, either);
        if (outcome.ok) await bound(log, signal);
        return outcome;
      } finally {
        await rm(folder, { recursive: true, force: true });
        running.delete(request.id);
      }
    });
  }

  async function layOut(folder: string, request: BuildRequest, build: PreparedBuild, signal: AbortSignal): Promise<void> {
    await layOutContext(deps.blobs, request, build, { folder, empty: ["dockerfile", "home"] }, signal);
    await writeFile(join(folder, "dockerfile", dockerfileName), build.script.text);
    // What is ignored never came here; without this, the folder's own .dockerignore would be asked although another one wins.
    await writeFile(join(folder, "dockerfile", `${dockerfileName}.dockerignore`), "# decided before\n");
  }

  async function solve(
    folder: string,
    request: BuildRequest,
    { script }: PreparedBuild,
    log: BuildLog,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<BuildOutcome> {
    const reader = new SolveReader({ log, onEvent, script });
    const asked = secretsOf(script.instructions).flatMap(({ id }) => {
      const value = request.secrets?.[id];
      return value === undefined ? [] : [{ id, value }];
    });
    for (const name of Object.keys(request.env).filter(isReserved))
      log.say(`The build argument ${name} is Berth's own to set; it is left out.`);
    const logins = await deps.logins?.(signal);
    const { output } = deps;
    const wanted = output.kind === "archive" ? output : await output.flag(request);
    if ("refused" in wanted) return { ok: false, cause: wanted.refused };
    const loadFailed = new AbortController();
    const run = startBuildctl(deps.buildkit, {
      args: [...buildArgs(folder, request, asked), "--output", wanted.flag],
      env: {
        HOME: join(folder, "home"),
        [mark]: folder,
        ...Object.fromEntries(asked.map(({ value }, index) => [secretVariable(index), value])),
        ...(logins === undefined ? {} : authVariable(logins.all, logins.standard)),
      },
      onLine: (line) => reader.line(line),
      signal: AbortSignal.any([signal, loadFailed.signal]),
    });
    const taking = take(run, folder, request, signal);
    // The client waits for ever for a reader that is gone.
    taking.catch((error: unknown) => {
      loadFailed.abort(error);
    });
    const [ended, taken] = await Promise.allSettled([run.ended, taking]);
    signal.throwIfAborted();
    if (ended.status === "rejected") throw ended.reason;
    if (taken.status === "rejected" && !(taken.reason instanceof CutOff)) throw taken.reason;
    if (ended.value.code !== 0 || taken.status === "rejected" || taken.value === undefined) {
      const words = log.masked(lastWords(reader.told));
      // What a project made fail may say anything.
      if (!reader.hasFailed && isUnreachable(words)) throw new BuildkitUnreachable(deps.buildkit.address, words);
      const refused = output.kind === "registry" ? output.refusal(words, request) : undefined;
      if (refused !== undefined) return { ok: false, cause: refused };
      const why = reader.failure();
      if (why === undefined) throw new Error(`buildctl ended with code ${String(ended.value.code)}: ${words}`);
      return { ok: false, cause: why };
    }
    return { ok: true, ...taken.value, tools: [], bases: await basesUsed(folder, log, signal) };
  }

  /** One whose history cannot be read has built all the same. */
  async function basesUsed(folder: string, log: BuildLog, signal: AbortSignal): Promise<readonly BaseImage[]> {
    try {
      return await basesOfBuildkit(deps.buildkit, join(folder, refName), signal);
    } catch (error) {
      signal.throwIfAborted();
      log.say(`BuildKit does not tell which base images it used: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  }

  /** undefined when the client ended without having made anything. */
  async function take(
    run: ReturnType<typeof startBuildctl>,
    folder: string,
    request: BuildRequest,
    signal: AbortSignal,
  ): Promise<Pick<Built, "digest" | "reference" | "size" | "processes"> | undefined> {
    const { output } = deps;
    if (output.kind === "registry") {
      run.stdout.resume();
      if ((await run.ended).code !== 0) return undefined;
      const told = JSON.parse(await readFile(join(folder, metadataName), "utf8")) as { readonly "containerimage.digest"?: string };
      return output.pushed(told["containerimage.digest"] ?? "", request, signal);
    }
    const chunks = (run.stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    const first = await chunks.next();
    if (first.done === true) return undefined;
    return output.take(whole(first.value, chunks, run.ended), request.plan, signal);
  }

  function buildArgs(folder: string, request: BuildRequest, asked: readonly { readonly id: string }[]): string[] {
    const { plan, env } = request;
    const own = ownName(request.stackId);
    const options: Record<string, string> = {
      filename: dockerfileName,
      // Its presence keeps BuildKit from running the image that `# syntax=` names as the file's reader: it could name anybody's cache.
      cmdline: "",
      // A part of what identifies every RUN: its result is given to no other stack.
      hostname: own,
      ...(plan.target === undefined ? {} : { target: plan.target }),
      ...Object.fromEntries(Object.entries(imageLabels(request, deps.labels)).map(([name, value]) => [`label:${name}`, value])),
      ...Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (isReserved(name) ? [] : [[`build-arg:${name}`, value]]))),
      "build-arg:BUILDKIT_CACHE_MOUNT_NS": own,
      ...Object.fromEntries(
        Object.entries(deps.layouts ?? {}).map(([name, { digest }], index) => [
          `context:${name}`,
          `oci-layout://layout${String(index)}@${digest}`,
        ]),
      ),
    };
    return [
      "build",
      ...["--progress", "rawjson", "--frontend", "dockerfile.v0"],
      ...["--local", `context=${join(folder, "context")}`, "--local", `dockerfile=${join(folder, "dockerfile")}`],
      ...Object.entries(options).flatMap(([name, value]) => ["--opt", `${name}=${value}`]),
      ...asked.flatMap(({ id }, index) => ["--secret", `${csv(`id=${id}`)},env=${secretVariable(index)}`]),
      ...Object.values(deps.layouts ?? {}).flatMap(({ folder: layout }, index) => ["--oci-layout", `layout${String(index)}=${layout}`]),
      ...["--ref-file", join(folder, refName), "--metadata-file", join(folder, metadataName)],
    ];
  }

  /** A cache that is too large is no fault of the build that is done, and neither is the time that this takes. */
  async function bound(log: BuildLog, signal: AbortSignal): Promise<void> {
    if (deps.cacheBytes === undefined) return;
    try {
      const either = AbortSignal.any([signal, AbortSignal.timeout(pruneTime)]);
      await callBuildctl(deps.buildkit, ["prune", "--keep-storage", String(deps.cacheBytes / 1e6)], either);
    } catch (error) {
      signal.throwIfAborted();
      log.say(`The builder's cache could not be made smaller: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  return {
    kind: "image",
    check: (plan) => Promise.resolve(checkImagePlan(plan, deps.catalogue(), "buildkit")),
    build,
    // Results of its steps have no name by which they could be found: they go by age, as the cache is bounded.
    forget: async (stackId) => {
      await callBuildctl(
        deps.buildkit,
        ["prune", "--all", "--filter", `description~="${ownName(stackId)}/"`],
        AbortSignal.timeout(pruneTime),
      );
    },
    sweep: async (isActive) => {
      await mkdir(deps.folder, { recursive: true, mode: 0o700 });
      for (const id of await readdir(deps.folder)) if (!isActive(id) && !running.has(id)) await clear(join(deps.folder, id));
    },
  };
}

/** Ends the client that a crashed control plane left with its folder, and with it the build. */
async function clear(folder: string): Promise<void> {
  await killProcesses({ leaders: [], recent: false, mark: `${mark}=${folder}` });
  await rm(folder, { recursive: true, force: true });
}

/** What is a stack's own in BuildKit begins with it: of one length and without a slash, so that none is the beginning of another. */
function ownName(stackId: string): string {
  return `berth-${createHash("sha256").update(stackId).digest("hex").slice(0, 24)}`;
}

/** Arguments by which BuildKit itself is told what to do, such as whose caches are used. */
const isReserved = (name: string): boolean => name.startsWith("BUILDKIT_");

const secretVariable = (index: number): string => `BERTH_SECRET_${String(index)}`;

/** A field of RFC 4180. */
const csv = (field: string): string => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

/** The archive ended before it was whole; the client says why. */
class CutOff extends Error {
  override readonly name = "CutOff";
}

async function* whole(
  first: Buffer,
  rest: AsyncIterator<Buffer>,
  ended: Promise<{ readonly code: number | null }>,
): AsyncGenerator<Buffer> {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  const { code } = await ended;
  if (code !== 0) throw new CutOff(`buildctl ended with code ${String(code)}`);
}
