// What `berth doctor` asks of a server that answers: is each part of this installation there and well, why it matters where it is not, and what to do.
import type { Check } from "@berth/contract/resources/installation.ts";
import { sql } from "kysely";
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { refusalOf, type ServerFacts } from "../db/outside.ts";
import type { Db } from "../db/pool.ts";
import type { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Engine } from "../engines/engine.ts";
import type { Paths } from "../paths.ts";
import { queueStats } from "../reconcile/queue.ts";
import { failingAutomatic } from "../resources/certificates/automatic.ts";
import { expiryOf } from "../resources/certificates/store.ts";
import { imageBuilder } from "./doctor-builder.ts";
import { ok, patience, runChecks, type Found, type Looking } from "./doctor-check.ts";
import { https } from "./doctor-https.ts";
import { expiringTokens, keptBundles, latestEvent, sealedSecrets } from "./doctor-kept.ts";
import { edgeState, engineState, toolState } from "./doctor-parts.ts";
import { diskCheck, keysCheck, servicesChecks } from "./doctor-shared.ts";
import { clockAgainstDatabase, epochs, lastBackup, unknownObjects } from "./doctor-state.ts";

export interface DoctorDeps {
  readonly db: Db;
  readonly blobs: BlobStore;
  readonly place?: { readonly cluster: string; readonly engine: Engine; readonly traffic: EdgeTraffic };
  readonly clock: () => Date;
  /** Why nothing runs here. */ readonly elsewhere?: string;
  readonly config: Config;
  readonly paths: Paths;
  /** The registry that images are pushed to, and who asks it; absent: there is none. */
  readonly registry?: Looking;
  /** Clusters beside this machine. */
  readonly added?: readonly Looking[];
  readonly findTool: (name: string) => Promise<string | undefined>;
}

const answering = "See whether database and edge answer.";
/** Of the time that a check has, what is left for everything but reading bundles. */
const readingShare = 0.6;

export async function runDoctor(deps: DoctorDeps, signal: AbortSignal): Promise<Check[]> {
  const { registry, added = [] } = deps;
  return runChecks(
    [...ofParts(deps), ...added, ...(registry === undefined ? [] : [registry]), ...ofState(deps), ...ofMachine(deps)],
    signal,
  );
}

/** Parts that run. */
function ofParts({ db, place, config, paths, elsewhere, clock }: DoctorDeps): Looking[] {
  return [
    {
      name: "database",
      why: "Nothing can be deployed or changed without it; what runs goes on.",
      next: "Look at the server's log; `berth server start` starts the embedded one again.",
      look: () => database(db, config),
    },
    ...(place === undefined
      ? [{ name: "local engine", why: "", next: "", look: () => ok(elsewhere ?? "another server's") }]
      : [
          {
            name: "edge",
            why: "It routes requests, keeps logs and starts again what ends: without all of it, applications are not reached or not looked after.",
            next: `The server starts it again when it is gone; its log is ${paths.edgeLog}. When this stays, end it by hand: instances run on.`,
            look: async (within: AbortSignal) => edgeState(await place.traffic.hello(within), config.version),
          },
          {
            name: "local engine",
            why: "It starts and keeps apart what is deployed; what it cannot hold, one application can take from another.",
            next: "The edge starts it again when it ends. When this stays, `berth edge upgrade` replaces it; instances run on.",
            look: async (within: AbortSignal) => engineState(await place.engine.capabilities(within)),
          },
          {
            name: "epoch",
            why: "Two databases that order about the same instances would undo each other's work.",
            next: answering,
            look: async (within: AbortSignal) => {
              const { epoch } = await db.selectFrom("installation").select("epoch").executeTakeFirstOrThrow();
              return epochs(epoch, (await place.traffic.hello(within)).epoch);
            },
          },
          {
            name: "unknown objects",
            why: "They use memory and ports, and nothing that is deployed, scaled or removed here reaches them.",
            next: answering,
            look: (within: AbortSignal) => unknownObjects(db, place.engine, place.cluster, within),
          },
          {
            name: "https",
            why: "Browsers refuse a site whose certificate has ended, and nobody is served by a port that is not open.",
            next: answering,
            look: async (within: AbortSignal) =>
              https(
                (await place.traffic.hello(within)).https,
                await expiryOf(db, place.cluster),
                clock(),
                await failingAutomatic(db, place.cluster),
              ),
          },
        ]),
    ...imageBuilder(config),
    {
      name: "work queue",
      why: "What was asked for waits until this work succeeds.",
      next: "Look at the server's log.",
      look: () => queue(db),
    },
  ];
}

/** What is kept, and who may use it. */
function ofState({ db, blobs, paths, place, clock }: DoctorDeps): Looking[] {
  return [
    {
      name: "database clock",
      why: "Leases, the end of tokens and the order of events go by it.",
      next: "See whether the database answers.",
      look: () => clockAgainstDatabase(db, () => clock().getTime()),
    },
    {
      name: "clock set back",
      why: "Tokens and certificates end at the wrong time, and logs and events stand in the wrong order.",
      next: "See whether the database answers.",
      look: () => latestEvent(db, clock()),
    },
    keysCheck(paths),
    {
      name: "secrets",
      why: "A release that uses such a secret cannot be started anew, a certificate cannot be given to a new edge, and the server does not start without the keys.",
      next: "See whether the database answers.",
      look: () => sealedSecrets(db, paths.secretsKey, place?.cluster),
    },
    {
      name: "kept releases",
      why: "What runs of them goes on; nothing of them can be started in a new place, nor be rolled back to.",
      next: "See whether the database answers and the home folder can be read.",
      look: (within) => {
        const until = Date.now() + patience * readingShare;
        return keptBundles(db, blobs, () => Date.now() < until, within);
      },
    },
    {
      name: "tokens",
      why: "From then on, whatever signs in with it (a pipeline, a script) is refused.",
      next: "See whether the database answers.",
      look: () => expiringTokens(db, clock()),
    },
    {
      name: "backup",
      why: "Without one, a lost disk takes every stack, release and secret along.",
      next: "`berth backup` makes one.",
      look: () => lastBackup(paths, clock()),
    },
    ...servicesChecks(paths),
  ];
}

function ofMachine({ paths, findTool }: DoctorDeps): Looking[] {
  return [
    diskCheck(paths),
    ...["git", "node", "python3"].map((name): Looking => ({
      name,
      why:
        name === "git"
          ? "No source can be fetched from a repository without it."
          : "Projects that need it cannot be built or started here.",
      next: `Install ${name} on the server's machine.`,
      look: async () => toolState(name, await findTool(name)),
    })),
  ];
}

async function database(db: Db, config: Config): Promise<Found> {
  const { rows } = await sql<ServerFacts & { size: string }>`
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number, pg_is_in_recovery() as standby,
      current_setting('transaction_read_only') = 'on' as "readOnly", current_setting('server_encoding') as encoding,
      pg_size_pretty(pg_database_size(current_database())) as size`.execute(db);
  const [facts] = rows;
  if (facts === undefined) return { status: "failed", found: "answers with nothing" };
  const refusal = refusalOf(facts, "of this installation");
  if (refusal !== undefined) return { status: "failed", found: refusal.message.replace(/\.$/, ""), next: refusal.hint };
  return ok(`PostgreSQL ${facts.version}, ${config.databaseUrl === undefined ? "embedded" : "your own"}, ${facts.size}`);
}

async function queue(db: Db): Promise<Found> {
  const stats = await queueStats(db);
  const failing = stats.filter((item) => item.failing > 0);
  const late = stats.filter((item) => item.lag > 60);
  if (failing.length + late.length === 0) return ok("nothing is late and nothing fails");
  return {
    status: "warning",
    found: [
      ...failing.map((item) => `${item.failing} ${item.kind} row(s) fail and are tried again`),
      ...late.map((item) => `${item.kind} work is ${Math.round(item.lag)} s late`),
    ].join("; "),
    next: "The server's log has the errors: `berth server logs`.",
  };
}
