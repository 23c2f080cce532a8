// What `berth doctor` says of what is kept: bundles of releases, secrets and the keys they are sealed with, tokens, and the time that events bear.
// Everybody who is signed in may ask, so nothing here names a stack, a secret or a token.
import type { BlobStore } from "../blobs/store.ts";
import type { Db } from "../db/pool.ts";
import { ok, type Found } from "./doctor-check.ts";
import { countText, isNothing, keyWayOut, lookAtKeys, troubleOf } from "./keys.ts";

const day = 86_400_000;
const many = (count: number, what: string): string => `${String(count)} ${what}${count === 1 ? "" : "s"}`;

/** All are there and of their size; as many as `until` leaves time for are read to their end, the newest first. */
export async function keptBundles(
  db: Db,
  blobs: Pick<BlobStore, "has" | "open">,
  until: () => boolean,
  signal: AbortSignal,
): Promise<Found> {
  const rows = await db
    .selectFrom("artifacts as a")
    .select(["a.digest", "a.size"])
    .where("a.kind", "=", "bundle")
    .where(({ exists, selectFrom }) => exists(selectFrom("releases as r").select("r.id").whereRef("r.artifact_digest", "=", "a.digest")))
    .orderBy("a.created_at", "desc")
    .execute();
  const missing: string[] = [];
  const damaged: string[] = [];
  let read = 0;
  for (const { digest, size } of rows) {
    const has = await blobs.has(digest);
    if (has === undefined) missing.push(digest);
    else if (has !== size) damaged.push(digest);
    else if (until()) {
      read += 1;
      if (!(await isWhole(blobs, digest, signal))) damaged.push(digest);
    }
  }
  if (missing.length + damaged.length === 0)
    return ok(
      rows.length === 0
        ? "none yet"
        : `${many(rows.length, "bundle")} of kept releases, ${read === rows.length ? "all" : String(read)} read whole`,
    );
  const short = (digests: readonly string[]): string =>
    `${digests
      .slice(0, 3)
      .map((digest) => digest.slice(0, 19))
      .join(", ")}${digests.length > 3 ? ", ..." : ""}`;
  return {
    status: "failed",
    found: [
      ...(missing.length === 0 ? [] : [`${many(missing.length, "bundle")} of kept releases missing (${short(missing)})`]),
      ...(damaged.length === 0 ? [] : [`${many(damaged.length, "bundle")} of kept releases damaged on disk (${short(damaged)})`]),
    ].join(" and "),
    next: "`berth restore` brings them back from a backup; or build those components again: `berth up` in their folders. Check the disk, too.",
  };
}

async function isWhole(blobs: Pick<BlobStore, "open">, digest: string, signal: AbortSignal): Promise<boolean> {
  try {
    const stream = await blobs.open(digest, signal);
    // Its end says whether it is what was kept.
    for await (const _chunk of stream) signal.throwIfAborted();
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

/** Whether the key file opens what the database holds, as a start asks it. `cluster`: undefined when another server drives what there is. */
export async function sealedSecrets(db: Db, keyFile: string, cluster: string | undefined): Promise<Found> {
  if (cluster === undefined) return ok("sealed with the keys of the servers that drive them");
  const state = await lookAtKeys(db, keyFile, cluster);
  const trouble = troubleOf(state, keyFile);
  if (trouble !== undefined)
    return {
      status: "failed",
      found: trouble,
      next: `${keyWayOut} A server that runs still knows the keys it started with; it does not start again like this.`,
    };
  if (!isNothing(state.givenUp))
    return {
      status: "warning",
      found: `${countText(state.givenUp)} cannot be opened, because the key was given up, and have no newer value`,
      next: "`berth secrets list` marks the secrets: set them again, credentials, certificates, registries and webhooks too. `berth server key --add FILE` brings the old values back if the key is found.",
    };
  return ok(isNothing(state.all) ? "none are kept yet" : `${countText(state.all)}, opened by the key file`);
}

/** The same of a file that cannot be read, which needs no database to know. */
export function keysDamaged(keyFile: string): Found {
  return { status: "failed", found: `${keyFile} is damaged: it holds no keys that can be read`, next: keyWayOut };
}

/** Tokens that end soon, by number: their names are their owners' business. */
export async function expiringTokens(db: Db, now: Date): Promise<Found> {
  const rows = await db
    .selectFrom("api_tokens")
    .select("expires_at")
    .where("revoked_at", "is", null)
    .where("expires_at", ">", now)
    .where("expires_at", "<", new Date(now.getTime() + 7 * day))
    .orderBy("expires_at")
    .execute();
  const first = rows[0]?.expires_at;
  return first === undefined || first === null
    ? ok("none expires within a week")
    : {
        status: "warning",
        found: `${many(rows.length, "token")} ${rows.length === 1 ? "expires" : "expire"} within a week, the first on ${first.toISOString().slice(0, 16).replace("T", " ")} UTC`,
        next: "`berth tokens list` shows yours; `berth tokens create` makes one that takes its place.",
      };
}

/** A clock that was set back leaves events of the future behind. */
export async function latestEvent(db: Db, now: Date): Promise<Found> {
  const last = await db.selectFrom("events").select("at").orderBy("id", "desc").limit(1).executeTakeFirst();
  const ahead = last === undefined ? 0 : last.at.getTime() - now.getTime();
  if (ahead <= 60_000) return ok("no event bears a time of the future");
  return {
    status: "failed",
    found: `the newest event bears a time ${ahead > day ? many(Math.round(ahead / day), "day") : many(Math.round(ahead / 60_000), "minute")} in the future: the clock was set back, or was wrong then`,
    next: "Check `date` on the server's and the database's machine, and turn on time synchronisation (NTP).",
  };
}
