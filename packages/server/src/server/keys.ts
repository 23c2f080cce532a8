// Whether this home's key file opens what the database holds sealed. A start must never go on with new keys in the place of lost ones: what was sealed
// before would be lost without a word, and what is sealed afterwards would be lost when the old file is put back.
import { existsSync, readFileSync } from "node:fs";
import { sql } from "kysely";
import type { Config } from "../config.ts";
import { clusterOwners } from "../db/clusters.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import { DatabaseRefused } from "../db/refused.ts";
import { KeyFileDamaged, openSecretBox, secretBoxOf, type SecretBox } from "../db/secretbox.ts";
import type { Paths } from "../paths.ts";
import { certificateIdentity } from "../resources/certificates/store.ts";
import { hostIdentity } from "../resources/clusters/store.ts";
import { registryIdentity } from "../resources/registries/store.ts";
import { secretIdentity } from "../resources/secrets/store.ts";
import { credentialIdentity } from "../resources/sources/credentials.ts";
import { webhookIdentity } from "../resources/webhooks/store.ts";
import { clusterOf } from "./claim.ts";
import { openNode } from "./node.ts";

/** How many things are sealed; versions of one secret are one thing. */
export interface SealedCount {
  readonly secret: number;
  readonly credential: number;
  readonly certificate: number;
  readonly registry: number;
  readonly webhook: number;
  readonly host: number;
}
type Kind = keyof SealedCount;

/** What is sealed under one key. */
interface SealedRow {
  readonly key: string;
  readonly kind: Kind;
  readonly count: number;
  /** Of them, those whose newest value it is. */ readonly newest: number;
  /** Some of them. */
  readonly samples: readonly { readonly stack: string; readonly name: string; readonly version: number; readonly ciphertext: string }[];
}

export interface KeyState {
  readonly file: "here" | "missing" | "damaged";
  /** Everything that is sealed for this home. */ readonly all: SealedCount;
  /** What the file does not open, and nobody has given up. */ readonly lost: SealedCount;
  readonly lostKeys: readonly string[];
  /** What was given up, and has no newer value yet. */ readonly givenUp: SealedCount;
  /** Keys that the file has by name, and that open nothing. */ readonly spoilt: readonly string[];
}

/** `cluster`: the one that this home drives. Secrets of another one are sealed with the keys of its server, and are not looked at; certificates and registries are nobody's alone. */
export async function lookAtKeys(db: Db, keyFile: string, cluster: string): Promise<KeyState> {
  const rows = await sealedRows(db, cluster);
  const box = boxOf(keyFile);
  const lost: SealedRow[] = [];
  const givenUp: SealedRow[] = [];
  for (const row of rows) {
    if (typeof box !== "string" && opens(box, row)) continue;
    (typeof box !== "string" && box.gaveUp(row.key) ? givenUp : lost).push(row);
  }
  const lostKeys = [...new Set(lost.map(({ key }) => key))].toSorted();
  return {
    file: typeof box === "string" ? box : "here",
    all: total(rows, ({ newest }) => newest),
    lost: total(lost, ({ count }) => count),
    lostKeys,
    givenUp: total(givenUp, ({ newest }) => newest),
    spoilt:
      typeof box === "string" ? [] : lostKeys.filter((key) => box.knows(key) && !rows.some((row) => row.key === key && opens(box, row))),
  };
}

/** Of what is sealed under each key, how many kinds of things a box opens; a key that nothing is sealed under is not in it. */
export async function openedBy(
  db: Db,
  box: SecretBox,
  cluster: string,
): Promise<ReadonlyMap<string, { readonly opened: number; readonly of: number }>> {
  const found = new Map<string, { opened: number; of: number }>();
  for (const row of await sealedRows(db, cluster)) {
    const before = found.get(row.key) ?? { opened: 0, of: 0 };
    found.set(row.key, { opened: before.opened + (opens(box, row) ? 1 : 0), of: before.of + 1 });
  }
  return found;
}

/** The cluster whose secrets this home's keys have to open; undefined when the database has another home drive it. */
export async function clusterHere(db: Db, config: Config, paths: Paths): Promise<string | undefined> {
  const node = openNode(paths.nodeFile);
  const cluster = clusterOf(config, node);
  const owner = (await clusterOwners(db)).find((one) => one.cluster === cluster);
  // Nobody else can have the embedded database: a home that was copied or restored drives what is in it.
  return config.databaseUrl === undefined || owner === undefined || owner.node === node.id ? cluster : undefined;
}

export function isNothing(count: SealedCount): boolean {
  return count.secret + count.credential + count.certificate + count.registry + count.webhook + count.host === 0;
}

/** `2 secrets and 1 certificate`. */
export function countText(count: SealedCount): string {
  const parts = (
    [
      [count.secret, "secret"],
      [count.credential, "repository credential"],
      [count.certificate, "certificate"],
      [count.registry, "registry password"],
      [count.webhook, "webhook secret"],
      [count.host, "host credential"],
    ] as const
  ).flatMap(([many, what]) => (many === 0 ? [] : [`${String(many)} ${what}${many === 1 ? "" : "s"}`]));
  return parts.length === 0 ? "nothing sealed" : parts.join(", ").replace(/, (?=[^,]*$)/, " and ");
}

/** What is wrong, without its full stop; undefined = it opens everything that nobody gave up. */
export function troubleOf(state: KeyState, keyFile: string): string | undefined {
  if (state.file === "damaged") return `${keyFile} is damaged: it holds no keys that can be read`;
  if (isNothing(state.lost)) return undefined;
  const keys = `${state.lostKeys.length === 1 ? "key" : "keys"} ${state.lostKeys.join(", ")}`;
  return state.file === "missing"
    ? `${keyFile} is missing, and only it opens ${countText(state.lost)} of this database (${keys})`
    : `${keyFile} does not open ${countText(state.lost)} of this database: they are sealed with ${keys}`;
}

/** What to do about it. */
export const keyWayOut =
  "Put the file back from a copy; `berth server key --add FILE` takes the keys from one, or from a backup that was made with keys. Without any, `berth server key --accept-loss` goes on without these values.";

/**
 * The keys for a server. `cluster`: undefined when it drives none, and opens nothing that others sealed. Makes the file only where nothing is lost by it.
 * Errors: `DatabaseRefused` (`keys_missing`, `keys_damaged`, `keys_other`).
 */
export async function openKeys({
  db,
  keyFile,
  cluster,
  log,
}: {
  readonly db: Db;
  readonly keyFile: string;
  readonly cluster: string | undefined;
  readonly log: Log;
}): Promise<SecretBox> {
  if (cluster !== undefined) {
    const state = await lookAtKeys(db, keyFile, cluster);
    const trouble = troubleOf(state, keyFile);
    if (trouble !== undefined)
      throw new DatabaseRefused(state.file === "here" ? "keys_other" : `keys_${state.file}`, `${trouble}.`, keyWayOut);
    if (!isNothing(state.givenUp)) log.warn({ givenUp: state.givenUp }, "values whose key was given up are not set again yet");
  }
  try {
    return openSecretBox(keyFile);
  } catch (error) {
    if (!(error instanceof KeyFileDamaged)) throw error;
    throw new DatabaseRefused("keys_damaged", `${error.message}.`, keyWayOut, { cause: error });
  }
}

/** What is in the key file, whatever it has to open. */
export function boxOf(keyFile: string): SecretBox | "missing" | "damaged" {
  if (!existsSync(keyFile)) return "missing";
  try {
    return secretBoxOf(readFileSync(keyFile, "utf8"), keyFile);
  } catch (error) {
    if (error instanceof KeyFileDamaged) return "damaged";
    throw error;
  }
}

/** Tried with some values of that key: it can have the right name and the wrong bytes, and one row that was damaged by itself is not the key's fault. */
function opens(box: SecretBox, { kind, samples }: SealedRow): boolean {
  const identityOf = (sample: SealedRow["samples"][number]): string => {
    switch (kind) {
      case "secret":
        return secretIdentity(sample.stack, sample.name, sample.version);
      case "credential":
        return credentialIdentity(sample.stack, sample.name);
      case "certificate":
        return certificateIdentity(sample.name);
      case "registry":
        return registryIdentity(sample.name);
      case "webhook":
        return webhookIdentity(sample.name);
      case "host":
        return hostIdentity(sample.name);
    }
  };
  return samples.some((sample) => {
    try {
      box.open(sample.ciphertext, identityOf(sample));
      return true;
    } catch {
      // That it does not open is the answer.
      return false;
    }
  });
}

function total(rows: readonly SealedRow[], of: (row: SealedRow) => number): SealedCount {
  const sum = (kind: Kind): number => rows.reduce((all, row) => (row.kind === kind ? all + of(row) : all), 0);
  return {
    secret: sum("secret"),
    credential: sum("credential"),
    certificate: sum("certificate"),
    registry: sum("registry"),
    webhook: sum("webhook"),
    host: sum("host"),
  };
}

/**
 * By key. Certificates, passwords of registries and secrets of webhooks are the whole installation's, sealed by whichever server was asked: they count where no other server could have been. Left out are
 * what lasts no longer than a day: answers kept for repeated requests, and plans.
 */
async function sealedRows(db: Db, cluster: string): Promise<SealedRow[]> {
  const { rows } = await sql<SealedRow>`
    with driven as (
      select id, name, host_ciphertext from clusters
      where name = ${cluster} or (host is not null and node_id = (select node_id from clusters where name = ${cluster}))
    ),
    ours as (select id from stacks where cluster_id in (select id from driven)),
    sealed as (
      select 'secret' as kind, stack_id::text as stack, name, version, ciphertext, version = max(version) over (partition by stack_id, name) as newest
      from secrets where stack_id in (select id from ours)
      union all select 'credential', stack_id::text, name, 0, ciphertext, true from credentials where stack_id in (select id from ours)
      union all select 'host', '', name, 0, host_ciphertext, true from driven where host_ciphertext is not null
      union all select * from (select 'certificate', '', name, 0, ciphertext, true from certificates union all select 'registry', '', host, 0, ciphertext, true from registries
        union all select 'webhook', '', name, 0, ciphertext, true from webhooks) shared
      where not exists (select 1 from clusters where node_id is not null and host is null and name <> ${cluster})
    )
    select split_part(ciphertext, '.', 2) as key, kind, count(distinct (stack, name))::int as count, (count(*) filter (where newest))::int as newest,
      (array_agg(json_build_object('stack', stack, 'name', name, 'version', version, 'ciphertext', ciphertext)))[1:5] as samples
    from sealed group by 1, 2 order by 1, 2`.execute(db);
  return rows;
}
