// Images that nobody needs any more go: from the registry that Berth pushed them to, and from the host. What a kept release, a build under way or an open rollout
// needs stays (promise 5), and so does everything that Berth did not make itself.
import { sql } from "kysely";
import { registryOf } from "../core/image/reference.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import { EngineFailure, type Engine } from "../engines/engine.ts";
import { forgetPushed, notePushedStays, unneededImages } from "../resources/registries/pushed.ts";

/** Instants between which an image was made that may go. */
export interface Window {
  readonly from: Date;
  readonly before: Date;
}

/** Of one registry. `repository` is without its host. */
export interface ImageRemover extends Disposable {
  /** `gone`: it is not there any more. `stays`: the registry deletes nothing. `trouble`: it is to be tried again. */
  remove(repository: string, digest: string, signal: AbortSignal): Promise<"gone" | "stays" | { readonly trouble: string }>;
}

export interface ImageKeeping {
  readonly db: Db;
  readonly log: Log;
  readonly clock: () => Date;
  /** Of all places that answer now. */
  readonly engines: () => readonly Pick<Engine, "removeImages">[];
  /** Where Berth pushes to; absent: nowhere. `open`: who is asked with whose rights, now. */
  readonly registry?: { readonly prefix: string; readonly open: () => Promise<ImageRemover> };
}

/** Images that are deleted in one run. */
const most = 200;

/** Call it when the rows that nobody needs are gone. A registry or a host that is away is asked again the next time. */
export async function removeImages(deps: ImageKeeping, window: Window, signal: AbortSignal): Promise<void> {
  await fromRegistry(deps, window, signal);
  const { rows } = await sql<{ digest: string }>`select digest from artifacts where kind = 'image'`.execute(deps.db);
  const keep = rows.map(({ digest }) => digest);
  for (const engine of deps.engines()) {
    try {
      await engine.removeImages?.({ ...window, keep, ...(deps.registry === undefined ? {} : { prefix: deps.registry.prefix }) }, signal);
    } catch (error) {
      if (!(error instanceof EngineFailure && error.retryable)) throw error;
      deps.log.warn({ error: String(error) }, "images of a host that nobody needs could not be removed; it is tried again");
    }
  }
}

async function fromRegistry(deps: ImageKeeping, window: Window, signal: AbortSignal): Promise<void> {
  const { db, log, clock, registry } = deps;
  if (registry === undefined) return;
  const images = await unneededImages(db, { ...window, prefix: registry.prefix, most });
  if (images.length === 0) return;
  using client = await registry.open();
  for (const image of images) {
    const end = await client.remove(image.repository.slice(image.repository.indexOf("/") + 1), image.digest, signal);
    if (end === "gone") await forgetPushed(db, image);
    else if (end === "stays") {
      if (await notePushedStays(db, image, clock()))
        log.warn({ registry: registryOf(image.repository) }, "the registry deletes nothing: images that nobody needs stay there");
    } else {
      log.warn({ image, trouble: end.trouble }, "an image that nobody needs could not be deleted in the registry; it is tried again");
      return;
    }
  }
}
