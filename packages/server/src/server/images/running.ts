// Which components run images that were built on a base: told by the layers that their daemon knows, so that Dockerfiles of projects count as much as what Berth composed. Only reads.
import { existsSync } from "node:fs";
import type { MadeBase } from "../../core/image/bases.ts";
import { isBuiltOn } from "../../core/image/bases.ts";
import type { Config } from "../../config.ts";
import { silentLog } from "../../db/log.ts";
import { openDatabase, type Db } from "../../db/pool.ts";
import type { DockerApi } from "../../docker/api.ts";
import { DockerError } from "../../docker/errors.ts";
import type { Paths } from "../../paths.ts";
import { withPlace } from "../backup/place.ts";

/** A component's release that serves, and the layers of its image. */
export interface RunningImage {
  readonly stack: string;
  readonly component: string;
  readonly release: number;
  readonly layers: readonly string[];
}

/** None before the installation has a database, which is made by its first start. */
export async function runningImages(config: Config, paths: Paths, api: DockerApi, signal: AbortSignal): Promise<RunningImage[]> {
  if (!existsSync(paths.installationFile)) return [];
  const rows = await withPlace(config, paths, { signal, mustExist: true }, async ({ address }) => {
    const database = openDatabase({ address, log: silentLog, max: 1 });
    try {
      return await servingImages(database.db);
    } finally {
      await database.close();
    }
  });
  const layers = new Map<string, readonly string[]>();
  for (const { digest } of rows) if (!layers.has(digest)) layers.set(digest, await layersOf(api, digest, signal));
  return rows.map(({ digest, ...row }) => ({ ...row, layers: layers.get(digest) ?? [] }));
}

/** What serves, of a component in several clusters once for each release that does in any of them. `digest`: of the image. */
export async function servingImages(
  db: Db,
): Promise<{ readonly stack: string; readonly component: string; readonly release: number; readonly digest: string }[]> {
  return (
    db
      .selectFrom("components")
      .innerJoin("stacks", "stacks.id", "components.stack_id")
      .innerJoin("releases", "releases.id", "components.stable_release_id")
      .innerJoin("artifacts", "artifacts.digest", "releases.artifact_digest")
      .where("artifacts.kind", "=", "image")
      .select(["stacks.name as stack", "components.name as component", "releases.number as release", "releases.artifact_digest as digest"])
      // Where its release failed, a cluster serves the one before.
      .distinct()
      .orderBy("stacks.name")
      .orderBy("components.name")
      .orderBy("releases.number", "desc")
      .execute()
  );
}

/** None for an image that the daemon does not have: nothing runs from it there. */
async function layersOf(api: DockerApi, digest: string, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const image = await api.json<{ RootFS: { Layers?: string[] } }>("GET", `/images/${digest}/json`, { signal });
    return image.RootFS.Layers ?? [];
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return [];
    throw error;
  }
}

/** Those that were built on one of `old`, and not on `current`. */
export function stillOn(running: readonly RunningImage[], old: readonly MadeBase[], current: MadeBase | undefined): RunningImage[] {
  const on = (base: MadeBase, { layers }: RunningImage): boolean =>
    [base.run, base.build].some((image) => image !== undefined && isBuiltOn(layers, image));
  return running.filter((one) => old.some((base) => on(base, one)) && (current === undefined || !on(current, one)));
}
