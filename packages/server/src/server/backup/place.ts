// What backup and restore need of this machine: the database, started for them when nobody runs it, the blobs, and what the edge has seen.
import { renameSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { openBlobFolder } from "../../blobs/folder.ts";
import type { BlobStore } from "../../blobs/store.ts";
import type { Config } from "../../config.ts";
import { startEmbedded } from "../../db/embedded.ts";
import { silentLog } from "../../db/log.ts";
import { awaitOutside } from "../../db/outside.ts";
import type { DatabaseAddress } from "../../db/pool.ts";
import { EdgeTraffic } from "../../engines/edge-traffic.ts";
import { noBlobs, openEngine } from "../machine.ts";
import type { Paths } from "../../paths.ts";

/** ms that a command waits for an outside database. */
const outsidePatience = 10_000;

export interface BackupPlace {
  readonly address: DatabaseAddress;
  readonly blobs: BlobStore;
}

/** An embedded database that was started for this is stopped again; one that ran runs on. */
export async function withPlace<T>(
  config: Config,
  paths: Paths,
  options: { readonly signal: AbortSignal; readonly mustExist: boolean },
  work: (place: BackupPlace) => Promise<T>,
): Promise<T> {
  const blobs = await openBlobFolder(paths.blobs);
  if (config.databaseUrl !== undefined) {
    await awaitOutside({
      url: config.databaseUrl,
      log: silentLog,
      signal: options.signal,
      patience: outsidePatience,
      onWait: (sentence) => {
        process.stderr.write(`${sentence}\n`);
      },
    });
    return work({ address: { connectionString: config.databaseUrl }, blobs });
  }
  const embedded = await startEmbedded({ home: config.home, runDir: config.runDir, log: silentLog, mustExist: options.mustExist });
  try {
    return await work({ address: embedded.connection, blobs });
  } finally {
    if (embedded.started) await embedded.stop();
  }
}

/** Puts the embedded database's data aside, for a folder that cannot be used; nothing is deleted. Returns where it is now. */
export function putDataAside(home: string, now: Date): string {
  const to = join(home, "postgres", `data.aside-${now.toISOString().replace(/[:.]/g, "-")}`);
  renameSync(join(home, "postgres", "data"), to);
  return to;
}

export interface EdgeFacts {
  readonly installation: string;
  readonly epoch: number;
}

/** The machine's edge and agent, where they run, are told of the new epoch; then nothing that the old database sends is obeyed. */
export async function withEdge<T>(
  config: Config,
  paths: Paths,
  work: (edge: {
    hello(): Promise<EdgeFacts | undefined>;
    raiseEpoch(installation: string, epoch: number): Promise<void>;
    shutdown(): Promise<void>;
  }) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(60_000);
  const traffic = new EdgeTraffic({
    socketPath: paths.edgeSocket,
    home: config.home,
    cluster: "local",
    router: config.router,
    now: Date.now,
  });
  const engine = openEngine(config, paths, "local", noBlobs);
  try {
    return await work({
      async hello() {
        const answer = await traffic.hello(signal).catch((error: unknown) => {
          if ((error as { code?: unknown }).code === "engine_unavailable") return undefined;
          throw error;
        });
        return answer === undefined ? undefined : { installation: answer.installation, epoch: answer.epoch ?? 0 };
      },
      async raiseEpoch(installation, epoch) {
        await traffic.raiseEpoch({ installation, epoch }, signal);
        await engine.raiseEpoch({ installation, epoch }, signal);
      },
      shutdown: () => traffic.shutdown(signal),
    });
  } finally {
    await traffic.close();
    await engine.close();
  }
}
