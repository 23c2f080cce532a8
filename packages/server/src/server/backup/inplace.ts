// Takes a database for the true one that was put back by other means than `berth restore`: it gets an epoch above everything that was seen
// here, so that the one which it replaced cannot act any more.
import pg from "pg";
import { silentLog } from "../../db/log.ts";
import { migrate } from "../../db/migrate.ts";
import type { DatabaseAddress } from "../../db/pool.ts";
import { settleRestored } from "../../db/settle.ts";
import type { Paths } from "../../paths.ts";
import { BackupRefused } from "./format.ts";
import { writeWhole } from "../../os/files.ts";
import { readPresent, readRemembered } from "./restore.ts";

export interface Accepting {
  readonly address: DatabaseAddress;
  readonly paths: Paths;
  /** Of migrations. */ readonly folder: string;
  readonly program: string;
  readonly edgeEpoch: number;
  /** False: only says what it would do. */ readonly commit: boolean;
}

/** Throws `BackupRefused` when there is nothing to take, or it belongs elsewhere; `DatabaseRefused` when it needs a newer program. */
export async function acceptDatabase({
  address,
  paths,
  folder,
  program,
  edgeEpoch,
  commit,
}: Accepting): Promise<{ readonly id: string; readonly from: number; readonly to: number }> {
  const present = await readPresent(address);
  if (present === undefined)
    throw new BackupRefused(
      "The database holds no installation of Berth.",
      "Restore a backup with `berth restore FILE`, or start the server and use `berth adopt`.",
    );
  const remembered = readRemembered(paths);
  if (remembered !== undefined && remembered.id !== present.id)
    throw new BackupRefused(
      `The home folder belongs to installation ${remembered.id}, the database to ${present.id}.`,
      "Use the home that belongs to this database, or an empty one.",
    );
  const to = Math.max(present.epoch, remembered?.epoch ?? 0, edgeEpoch) + 1;
  const result = { id: present.id, from: present.epoch, to };
  if (!commit) return result;
  await migrate({ address, folder, program, log: silentLog });
  const client = new pg.Client({ ...address, application_name: "berth-restore", connectionTimeoutMillis: 10_000 });
  client.on("error", () => {
    /* The query that it hits says it. */
  });
  await client.connect();
  try {
    await client.query("begin");
    const { rows } = await client.query<{ at: Date }>("select coalesce(max(at), now()) as at from events");
    await settleRestored(client, { epoch: to, from: (rows[0]?.at ?? new Date()).toISOString() });
    await client.query("commit");
  } finally {
    await client.end();
  }
  writeWhole(paths.installationFile, JSON.stringify({ id: present.id, epoch: to }));
  return result;
}
