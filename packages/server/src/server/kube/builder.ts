// Builds for a cluster by a BuildKit of its own: the same driver as anywhere, on a socket that leads into its pod, and images that the pod pushes itself. Each build makes what is
// missing of the builder first; one whose pod ends under it is begun once more.
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import type { ClusterBuilder } from "@berth/contract/resources/clusters.ts";
import { attesting } from "../../builders/attest/attesting.ts";
import { publishStatements } from "../../builders/attest/publish.ts";
import type { Builder, BuildEvent, BuildOutcome, BuildRequest } from "../../builders/builder.ts";
import { BuildkitUnreachable } from "../../builders/image/buildctl.ts";
import { createBuildkitBuilder } from "../../builders/image/buildkit.ts";
import { pushFromBuildkit } from "../../builders/image/output.ts";
import { catalogueOf } from "../../core/image/bases.ts";
import { duration } from "../../core/words.ts";
import type { Log } from "../../db/log.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { builderPlace } from "../../paths.ts";
import { commonOf, type Opening } from "../image-builders.ts";
import { openRegistry } from "../registries.ts";
import type { BuilderOrder } from "./builder-objects.ts";
import { applyBuilder, BuilderUnready, endOf, readyPod, type BuilderPod } from "./builder-pod.ts";
import { openBuilderSocket, type BuilderSocket } from "./builder-socket.ts";

export interface KubeBuilding {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly builder: ClusterBuilder;
  /** BuildKit's client, by its absolute path. */
  readonly program: string;
  readonly log: Log;
}

export type KubeBuilder = Builder & { close(): Promise<void> };

/** What BuildKit itself calls the registry of names without a host. */
const standard = "https://index.docker.io/v1/";
/** ms in which a cluster has to have noticed that a pod ended whose connection broke. */
const noticing = 10_000;

/** Causes, beside those of any builder over BuildKit: `cluster_builder_unready`, `cluster_builder_lost`, and refusals of the cluster such as `cluster_rights_missing`. */
export function openKubeBuilder(of: Opening, { api, cluster, builder, program, log }: KubeBuilding): KubeBuilder {
  const { config, paths, installation, blobs, logins } = of;
  const place = builderPlace(paths, cluster);
  const buildkit = { program, address: `unix://${place.socket}` };
  const inner = createBuildkitBuilder({
    ...commonOf(of),
    catalogue: () => catalogueOf(config.images, []),
    buildkit,
    output: pushFromBuildkit(buildkit, logins.find),
    logins: async () => ({ all: await logins.readable(), standard }),
    folder: place.builds,
  });
  const inside = new InPod({
    ...{ api, cluster, inner, log, socket: place.socket },
    order: async () => ({
      ...{ installation, builder, memory: config.builds.memory },
      plainHttp: (await logins.readable()).filter(({ plainHttp }) => plainHttp).map(({ host }) => host),
    }),
  });
  const attested = attesting(
    { ...inner, build: (request, onEvent, signal) => inside.build(request, onEvent, signal) },
    {
      ...{ blobs, installation, version: config.version, builder: "buildkit" },
      // Nothing here has the image: it went from the pod to the registry.
      contents: () => Promise.resolve({ os: undefined, packages: [], unread: ["packages of the image's operating system"] }),
      publish: async (reference, statements, signal) => {
        const { client } = await openRegistry(config, logins);
        using open = client;
        return await publishStatements(open, reference, statements, signal);
      },
    },
  );
  return { ...attested, close: () => inside.close() };
}

interface InPodDeps {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly inner: Builder;
  readonly log: Log;
  readonly socket: string;
  readonly order: () => Promise<BuilderOrder>;
}

class InPod {
  readonly #deps: InPodDeps;
  #socket: Promise<BuilderSocket> | undefined;
  /** What the builds that are under way were begun with: as long as there are some, it is not changed under them. */
  #order: BuilderOrder | undefined;
  #active = 0;

  constructor(deps: InPodDeps) {
    this.#deps = deps;
  }

  async build(request: BuildRequest, onEvent: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildOutcome> {
    const { cluster } = this.#deps;
    const until = performance.now() + request.deadline;
    const late = AbortSignal.timeout(request.deadline);
    const tooLate = cause("build_deadline", { waited: duration(request.deadline) });
    const say = (text: string): void => onEvent({ type: "log", line: { at: new Date().toISOString(), stream: "berth", text } });
    this.#active += 1;
    try {
      for (let attempt = 1; ; attempt++) {
        const pod = await this.#ready(say, AbortSignal.any([signal, late]));
        const lost = await this.#once(pod, { ...request, deadline: Math.max(1, Math.ceil(until - performance.now())) }, onEvent, signal);
        if (typeof lost !== "string") return !lost.ok && lost.cause.code === "build_deadline" ? { ok: false, cause: tooLate } : lost;
        if (attempt > 1) return { ok: false, cause: cause("cluster_builder_lost", { cluster, reason: lost }) };
        say(`The builder ended in the middle: ${lost}. The build is begun again.`);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted) return { ok: false, cause: tooLate };
      if (error instanceof BuilderUnready) return { ok: false, cause: error.why };
      throw error;
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#order = undefined;
    }
  }

  async close(): Promise<void> {
    await (await this.#socket)?.close();
  }

  async #ready(say: (text: string) => void, signal: AbortSignal): Promise<BuilderPod> {
    const { api, cluster, inner, log, order, socket } = this.#deps;
    this.#order ??= await order();
    await applyBuilder(api, this.#order, signal);
    const waits = (reason: string): void => say(`Waiting for the cluster's builder: ${reason}`);
    const pod = await readyPod(api, { cluster, order: this.#order, say: waits }, signal);
    this.#socket ??= (async () => {
      // What a control plane left that crashed.
      await inner.sweep(() => false);
      return openBuilderSocket(api, socket, (error) =>
        log.warn({ cluster, error: String(error) }, "a connection to a builder led nowhere"),
      );
    })();
    (await this.#socket).lead(pod.name);
    return pod;
  }

  /** What came of it; or why the pod cannot have gone on with it. */
  async #once(
    pod: BuilderPod,
    request: BuildRequest,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<BuildOutcome | string> {
    const { api, inner } = this.#deps;
    try {
      const outcome = await inner.build(request, onEvent, signal);
      // A pod that is asked to end cancels what runs in it, and says so as if a step had failed.
      return outcome.ok ? outcome : ((await endOf(api, pod, signal)) ?? outcome);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof BuildkitUnreachable)) throw error;
      for (const end = performance.now() + noticing; performance.now() < end; await sleep(200, undefined, { signal })) {
        const why = await endOf(api, pod, signal);
        if (why !== undefined) return why;
      }
      throw error;
    }
  }
}
