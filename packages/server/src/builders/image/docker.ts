// The image builder over the Docker Engine API, for a Docker daemon. It streams the context and reads the log; what runs in a build runs in the daemon's
// containers, and closing the connection ends it. Podman's service takes the same calls, but what it runs goes on then: it is not for this builder.
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Catalogue } from "../../core/image/catalogue.ts";
import { stepsOfInstructions, writeDockerfile } from "../../core/image/dockerfile.ts";
import { compileIgnore } from "../../core/image/ignore.ts";
import { imageRecipe, staticServer, type Recipe } from "../../core/image/recipe.ts";
import { createMask } from "../../core/mask.ts";
import { duration } from "../../core/words.ts";
import type { DockerApi } from "../../docker/api.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import type { BlobReader, Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import { BuildLog, logBounds, type LogBounds } from "../log.ts";
import { readBuild } from "./answer.ts";
import { buildContext } from "./context.ts";

export interface DockerBuilderDeps {
  readonly api: DockerApi;
  readonly blobs: BlobReader;
  readonly catalogue: Catalogue;
  /** On every image that this builder makes. The daemon's own images of stages have none: it keeps them as its cache, with the build arguments in their history. */
  readonly labels: Readonly<Record<string, string>>;
  /** The text of Berth's own file server for static sites. */
  readonly staticServer: () => Promise<string>;
  readonly clock?: () => Date;
  readonly log?: LogBounds;
  /** Bytes of memory that each step may use; undefined: no limit. */
  readonly memory?: number;
  /** The daemon's network that steps see; its default when absent. */
  readonly network?: string;
}

const dockerfileName = ".berth-Dockerfile";
/** All that the daemon uses a context's .dockerignore for is to take these two out; what else is ignored was never sent. */
const dockerignore = `${dockerfileName}\n.dockerignore\n`;

export function createDockerBuilder(deps: DockerBuilderDeps): Builder {
  const clock = deps.clock ?? (() => new Date());

  async function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    signal.throwIfAborted();
    const outcome = imageRecipe(request.plan, deps.catalogue, Object.keys(request.env));
    if (!outcome.ok) return { ok: false, cause: outcome.cause };
    const late = AbortSignal.timeout(request.deadline);
    const log = new BuildLog({ onEvent, mask: createMask(request.secretValues), clock, bounds: deps.log ?? logBounds });
    try {
      return await execute(request, outcome.recipe, log, onEvent, AbortSignal.any([signal, late]));
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted) return { ok: false, cause: cause("build_deadline", { waited: duration(request.deadline) }) };
      throw error;
    }
  }

  async function execute(
    request: BuildRequest,
    recipe: Recipe,
    log: BuildLog,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<BuildOutcome> {
    const { plan } = request;
    const extra = [
      { path: dockerfileName, content: Buffer.from(writeDockerfile(recipe)) },
      { path: ".dockerignore", content: Buffer.from(dockerignore) },
      ...(recipe.needsStaticServer ? [{ path: staticServer.inContext, content: Buffer.from(await deps.staticServer()) }] : []),
    ];
    const context = buildContext(
      deps.blobs,
      { source: request.sourceDigest, root: plan.root, ignored: compileIgnore(recipe.ignore), extra },
      signal,
    );
    const answer = await deps.api.stream("POST", "/build", {
      query: {
        dockerfile: dockerfileName,
        // A step's container is removed whatever becomes of it.
        rm: "true",
        forcerm: "true",
        labels: JSON.stringify({ ...deps.labels, "berth.build": request.id, "berth.stack": request.stackId }),
        buildargs: JSON.stringify(request.env),
        ...(deps.memory === undefined ? {} : { memory: String(deps.memory), memswap: String(deps.memory) }),
        ...(deps.network === undefined ? {} : { networkmode: deps.network }),
      },
      headers: { "content-type": "application/x-tar" },
      body: context,
      signal,
      // The whole context comes before the first word of an answer; the deadline bounds both.
      timeout: Infinity,
    });
    const built = await readBuild(readNdjson<unknown>(answer), { log, onEvent, steps: stepsOfInstructions(recipe) });
    if (!built.ok) return built;
    // With a name it outlives a cleaning of what is unused and nameless.
    await deps.api.json("POST", `/images/${built.image}/tag`, { query: { repo: `berth/${request.stackName}`, tag: request.id }, signal });
    const image = await deps.api.json<{ readonly Id: string; readonly Size: number }>("GET", `/images/${built.image}/json`, { signal });
    return { ok: true, digest: image.Id, size: image.Size, processes: Object.keys(plan.processes), tools: [] };
  }

  return {
    kind: "image",
    check: (plan) => Promise.resolve(checkPlan(plan, deps.catalogue)),
    build,
    // What the daemon keeps is one cache for all: it is pruned by age and size, not by stack.
    forget: () => Promise.resolve(),
    // The daemon ends a build when the connection does: a crashed control plane leaves none.
    sweep: () => Promise.resolve(),
  };
}

function checkPlan(plan: BuildPlan, catalogue: Catalogue): Cause | undefined {
  const outcome = imageRecipe(plan, catalogue);
  return outcome.ok ? undefined : outcome.cause;
}
