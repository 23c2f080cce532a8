// Whether what a build yielded is still where instances are started from: a bundle in the blob store, an image with the cluster's daemon.
import { EngineFailure } from "../engines/engine.ts";
import type { ResourceDeps } from "./deps.ts";

/** ms; a daemon that takes longer is asked again when the artifact is needed. */
const patience = 5_000;

/** A daemon that is away is believed to have it: if it has not, preparing says so. */
export async function isArtifactStored(
  { blobs, places }: Pick<ResourceDeps, "blobs" | "places">,
  cluster: string,
  digest: string,
): Promise<boolean> {
  const engine = places.engine(cluster);
  if (engine.holdsImage === undefined) return (await blobs.has(digest)) !== undefined;
  const limit = AbortSignal.timeout(patience);
  try {
    return await engine.holdsImage(digest, limit);
  } catch (error) {
    if (limit.aborted || (error instanceof EngineFailure && error.retryable)) return true;
    throw error;
  }
}
