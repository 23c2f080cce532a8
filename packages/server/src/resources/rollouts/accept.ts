// Accepting a deployment: stack version, rollouts, what each waits for, superseding older ones, and the due rows, in the caller's transaction.
// Once accepted, a rollout's intent is complete in its row, so that any process can carry it on (promise 2).
import { cause } from "@berth/contract/causes.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { Call } from "../call.ts";
import { claimAddresses } from "../components/addresses.ts";
import { nextNumber as nextComponentNumber, updateComponent, type ComponentRow } from "../components/store.ts";
import { otherParts, placedParts, type Part } from "../components/parts.ts";
import { stackEvent, wakeComponent } from "../intent.ts";
import type { ReleaseRow } from "../releases/store.ts";
import type { StackHandle } from "../stacks/service.ts";
import { nextNumber } from "../stacks/store.ts";
import * as store from "./store.ts";

export interface Wanted {
  readonly component: ComponentRow;
  readonly spec: ComponentSpec;
  readonly config: Record<string, string>;
  readonly secretRefs: Record<string, SecretRef>;
  /** A build whose outcome is released, the image that the spec names (`reference`: what that was found to stand for already), or a release that is put live again. */
  readonly from: { readonly build: string } | { readonly image: string; readonly reference?: string } | { readonly release: string };
}

/** A release put live again as it was, whole (promise 5), without waiting for other components. */
export const sameAgain = (component: ComponentRow, release: ReleaseRow): Wanted => ({
  component,
  spec: { ...release.spec, dependsOn: [] },
  config: release.config,
  secretRefs: release.secret_refs,
  from: { release: release.id },
});

export interface Accepted {
  readonly version: number;
  readonly rollouts: { readonly component: string; readonly number: number; readonly id: string }[];
}

export async function acceptRollouts(
  trx: Db,
  call: Pick<Call, "by">,
  stack: StackHandle,
  wanted: readonly Wanted[],
  reason: string,
): Promise<Accepted> {
  const version = await nextNumber(trx, stack.id, "last_version");
  const versionId = await store.insertVersion(trx, { stackId: stack.id, number: version, reason, by: call.by });
  const accepted: AcceptedPart[] = [];
  for (const item of byDependency(wanted)) {
    let before: Pick<AcceptedPart, "id" | "number"> | undefined;
    const placed = await placedParts(trx, stack, item.component);
    for (const part of placed) {
      const waitsFor = item.spec.dependsOn.flatMap(({ component }) => inCluster(accepted, component, part.at.cluster));
      const made = await acceptPart(trx, call, part, item, { versionId, reason, follows: before?.id, waitsFor });
      accepted.push({ component: item.component.name, componentId: part.row.id, cluster: part.at.cluster, ...made });
      before = made;
    }
    await supersedeElsewhere(trx, stack, item.component, placed, before?.number ?? 0);
  }
  await store.insertVersionMembers(trx, versionId, stack.id, new Map(accepted.map((item) => [item.componentId, item.id])));
  await stackEvent(trx, stack, { code: "stack_version", params: { version, reason } });
  return { version, rollouts: accepted.map(({ component, number, id }) => ({ component, number, id })) };
}

interface AcceptedPart {
  readonly component: string;
  readonly componentId: string;
  readonly cluster: string;
  readonly number: number;
  readonly id: string;
}

/** The rollout of a component in that cluster; of one that runs in others only, all of them. */
function inCluster(accepted: readonly AcceptedPart[], component: string, cluster: string): string[] {
  const all = accepted.filter((other) => other.component === component);
  const there = all.filter((other) => other.cluster === cluster);
  return (there.length > 0 ? there : all).map(({ id }) => id);
}

/** One cluster's rollout. `follows`: that of the cluster before, whose release it brings as well. */
async function acceptPart(
  trx: Db,
  call: Pick<Call, "by">,
  { row, at }: Part,
  item: Wanted,
  {
    versionId,
    reason,
    follows,
    waitsFor,
  }: { readonly versionId: string; readonly reason: string; readonly follows: string | undefined; readonly waitsFor: readonly string[] },
): Promise<{ readonly id: string; readonly number: number }> {
  const number = await nextComponentNumber(trx, item.component.id, "last_rollout");
  // A release that is put live again may need addresses that the definition of now does not name.
  await claimAddresses(trx, at, row, item.spec);
  await supersede(trx, at, row, number);
  const id = await store.insertRollout(trx, {
    componentId: row.id,
    clusterId: at.clusterId,
    number,
    versionId,
    reason,
    by: call.by,
    phase: "release" in item.from || follows !== undefined ? "waiting" : "building",
    buildId: "build" in item.from ? item.from.build : null,
    releaseId: "release" in item.from ? item.from.release : null,
    fromReleaseId: row.stable_release_id,
    spec: item.spec,
    config: item.config,
    secretRefs: item.secretRefs,
    waitsFor: follows === undefined ? waitsFor : [...waitsFor, follows],
    imageReference: "image" in item.from ? (item.from.reference ?? null) : null,
    follows,
    pause: follows === undefined ? 0 : (item.component.spec.placement?.pause ?? 0),
  });
  // Somebody decided what is to run: what was left alone until then gives way to it.
  if (row.held) await updateComponent(trx, row.id, { held: false });
  await stackEvent(trx, at, {
    code: "rollout_created",
    component: row.name,
    params: { rollout: number, reason },
    topics: [`rollout:${at.name}/${row.name}/${number}`],
  });
  await wakeComponent(trx, row.id, at.cluster);
  return { id, number };
}

/** A newer rollout takes over cleanly: the older one ends here, and what it started is the planner's to remove. */
async function supersede(trx: Db, stack: StackHandle, component: ComponentRow, by: number): Promise<void> {
  const open = await store.openRollout(trx, component.id);
  if (open === undefined) return;
  await store.updateRollout(trx, open.id, { phase: "superseded", cause: cause("superseded", { rollout: by }), endedAt: new Date() });
  await stackEvent(trx, stack, {
    code: "rollout_superseded",
    component: component.name,
    params: { rollout: open.number, by },
    topics: [`rollout:${stack.name}/${component.name}/${open.number}`],
  });
  for (const waiting of await store.waitingFor(trx, open.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
}

/** Where it is placed no more, an older rollout gives way as well: it follows one that did, and would decide over clusters by a placement that is not its own. */
async function supersedeElsewhere(
  trx: Db,
  stack: StackHandle,
  component: ComponentRow,
  placed: readonly Part[],
  by: number,
): Promise<void> {
  const listed = new Set(placed.map(({ row }) => row.id));
  for (const { row, at } of await otherParts(trx, stack, component.id)) {
    if (listed.has(row.id)) continue;
    await supersede(trx, at, row, by);
    await wakeComponent(trx, row.id, at.cluster);
  }
}

/** Dependencies before what needs them; a circle keeps the order it was given in (the Compose reader refuses circles). */
export function byDependency<T extends { readonly component: { readonly name: string }; readonly spec: Pick<ComponentSpec, "dependsOn"> }>(
  wanted: readonly T[],
): T[] {
  const byName = new Map(wanted.map((item) => [item.component.name, item]));
  const done = new Set<string>();
  const ordered: T[] = [];
  const visit = (item: T, path: ReadonlySet<string>): void => {
    if (done.has(item.component.name) || path.has(item.component.name)) return;
    for (const dependency of item.spec.dependsOn) {
      const other = byName.get(dependency.component);
      if (other !== undefined) visit(other, new Set([...path, item.component.name]));
    }
    if (done.has(item.component.name)) return;
    done.add(item.component.name);
    ordered.push(item);
  };
  for (const item of wanted) visit(item, new Set());
  return ordered;
}
