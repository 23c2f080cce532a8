// What every image says of itself, whoever built it: https://specs.opencontainers.org/image-spec/annotations/, and Berth's own.
import { contentHash } from "../../core/canonical.ts";
import type { BuildRequest } from "../builder.ts";

/**
 * The labels of a build's image; `installation` are those of all images of this installation. A source that came from no repository is named by
 * its digest: a base image may say of itself where it comes from, and that is not where this one does.
 */
export function imageLabels(request: BuildRequest, installation: Readonly<Record<string, string>>): Record<string, string> {
  return {
    ...installation,
    "org.opencontainers.image.source": request.origin?.url ?? request.sourceDigest,
    "org.opencontainers.image.revision": request.origin?.revision ?? request.sourceDigest,
    "berth.build": request.id,
    "berth.stack": request.stackId,
    "berth.source": request.sourceDigest,
    "berth.plan": contentHash(request.plan),
  };
}
