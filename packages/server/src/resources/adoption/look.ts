// Looks at what runs and finds what the database does not know of it, with whether and how it can be taken over. Changes nothing.
import { isArtifactStored } from "../artifacts.ts";
import type { Candidate } from "@berth/contract/resources/adoption.ts";
import { currentGroup, type Group } from "../../core/adoption.ts";
import { readRecord, type ReleaseRecord } from "../../core/release/record.ts";
import type { Db } from "../../db/pool.ts";
import type { InstanceRecord, Ref } from "../../engines/engine.ts";
import type { TrafficEntry } from "../../engines/traffic.ts";
import type { ResourceDeps } from "../deps.ts";
import * as store from "./store.ts";

/** A candidate with all that is needed to take it over. */
export interface Found {
  readonly shown: Candidate;
  readonly stackId: string;
  readonly group: Group<InstanceRecord>;
  readonly record: ReleaseRecord | undefined;
  readonly entry: TrafficEntry | undefined;
  readonly known: store.KnownComponent | undefined;
  /** Of a part of a component: the stack's own cluster, as it was called when it was started. */
  readonly home: string | undefined;
}

type Note = Candidate["notes"][number];
const note = (code: string, params: Record<string, string> = {}): Note => ({ code, params });

export interface LookedAround {
  readonly found: readonly Found[];
  /** Clusters that nobody could look at. */
  readonly away: readonly string[];
}

type LookDeps = Pick<ResourceDeps, "db" | "blobs" | "places" | "addedClusters">;

/** Everything in the clusters of this server that runs and is not, or not as it runs, in the database. Errors: `engine_unavailable` when one does not answer that is connected. */
export async function lookAround(deps: LookDeps, signal: AbortSignal): Promise<LookedAround> {
  const all = await store.clusters(deps.db);
  const driven = [deps.places.standard, ...all.filter((name) => name !== deps.places.standard && deps.places.owns(name))];
  const away = driven.filter((cluster) => deps.addedClusters.state(cluster)?.connected === false);
  const found: Found[] = [];
  for (const cluster of driven) if (!away.includes(cluster)) found.push(...(await lookIn(deps, cluster, signal)));
  return { found: found.map((one) => withOwner(one, found)), away };
}

/** A part is taken over after its component, or with it. */
function withOwner(one: Found, all: readonly Found[]): Found {
  const { home, known, stackId, shown } = one;
  const isOwner = (other: Found): boolean =>
    other.home === undefined && other.stackId === stackId && other.shown.component === shown.component && other.shown.possible;
  if (home === undefined || known !== undefined || !shown.possible || all.some(isOwner)) return one;
  return { ...one, shown: { ...shown, possible: false, notes: [...shown.notes, partAlone(shown.component, home)] } };
}

export const partAlone = (component: string, home: string): Note => note("adopt_part", { component, home });

async function lookIn(deps: LookDeps, cluster: string, signal: AbortSignal): Promise<Found[]> {
  const running = new Map<string, { ref: Ref; records: InstanceRecord[] }>();
  for await (const record of deps.places.engine(cluster).records(signal)) {
    if (record.stopping) continue;
    const key = `${record.ref.stack}/${record.ref.component}`;
    const one = running.get(key) ?? { ref: record.ref, records: [] };
    one.records.push(record);
    running.set(key, one);
  }
  const found: Found[] = [];
  for (const [, { ref, records }] of [...running].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const entry = await deps.places.traffic(cluster).readEntry(ref, signal);
    const one = await lookAt(deps, cluster, ref, records, entry);
    if (one !== undefined) found.push(one);
  }
  return found;
}

async function lookAt(
  deps: Pick<ResourceDeps, "db" | "blobs" | "places">,
  cluster: string,
  ref: Ref,
  records: readonly InstanceRecord[],
  entry: TrafficEntry | undefined,
): Promise<Found | undefined> {
  const group = currentGroup(records, entry);
  if (group === undefined) return undefined;
  const workload = group.instances[0]?.workload;
  if (workload === undefined) return undefined;
  const record = readRecord(workload.record, workload.releaseHash);
  const home = record?.home === cluster ? undefined : record?.home;
  const stack = await store.stackNamed(deps.db, ref.stack);
  const known = stack === undefined ? undefined : await store.componentNamed(deps.db, stack.id, ref.component);
  const ours = stack?.id === workload.stackId;
  const part = known === undefined || home === undefined ? undefined : await store.partIn(deps.db, known.id, cluster);
  const row = home === undefined ? known : part;
  const knows = (hash: string): boolean => known?.hashes.includes(hash) === true;
  if (row !== undefined && ours && !row.held && records.every((record) => knows(record.workload.releaseHash))) return undefined;
  const refusals = await whyNot(deps.db, ref, { stack, ours, rows: [known?.id, part?.id], record });
  const remarks = await remarksOn(deps, cluster, records, group, record);
  return {
    stackId: workload.stackId,
    group,
    record,
    entry,
    known: ours ? known : undefined,
    home,
    shown: {
      stack: ref.stack,
      component: ref.component,
      cluster,
      unknown: stack === undefined || !ours ? "stack" : row === undefined ? "component" : "release",
      release: group.releaseNumber,
      instances: group.instances.length,
      urls: (entry?.ports ?? []).flatMap((port) =>
        port.hosts.filter(({ host }) => !host.startsWith("*.")).map(({ host, path }) => deps.places.traffic(cluster).publicUrl(host, path)),
      ),
      possible: refusals.length === 0,
      notes: [...refusals, ...remarks],
    },
  };
}

interface Seen {
  readonly stack: { readonly id: string; readonly deleting: boolean } | undefined;
  readonly ours: boolean;
  /** Of the component, and of its part there. */
  readonly rows: readonly (string | undefined)[];
  readonly record: ReleaseRecord | undefined;
}

async function whyNot(db: Db, ref: Ref, { stack, ours, rows, record }: Seen): Promise<Note[]> {
  if (record === undefined) return [note("adopt_no_record", { component: ref.component })];
  if (stack !== undefined && !ours) return [note("adopt_other_stack", { stack: ref.stack })];
  if (stack?.deleting === true) return [note("adopt_deleting", { stack: ref.stack })];
  for (const id of rows)
    if (id !== undefined && (await store.hasOpenRollout(db, id))) return [note("adopt_rollout", { component: ref.component })];
  return [];
}

async function remarksOn(
  deps: Pick<ResourceDeps, "blobs" | "places">,
  cluster: string,
  records: readonly InstanceRecord[],
  group: Group<InstanceRecord>,
  record: ReleaseRecord | undefined,
): Promise<Note[]> {
  const others = records.filter((one) => !group.instances.includes(one));
  const bundle = record?.content.runtime.reference ?? record?.content.artifactDigest;
  return [
    ...(others.length === 0
      ? []
      : [
          note("adopt_others", {
            count: String(others.length),
            releases: [...new Set(others.map((one) => one.workload.releaseNumber))].join(", "),
          }),
        ]),
    ...(bundle === undefined || (await isArtifactStored(deps, cluster, bundle))
      ? []
      : [note("adopt_bundle_missing", { component: group.instances[0]?.ref.component ?? "" })]),
  ];
}
