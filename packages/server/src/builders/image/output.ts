// Where an image that BuildKit has built goes. BuildKit keeps none itself.
import { Readable } from "node:stream";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerStreamError } from "../../docker/errors.ts";
import { readNdjson } from "../../docker/ndjson.ts";
import { imageFacts, type ImageFacts } from "./facts.ts";

export interface ImageOutput {
  /** For `buildctl build --output`. */
  readonly flag: string;
  /** Takes what the client writes, once it has begun to write; `archive` rejects when the build does not come to its end. */
  take(archive: AsyncIterable<Buffer>, plan: BuildPlan, signal: AbortSignal): Promise<ImageFacts>;
}

/** Into a Docker daemon, as the archive comes: no image lies on Berth's own disk. */
export function loadIntoDocker(api: DockerApi): ImageOutput {
  return {
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
