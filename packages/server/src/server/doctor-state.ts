// Checks of what an installation keeps and of who it is: keys, backups, clock, epoch, services, and what runs without being known. Everybody who is
// signed in may ask, so nothing here names a stack or a component.
import { existsSync, readFileSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "kysely";
import type { Db } from "../db/pool.ts";
import type { Engine } from "../engines/engine.ts";
import type { Paths } from "../paths.ts";
import { ok, type Found } from "./doctor-check.ts";
import type { Room } from "./doctor-parts.ts";
import { readInstalled } from "./service/install.ts";
import { marker } from "./service/units.ts";

const day = 86_400_000;
/** ms by which clocks may differ: leases and one-time tokens are measured in more. */
const mostSkew = 2_000;
const backupAge = 7 * day;

/** Half of what the question took counts for the way there. */
export async function clockAgainstDatabase(db: Db, now: () => number): Promise<Found> {
  const from = now();
  const { rows } = await sql<{ ms: number }>`select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`.execute(db);
  const to = now();
  const skew = Math.round((rows[0]?.ms ?? 0) - (from + to) / 2);
  if (Math.abs(skew) <= mostSkew + (to - from) / 2) return ok("agrees with the database's");
  return {
    status: "warning",
    found: `differs by ${(Math.abs(skew) / 1000).toFixed(1)} s from the database's`,
    next: "Turn on time synchronisation (NTP) on both machines.",
  };
}

export function epochs(own: number, seen: number | undefined): Found {
  if (seen === undefined || seen <= own) return ok(`this database's epoch is ${own}, and nothing here has seen a newer one`);
  return {
    status: "failed",
    found: `the edge obeys epoch ${seen}, and this database has ${own}: another database took its place, and orders of this one are refused`,
    next: "Use the newer database, or say with `berth restore --database-as-it-is` that this one is meant.",
  };
}

/** Whoever reads one of these is Berth: opens secrets, signs the audit log, or becomes administrator. */
export function privateFiles(paths: Paths): Found {
  const files = [
    paths.secretsKey,
    paths.auditKey,
    paths.adminToken,
    join(paths.home, "config.json"),
    join(paths.home, "service.env"),
    join(paths.home, "postgres", "password"),
  ].filter((file) => existsSync(file));
  const open = files.filter((file) => (statSync(file).mode & 0o077) !== 0);
  if (open.length > 0) return { status: "failed", found: `others may read ${open.join(", ")}`, next: `Run: chmod 600 ${open.join(" ")}` };
  if (!existsSync(paths.secretsKey))
    return {
      status: "warning",
      found: `${paths.secretsKey} is missing`,
      next: "Put it back from where it is kept; without it, secrets that are set cannot be opened.",
    };
  return ok(`${files.length} files with keys and passwords, readable by Berth alone`);
}

export function lastBackup(paths: Paths, now: Date): Found {
  const file = join(paths.home, "last-backup.json");
  const next = "`berth backup /folder/on/another/disk` makes one while everything runs.";
  if (!existsSync(file)) return { status: "warning", found: "none was ever made from here", next };
  const { at, file: where } = JSON.parse(readFileSync(file, "utf8")) as { at: string; file: string };
  const age = now.getTime() - Date.parse(at);
  const text = `the last one was made ${Math.floor(age / day)} day(s) ago`;
  if (age > backupAge) return { status: "warning", found: text, next };
  return existsSync(where)
    ? ok(text)
    : { status: "warning", found: `${text}, and is no longer at ${where}`, next: "That is well if it was moved to another machine." };
}

/** undefined = Berth is not installed as services, which is nobody's mistake. */
export function services(paths: Paths): Found | undefined {
  const installed = readInstalled(paths);
  if (installed === undefined) return undefined;
  const again = "`berth server install` writes them anew.";
  const texts = installed.files
    .map((name) => ({ name, path: join(installed.folder, name) }))
    .map((unit) => ({ ...unit, text: existsSync(unit.path) ? readFileSync(unit.path, "utf8") : undefined }));
  const missing = texts.filter(({ text }) => text === undefined || !text.startsWith(marker));
  if (missing.length > 0)
    return {
      status: "failed",
      found: `${missing.map(({ name }) => name).join(", ")} of ${installed.folder} ${missing.length === 1 ? "is" : "are"} gone or not Berth's any more`,
      next: again,
    };
  const stale = texts.filter(
    ({ text }) =>
      /^ExecStart="?([^\s"]+)/m
        .exec(text ?? "")
        ?.slice(1)
        .some((program) => !existsSync(program.replaceAll("%%", "%"))) === true,
  );
  if (stale.length > 0)
    return {
      status: "failed",
      found: `${stale.map(({ name }) => name).join(", ")} would start a program that is not there any more`,
      next: again,
    };
  return ok(`${installed.files.length} systemd units in ${installed.folder}`);
}

export async function unknownObjects(db: Db, engine: Pick<Engine, "list">, cluster: string, signal: AbortSignal): Promise<Found> {
  const rows = await db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("clusters as k", (join) => join.on("k.id", "=", sql`coalesce(c.cluster_id, s.cluster_id)`))
    .select(["c.name", "s.name as stack", "c.held"])
    .where("k.name", "=", cluster)
    .execute();
  const known = new Set(rows.map((row) => `${row.stack}/${row.name}`));
  let unknown = rows.filter((row) => row.held).length;
  for await (const { ref, instances } of engine.list(signal))
    if (instances.length > 0 && !known.has(`${ref.stack}/${ref.component}`)) unknown += 1;
  return unknown === 0
    ? ok("everything that runs is in the database")
    : {
        status: "warning",
        found: `${unknown} component(s) run and are not, or not as they run, in the database; they are left alone`,
        next: "`berth adopt` shows them and takes them over.",
      };
}

export async function roomOf(folder: string): Promise<Room> {
  const { bavail, bsize, ffree, files } = await statfs(folder);
  return { bytes: bavail * bsize, files: ffree, mostFiles: files };
}
