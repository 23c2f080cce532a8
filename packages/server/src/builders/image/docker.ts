// The image builder over the Docker Engine API, for a Docker daemon. It streams the context and reads the log; what runs in a build runs in the daemon's
// containers, and closing the connection ends it. Podman's service takes the same calls, but what it runs goes on then: it is not for this builder.
import type { Readable } from "node:stream";
import { cause } from "@berth/contract/causes.ts";
import type { RegistryLogin } from "../../core/image/reference.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { authsHeader, standardRegistry } from "../../docker/registry-auth.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import type { BuildLog } from "../log.ts";
import { forgetCache, withAdditions, withKnownLines } from "./additions.ts";
import { readBuild } from "./answer.ts";
import { attempt, type Attempting } from "./attempt.ts";
import { buildContext } from "./context.ts";
import { imageFacts } from "./facts.ts";
import { imageLabels } from "./labels.ts";
import { checkImagePlan, prepareBuild, type PreparedBuild, type Preparing } from "./prepare.ts";
import { basesOfDocker } from "./used.ts";

export interface DockerBuilderDeps extends Preparing, Attempting {
  readonly api: DockerApi;
  /** On every image that this builder makes. The daemon's own images of stages have none: it keeps them as its cache, with the build arguments in their history. */
  readonly labels: Readonly<Record<string, string>>;
  /** Of all registries that base images may come from. */
  readonly logins?: () => Promise<readonly RegistryLogin[]>;
  /** Bytes of memory that each step may use; undefined: no limit. */
  readonly memory?: number;
  /** The daemon's network that steps see; its default when absent. */
  readonly network?: string;
}

/** ms that the daemon has to remove what is kept for a stack. */
const patience = 60_000;
const dockerfileName = ".berth-Dockerfile";
/** All that the daemon uses a context's .dockerignore for is to take these two out; what else is ignored was never sent. */
const dockerignore = `${dockerfileName}\n.dockerignore\n`;

export function createDockerBuilder(deps: DockerBuilderDeps): Builder {
  function build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    return attempt(deps, request, { onEvent, signal }, async (log, either) => {
      const prepared = await prepareBuild(deps, request, "classic", {}, either);
      return prepared.ok ? execute(request, prepared.build, log, onEvent, either) : prepared;
    });
  }

  async function execute(
    request: BuildRequest,
    prepared: PreparedBuild,
    log: BuildLog,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<BuildOutcome> {
    const { plan } = request;
    const { ignored, extra } = prepared;
    const labels = imageLabels(request, deps.labels);
    const script = withAdditions(prepared.script, { stackId: request.stackId, labels, target: plan.target });
    const added = [
      { path: dockerfileName, content: Buffer.from(script.text) },
      { path: ".dockerignore", content: Buffer.from(dockerignore) },
      ...extra,
    ];
    const context = buildContext(deps.blobs, { source: request.sourceDigest, root: plan.root, ignored, extra: added }, signal);
    const logins = (await deps.logins?.()) ?? [];
    const auths = logins.length === 0 ? {} : authsHeader(logins, await standardRegistry(deps.api, signal));
    let answer: Readable;
    try {
      answer = await deps.api.stream("POST", "/build", {
        query: {
          dockerfile: dockerfileName,
          target: plan.target,
          // A step's container is removed whatever becomes of it.
          rm: "true",
          forcerm: "true",
          buildargs: JSON.stringify(request.env),
          ...(deps.memory === undefined ? {} : { memory: String(deps.memory), memswap: String(deps.memory) }),
          ...(deps.network === undefined ? {} : { networkmode: deps.network }),
        },
        headers: { "content-type": "application/x-tar", ...auths },
        body: context,
        signal,
        // The whole context comes before the first word of an answer; the deadline bounds both.
        timeout: Infinity,
      });
    } catch (error) {
      // A Dockerfile that cannot be read is refused before the first step.
      if (script.own === undefined || !(error instanceof DockerError) || error.status !== 400) throw error;
      return {
        ok: false,
        cause: cause("dockerfile_unusable", { where: script.own, reason: log.masked(withKnownLines(error.message, script)) }),
      };
    }
    const built = await readBuild(readNdjson<unknown>(answer), { log, onEvent, script });
    if (!built.ok) return built;
    // With a name it outlives a cleaning of what is unused and nameless.
    await deps.api.json("POST", `/images/${built.image}/tag`, { query: { repo: `berth/${request.stackName}`, tag: request.id }, signal });
    const bases = await basesOfDocker(deps.api, script, built.seen, signal);
    return { ok: true, ...(await imageFacts(deps.api, built.image, plan, signal)), tools: [], bases };
  }

  return {
    kind: "image",
    check: (plan) => Promise.resolve(checkImagePlan(plan, deps.catalogue(), "classic")),
    build,
    forget: (stackId) => forgetCache(deps.api, stackId, AbortSignal.timeout(patience)),
    // The daemon ends a build when the connection does: a crashed control plane leaves none.
    sweep: () => Promise.resolve(),
  };
}
