// Where an image that BuildKit has built goes: into a daemon, or to a registry. BuildKit keeps none itself.
import { Readable } from "node:stream";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Built } from "../../core/attest/built.ts";
import { registryOf, type FindLogin } from "../../core/image/reference.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerStreamError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import type { BuildRequest } from "../builder.ts";
import { callBuildctl, type Buildkit } from "./buildctl.ts";
import { imageFacts, processesOf, type ImageFacts } from "./facts.ts";

export type ImageOutput = ArchiveOutput | RegistryOutput;

export interface ArchiveOutput {
  readonly kind: "archive";
  /** For `buildctl build --output`. */
  readonly flag: string;
  /** Takes what the client writes, once it has begun to write; `archive` rejects when the build does not come to its end. */
  take(archive: AsyncIterable<Buffer>, plan: BuildPlan, signal: AbortSignal): Promise<ImageFacts>;
}

/** What is sent there is BuildKit's to send: nothing of the image comes here. */
export interface RegistryOutput {
  readonly kind: "registry";
  /** For `buildctl build --output`; or why nothing may be sent there. */
  flag(request: BuildRequest): Promise<{ readonly flag: string } | { readonly refused: Cause }>;
  /** `digest`: of the manifest that BuildKit says it has pushed. */
  pushed(digest: string, request: BuildRequest, signal: AbortSignal): Promise<Pick<Built, "digest" | "reference" | "size" | "processes">>;
  /** undefined: what the client died of (`words`) is no refusal of the registry. */
  refusal(words: string, request: BuildRequest): Cause | undefined;
}

/** Into a Docker daemon, as the archive comes: no image lies on Berth's own disk. */
export function loadIntoDocker(api: DockerApi): ArchiveOutput {
  return {
    kind: "archive",
    // The daemon unpacks it at once: what a compressed layer would save on the way is lost twice.
    flag: "type=docker,compression=uncompressed",
    take: async (archive, plan, signal) => {
      const body = Readable.from(archive, { objectMode: false });
      const answer = await api.stream("POST", "/images/load", { body, signal, timeout: Infinity });
      let id: string | undefined;
      for await (const line of readNdjson<{ stream?: string; error?: string }>(answer)) {
        if (line.error !== undefined) throw new DockerStreamError(`the image was not loaded: ${line.error}`);
        id ??= /^Loaded image(?: ID)?: (sha256:[0-9a-f]{64})\s*$/.exec(line.stream ?? "")?.[1];
      }
      if (id === undefined) throw new DockerStreamError("the image was not loaded, and the daemon did not say why");
      return imageFacts(api, id, plan, signal);
    },
  };
}

interface Manifest {
  readonly config: { readonly digest: string; readonly size: number };
  readonly layers: readonly { readonly size: number }[];
}
interface ImageConfig {
  readonly config?: { readonly Entrypoint?: readonly string[] | null; readonly Cmd?: readonly string[] | null };
}

/** From where BuildKit runs. `size` is what the registry keeps of it. Causes: `registry_unreadable`, `image_push_denied`, `image_push_failed`. */
export function pushFromBuildkit(buildkit: Buildkit, login: FindLogin): RegistryOutput {
  const read = async <T>(digest: string, signal: AbortSignal): Promise<T> =>
    JSON.parse(await callBuildctl(buildkit, ["debug", "get", digest], signal)) as T;
  return {
    kind: "registry",
    async flag(request) {
      const { repository, tag } = destinationOf(request);
      const registry = registryOf(repository);
      const image = `${repository}:${tag}`;
      if ((await login(registry))?.readable === false) return { refused: cause("registry_unreadable", { registry, image }) };
      return { flag: `type=image,name=${image},push=true` };
    },
    async pushed(digest, request, signal) {
      const { config, layers } = await read<Manifest>(digest, signal);
      const { config: { Entrypoint, Cmd } = {} } = await read<ImageConfig>(config.digest, signal);
      return {
        digest,
        reference: `${destinationOf(request).repository}@${digest}`,
        size: layers.reduce((sum, { size }) => sum + size, config.size),
        processes: processesOf(request.plan, { Entrypoint, Cmd }),
      };
    },
    refusal(words, request) {
      // By how it begins: what follows may be anybody's.
      const said = /^failed to solve: failed to push [^ ]+: (.*)$/s.exec(words)?.[1];
      if (said === undefined) return undefined;
      const { repository, tag } = destinationOf(request);
      const of = { image: `${repository}:${tag}`, registry: registryOf(repository) };
      const evidence = [{ kind: "event" as const, text: said.slice(0, 4096) }];
      if (/unauthorized|authorization failed|authentication required|no basic auth|denied|forbidden/i.test(said))
        return cause("image_push_denied", of, evidence);
      return cause("image_push_failed", { ...of, reason: shortened(said) }, evidence);
    },
  };
}

/** Its first line, without what a registry wrote into its own addresses. */
const shortened = (said: string): string => (said.split("\n")[0] ?? "").replaceAll(/\?[^\s:]*/g, "").slice(0, 300);

function destinationOf({ id, destination }: BuildRequest): NonNullable<BuildRequest["destination"]> {
  if (destination === undefined) throw new TypeError(`build ${id} goes to a registry, and to none that is named`);
  return destination;
}
