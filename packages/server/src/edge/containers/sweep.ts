// Removes images of this installation that nobody needs from the daemon's host. It takes away names that Berth gave, and never by force: an image that has another
// name, or that a container is made of, stays.
import { digestOf, isBelow } from "../../core/image/reference.ts";
import { DockerError } from "../../docker/errors.ts";
import { label } from "../../engines/docker/labels.ts";
import { encodePath, orAbsent, type Daemon } from "./daemon.ts";

export interface SweepOrder {
  /** Digests of manifests and ids of images that stay. */
  readonly keep: readonly string[];
  /** Unix ms between which an image was made that may go. */
  readonly from: number;
  readonly before: number;
  /** Where Berth pushes to, when it does. */
  readonly prefix?: string | undefined;
}

interface Listed {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  /** Unix s. */
  readonly Created: number;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

/** How many images are gone. */
export async function sweepImages(daemon: Daemon, { keep, from, before, prefix }: SweepOrder): Promise<number> {
  const kept = new Set(keep);
  const filters = JSON.stringify({ label: [`${label.installation}=${daemon.installation}`] });
  let removed = 0;
  for (const image of await daemon.api.json<Listed[]>("GET", "/images/json", { query: { filters } })) {
    const made = image.Created * 1_000;
    const digests = image.RepoDigests ?? [];
    if (made < from || made >= before || [image.Id, ...digests.map(digestOf)].some((one) => one !== undefined && kept.has(one))) continue;
    // What somebody builds upon an image of Berth's has its labels too, and names of its own.
    const own = (image.RepoTags ?? []).filter((tag) => isOwn(tag, image.Labels?.["berth.build"], prefix));
    const names = own.length === 0 ? digests.filter((name) => prefix !== undefined && isBelow(prefix, name)) : own;
    for (const name of names) await removeName(daemon, name);
    if (names.length > 0 && (await daemon.image(image.Id)) === undefined) removed += 1;
  }
  return removed;
}

function isOwn(tag: string, build: string | undefined, prefix: string | undefined): boolean {
  if (prefix !== undefined && isBelow(prefix, tag)) return true;
  return build !== undefined && tag.replace(/^localhost\//, "").startsWith("berth/") && tag.endsWith(`:${build}`);
}

async function removeName(daemon: Daemon, name: string): Promise<void> {
  try {
    await orAbsent(daemon.api.json("DELETE", `/images/${encodePath(name)}`));
  } catch (error) {
    // A container is made of it: it has the image as long as it is there.
    if (!(error instanceof DockerError && error.status === 409)) throw error;
  }
}
