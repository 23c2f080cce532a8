// A component as the API shows it. Pure.
import type { ClusterPart, Component } from "@berth/contract/resources/components.ts";
import { componentVerbs } from "../../core/allowed.ts";
import type { Traffic } from "../../engines/traffic.ts";
import type { MayHere, StackHandle } from "../stacks/service.ts";
import type { Places } from "../deps.ts";
import type { ComponentListRow, PartSummary } from "./store.ts";

/** From the worst to the best: what one cluster is in, the component is in. */
const byWorst: readonly Component["state"][] = [
  "deleting",
  "failed",
  "degraded",
  "progressing",
  "unknown",
  "new",
  "stopped",
  "scheduled",
  "healthy",
];

function stateOf(row: ComponentListRow, parts: readonly ClusterPart[] | undefined): Component["state"] {
  const own = row.state as Component["state"];
  const staying = stayingOf(parts);
  if (staying === undefined || row.delete_requested_at !== null) return own;
  return byWorst.find((state) => staying.some((part) => part.state === state)) ?? own;
}

/** Without the clusters that it leaves: those are on their way out, and it is not. */
const stayingOf = (parts: readonly ClusterPart[] | undefined): readonly ClusterPart[] | undefined =>
  parts?.filter(({ state }) => state !== "deleting");

/** A component in each of its clusters; undefined where it runs in its stack's own alone. */
export function clusterParts(
  home: string,
  row: ComponentListRow,
  places: Pick<Places, "traffic">,
  unknownSince: (cluster: string) => { readonly unknownSince?: string },
): ClusterPart[] | undefined {
  const listed = row.spec.placement?.clusters.map(({ name }) => name) ?? [];
  if (listed.length === 0 && row.parts.length === 0) return undefined;
  const own: Omit<PartSummary, "id"> = {
    cluster: home,
    replicas: row.replicas,
    ready: row.ready,
    state: row.state,
    deleting: row.delete_requested_at !== null,
    running: true,
    cause: row.cause,
    drift: row.drift.length,
    release: row.release_number,
    rollout: row.rollout_number === null || row.rollout_phase === null ? null : { number: row.rollout_number, phase: row.rollout_phase },
    routes: row.routes,
  };
  const place = (cluster: string): number => (cluster === home ? -1 : listed.includes(cluster) ? listed.indexOf(cluster) : listed.length);
  return [own, ...row.parts.toSorted((one, other) => place(one.cluster) - place(other.cluster))].map((part) => ({
    name: part.cluster,
    state: part.deleting ? "deleting" : (part.state as Component["state"]),
    replicas: part.replicas,
    ready: part.ready,
    ...(part.release === null ? {} : { release: part.release }),
    ...(part.rollout === null ? {} : { rollout: part.rollout }),
    urls: part.routes
      .filter(({ host }) => !host.startsWith("*."))
      .map(({ host, path }) => places.traffic(part.cluster).publicUrl(host, path)),
    ...(part.cause === null ? {} : { cause: part.cause }),
    ...unknownSince(part.cluster),
  }));
}

export function presentComponent(
  stack: Pick<StackHandle, "name" | "deleting" | "drift">,
  row: ComponentListRow,
  traffic: Pick<Traffic, "publicUrl">,
  may: MayHere,
  warningsOf: (hosts: readonly string[]) => NonNullable<Component["warnings"]>,
  unknown: Pick<Component, "unknownSince">,
  autoscaler: boolean,
  parts: readonly ClusterPart[] | undefined,
): Component {
  const changed = row.parts.reduce((all, part) => all + part.drift, row.drift.length);
  const isLeft = stack.drift === "report" && changed > 0;
  const warnings = [
    ...warningsOf(row.routes.map(({ host }) => host)),
    ...(isLeft ? [{ code: "drifted", params: { count: String(changed) } }] : []),
  ];
  const internal = row.ports.map(
    ({ name, port }) => [name, `${row.spec.ports.find((wanted) => wanted.name === name)?.protocol ?? "tcp"}://127.0.0.1:${port}`] as const,
  );
  return {
    stack: stack.name,
    name: row.name,
    kind: row.kind,
    state: stateOf(row, parts),
    replicas: stayingOf(parts)?.reduce((all, part) => all + part.replicas, 0) ?? row.replicas,
    ready: stayingOf(parts)?.reduce((all, part) => all + part.ready, 0) ?? row.ready,
    stopped: row.stopped,
    ...(row.release_number === null || row.release_hash === null || row.release_created_at === null
      ? {}
      : { release: { number: row.release_number, hash: row.release_hash, createdAt: row.release_created_at.toISOString() } }),
    ...(row.rollout_number === null || row.rollout_phase === null
      ? {}
      : { rollout: { number: row.rollout_number, phase: row.rollout_phase } }),
    ...(parts === undefined ? {} : { clusters: [...parts] }),
    urls: row.routes.filter(({ host }) => !host.startsWith("*.")).map(({ host, path }) => traffic.publicUrl(host, path)),
    internal: Object.fromEntries(internal),
    ...(row.cause === null ? {} : { cause: row.cause }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...unknown,
    ...(row.observed_at === null ? {} : { observedAt: row.observed_at.toISOString() }),
    ...(row.spec.follow !== true || row.looked_at === null
      ? {}
      : { looked: { at: row.looked_at.toISOString(), ...(row.look_cause === null ? {} : { cause: row.look_cause }) } }),
    ...(row.next_run_at === null ? {} : { nextRunAt: row.next_run_at.toISOString() }),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    spec: row.spec,
    allowed: componentVerbs(may, {
      kind: row.kind,
      stopped: row.stopped,
      deleting: stack.deleting || row.delete_requested_at !== null,
      released: row.stable_release_id !== null,
      older: row.older,
      rolling: row.rolling,
      autoscaled: row.spec.autoscale !== undefined,
      autoscaler,
      running: row.observed.instances.some((instance) => instance.phase === "running") || row.parts.some((part) => part.running),
    }),
  };
}
