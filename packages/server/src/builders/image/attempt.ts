// One build by a builder of images of any kind: its log, its deadline and its end, whoever carries it out.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import { createMask } from "../../core/mask.ts";
import { duration } from "../../core/words.ts";
import type { BlobReader, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import { unpack } from "../host/unpack.ts";
import { BuildLog, logBounds, type LogBounds } from "../log.ts";
import { buildContext } from "./context.ts";
import type { PreparedBuild } from "./prepare.ts";

export interface Attempting {
  readonly clock?: () => Date;
  readonly log?: LogBounds;
}

/** Runs `work` until the request's deadline or the signal, whichever is first. Cause: `build_deadline`; rejects with the signal's reason. */
export async function attempt(
  deps: Attempting,
  request: BuildRequest,
  { onEvent, signal }: { readonly onEvent: (event: BuildEvent) => void; readonly signal: AbortSignal },
  work: (log: BuildLog, signal: AbortSignal) => Promise<BuildOutcome>,
): Promise<BuildOutcome> {
  signal.throwIfAborted();
  const late = AbortSignal.timeout(request.deadline);
  const mask = createMask([...request.secretValues, ...Object.values(request.secrets ?? {})]);
  const log = new BuildLog({ onEvent, mask, clock: deps.clock ?? (() => new Date()), bounds: deps.log ?? logBounds });
  try {
    return await work(log, AbortSignal.any([signal, late]));
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) return { ok: false, cause: cause("build_deadline", { waited: duration(request.deadline) }) };
    throw error;
  }
}

/** For builders whose program reads folders: the context in `context`, below a folder that nobody else may enter, beside empty ones of these names. */
export async function layOutContext(
  blobs: BlobReader,
  request: BuildRequest,
  { ignored, extra }: PreparedBuild,
  place: { readonly folder: string; readonly empty: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  for (const name of ["context", ...place.empty]) await mkdir(join(place.folder, name), { recursive: true, mode: 0o700 });
  const of = { source: request.sourceDigest, root: request.plan.root, ignored, extra };
  await unpack(buildContext(blobs, of, signal), join(place.folder, "context"), undefined, signal);
}
