// A component in several clusters: its row is its part in the stack's own cluster, and each other cluster has a row of its own. Each part has its own loop, its own numbers
// and its own rollouts, so that a cluster that is away keeps nobody waiting (docs/decisions/0051).
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import { refuseSecondTeam } from "../../core/isolation.ts";
import { divide, numbersOf, placementProblem } from "../../core/placement.ts";
import type { Db } from "../../db/pool.ts";
import { bury, openTombstone } from "../../db/tombstones.ts";
import type { Places } from "../deps.ts";
import { stackEvent, wakeComponent } from "../intent.ts";
import { lockCluster, otherTeam, type StackHandle } from "../stacks/service.ts";
import { claimAddresses, freeAddresses } from "./addresses.ts";
import * as store from "./store.ts";

/** A component's row in one cluster, with its stack as it is there. */
export interface Part {
  readonly row: store.ComponentRow;
  readonly at: StackHandle;
}

/** In clusters other than the stack's own, by their names. */
export async function otherParts(trx: Db, stack: StackHandle, componentId: string): Promise<Part[]> {
  const rows = await trx
    .selectFrom("components as c")
    .innerJoin("clusters as k", "k.id", "c.cluster_id")
    .where("c.part_of", "=", componentId)
    .select(store.componentColumns)
    .select(["k.id as k_id", "k.name as k_name", "k.domain as k_domain"])
    .orderBy("k.name")
    .execute();
  return rows.map(({ k_id: clusterId, k_name: cluster, k_domain: domain, ...row }) => ({
    row,
    at: { ...stack, clusterId, cluster, domain, namespace: null },
  }));
}

export async function hasParts(db: Db, componentId: string): Promise<boolean> {
  return (await partIds(db, componentId)).length > 0;
}

export async function partIds(db: Db, componentId: string): Promise<string[]> {
  return (await db.selectFrom("components").select("id").where("part_of", "=", componentId).execute()).map(({ id }) => id);
}

/** All that are to have a release, in the order in which it goes through their clusters; what is on its way out is left out. */
export async function placedParts(trx: Db, stack: StackHandle, component: store.ComponentRow): Promise<Part[]> {
  const others = await otherParts(trx, stack, component.id);
  const listed = component.spec.placement?.clusters.slice(1) ?? [];
  return [
    { row: component, at: stack },
    ...listed.flatMap(({ name }) => others.filter(({ row, at }) => at.cluster === name && row.delete_requested_at === null)),
  ];
}

type Facts = Pick<StackHandle, "cluster" | "teamId" | "team"> & { readonly id?: string };

/** Errors: `placement_refused` for clusters that it cannot run in, by its definition, by what they are, or by who has stacks there. */
export async function checkPlacement(
  trx: Db,
  places: Places,
  stack: Facts,
  name: string,
  specs: ReadonlyMap<string, ComponentSpec>,
  signal: AbortSignal,
): Promise<void> {
  const spec = specs.get(name);
  if (spec?.placement === undefined) return;
  const refuse = (reason: string, hint: string): never => {
    throw new BerthError("placement_refused", { component: name, reason, hint });
  };
  const problem = placementProblem(spec, stack.cluster);
  if (problem !== undefined) refuse(problem.reason, problem.way);
  const has = stack.id === undefined ? new Set<string>() : await clustersOf(trx, stack.id, name);
  const clusters = new Map<string, Awaited<ReturnType<typeof lockCluster>>>();
  // In one order for all, so that two placements never wait for each other in a circle.
  for (const where of spec.placement.clusters.map((one) => one.name).toSorted()) clusters.set(where, await lockCluster(trx, where));
  for (const { name: where } of spec.placement.clusters) {
    const cluster = clusters.get(where);
    if (cluster === undefined) return refuse(`there is no cluster ${where}`, "`berth clusters list` shows them.");
    if (cluster.engine === "local")
      refuse(`cluster ${cluster.called} runs processes of its own machine`, "Clusters that run containers can share a component.");
    if (!places.owns(where)) refuse(`another server drives cluster ${cluster.called}`, "Name clusters of the stack's own server.");
    if (where === stack.cluster || has.has(where)) continue;
    if (cluster.draining_since !== null)
      refuse(`cluster ${cluster.called} takes nothing new`, `Name another one, or \`berth clusters undrain ${cluster.called}\`.`);
    const other = await otherTeam(trx, cluster.id, stack.teamId);
    if (other !== undefined) refuseSecondTeam(await places.engine(where).capabilities(signal), where, { wanted: stack.team, other });
  }
  for (const { component } of spec.dependsOn) {
    const needed = specs.get(component);
    const there = needed?.placement?.clusters.map((one) => one.name) ?? [stack.cluster];
    const lacks = spec.placement.clusters.find((one) => !there.includes(one.name));
    if (needed !== undefined && lacks !== undefined)
      refuse(
        `it needs ${component}, which does not run in cluster ${clusters.get(lacks.name)?.called ?? lacks.name}`,
        `Place ${component} there too, or drop it from \`depends_on\`.`,
      );
  }
}

async function clustersOf(trx: Db, stackId: string, name: string): Promise<Set<string>> {
  const rows = await trx
    .selectFrom("components as c")
    .innerJoin("clusters as k", "k.id", "c.cluster_id")
    .select("k.name")
    .where("c.stack_id", "=", stackId)
    .where("c.name", "=", name)
    .execute();
  return new Set(rows.map((row) => row.name));
}

/** What a component was before its definition changed: undefined for one that is made now. */
export interface Before {
  readonly spec: ComponentSpec;
  readonly home: number;
  readonly parts: readonly Part[];
}

/** Wanted instances for each cluster: as the definition says where that changed, and otherwise as they were scaled. */
export function wantedAmounts(home: string, spec: ComponentSpec, before: Before | undefined): ReadonlyMap<string, number> {
  const had = before === undefined ? new Map<string, number>() : amountsNow(home, before);
  const isSame = before !== undefined && before.spec.replicas === spec.replicas;
  const total = isSame ? sum([...had.values()]) : spec.replicas;
  const { placement } = spec;
  if (placement === undefined) return new Map([[home, total]]);
  if (isSame && canonicalJson(before.spec.placement?.clusters ?? []) === canonicalJson(placement.clusters)) return had;
  return amountsOf(placement, numbersOf(placement) ?? divide(total, placement));
}

/** Wanted instances for each cluster that it is to run in. A cluster that is being left has its own until then, and counts no more. */
export function amountsNow(home: string, { spec, home: own, parts }: Before): ReadonlyMap<string, number> {
  const listed = new Set(spec.placement?.clusters.map(({ name }) => name));
  const staying = parts.filter(({ row, at }) => listed.has(at.cluster) && row.delete_requested_at === null);
  return new Map([[home, own], ...staying.map(({ row, at }): [string, number] => [at.cluster, row.replicas])]);
}

/** The same for a number of all its instances. */
export function scaledAmounts(home: string, spec: ComponentSpec, total: number): ReadonlyMap<string, number> {
  return spec.placement === undefined ? new Map([[home, total]]) : amountsOf(spec.placement, divide(total, spec.placement));
}

const amountsOf = ({ clusters }: NonNullable<ComponentSpec["placement"]>, amounts: readonly number[]): ReadonlyMap<string, number> =>
  new Map(clusters.map(({ name }, index) => [name, amounts[index] ?? 0]));
const sum = (numbers: readonly number[]): number => numbers.reduce((all, number) => all + number, 0);

/**
 * Makes the parts that the definition lists and changes those that there are. A part that it lists no more keeps its instances until the rest has a release (`leaveClusters`), or
 * goes at once when nothing of the component was released.
 */
export async function defineParts(
  trx: Db,
  stack: StackHandle,
  component: store.ComponentRow,
  amounts: ReadonlyMap<string, number>,
): Promise<void> {
  const there = await otherParts(trx, stack, component.id);
  const { spec } = component;
  for (const { name } of spec.placement?.clusters.slice(1) ?? []) {
    const known = there.find(({ at }) => at.cluster === name);
    if (known?.row.delete_requested_at != null)
      throw new BerthError("wrong_state", {
        verb: "Placing it",
        reason: `what ran of ${component.name} in cluster ${name} is being removed`,
        hint: "Wait until it is gone, and place it again.",
      });
    const part = known ?? (await insertPart(trx, stack, component, name, amounts.get(name) ?? 0));
    if (known !== undefined) await store.updateComponent(trx, part.row.id, { spec, replicas: amounts.get(name) ?? part.row.replicas });
    await claimAddresses(trx, part.at, part.row, spec);
    await freeAddresses(trx, part.at, part.row.id);
    await wakeComponent(trx, part.row.id, part.at.cluster);
  }
  if (component.stable_release_id === null) await leaveClusters(trx, stack, component);
}

/** What surrounds a stack in a cluster goes with the last of its parts there, and would take along what is placed there meanwhile. Errors: `placement_refused`. */
async function refuseWhileLeaving(trx: Db, { id, name: stack }: StackHandle, component: string, where: string): Promise<void> {
  // Whoever decides that waits for this, and finds the new part; or this waits for the decision.
  await trx.selectFrom("stacks").select("id").where("id", "=", id).forUpdate().execute();
  if ((await openTombstone(trx, where, { kind: "stack", stack })) === undefined) return;
  throw new BerthError("placement_refused", {
    component,
    reason: `what ran of stack ${stack} in cluster ${where} is being removed`,
    hint: "Try again in a moment.",
  });
}

async function insertPart(
  trx: Db,
  stack: StackHandle,
  { id, name, kind, spec, stopped, restart }: store.ComponentRow,
  where: string,
  replicas: number,
): Promise<Part> {
  await refuseWhileLeaving(trx, stack, name, where);
  const cluster = await trx.selectFrom("clusters").select(["id", "domain"]).where("name", "=", where).executeTakeFirstOrThrow();
  const { id: made } = await trx
    .insertInto("components")
    .values({
      stack_id: stack.id,
      part_of: id,
      cluster_id: cluster.id,
      name,
      kind,
      spec: JSON.stringify(spec),
      replicas,
      stopped,
      restart,
      stable_release_id: null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  const row = await store.findComponentById(trx, made);
  if (row === undefined) throw new Error(`the part of ${name} in ${where} vanished in its own transaction`);
  return { row, at: { ...stack, clusterId: cluster.id, cluster: where, domain: cluster.domain } };
}

/** Takes the component out of the clusters that it is not placed in any more. */
export async function leaveClusters(trx: Db, stack: StackHandle, component: store.ComponentRow): Promise<void> {
  const listed = new Set(component.spec.placement?.clusters.map(({ name }) => name));
  for (const part of await otherParts(trx, stack, component.id))
    if (!listed.has(part.at.cluster) && part.row.delete_requested_at === null) {
      await stackEvent(trx, stack, { code: "component_leaving", component: component.name, params: { cluster: part.at.cluster } });
      await buryPart(trx, part);
    }
}

/** Its removal is decided: what runs of it in its cluster goes, and with the last of the stack's parts there what surrounds them. */
export async function buryPart(trx: Db, { row, at }: Part): Promise<void> {
  await store.updateComponent(trx, row.id, { deleteRequested: true });
  await bury(trx, { kind: "component", stack: at.name, component: row.name }, at);
  await wakeComponent(trx, row.id, at.cluster);
}

/** The same change of what is operational in every cluster. */
export async function changeParts(
  trx: Db,
  stack: StackHandle,
  component: store.ComponentRow,
  change: Pick<store.ComponentChange, "stopped" | "restart" | "held">,
  amounts?: ReadonlyMap<string, number>,
): Promise<void> {
  for (const { row, at } of await otherParts(trx, stack, component.id)) {
    const replicas = amounts?.get(at.cluster);
    await store.updateComponent(trx, row.id, { ...change, ...(replicas === undefined ? {} : { replicas }) });
    await wakeComponent(trx, row.id, at.cluster);
  }
}

/** Whether it runs the same release in exactly the clusters that this definition names. */
export async function isEverywhere(trx: Db, component: store.ComponentRow, { placement }: ComponentSpec): Promise<boolean> {
  const parts = await trx
    .selectFrom("components as c")
    .innerJoin("clusters as k", "k.id", "c.cluster_id")
    .select(["k.name", "c.stable_release_id"])
    .where("c.part_of", "=", component.id)
    .where("c.delete_requested_at", "is", null)
    .execute();
  const wanted = placement?.clusters.slice(1).map(({ name }) => name) ?? [];
  return (
    parts.every(({ name, stable_release_id }) => wanted.includes(name) && stable_release_id === component.stable_release_id) &&
    wanted.every((name) => parts.some((part) => part.name === name))
  );
}
