// Accepting a deployment: stack version, rollouts, what each waits for, superseding older ones, and the due rows, in the caller's transaction.
// Once accepted, a rollout's intent is complete in its row, so that any process can carry it on (promise 2).
import { cause } from "@berth/contract/causes.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { Call } from "../call.ts";
import { claimAddresses } from "../components/addresses.ts";
import { nextNumber as nextComponentNumber, updateComponent, type ComponentRow } from "../components/store.ts";
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
  const accepted: { component: string; componentId: string; number: number; id: string }[] = [];
  for (const item of byDependency(wanted)) {
    const number = await nextComponentNumber(trx, item.component.id, "last_rollout");
    // A release that is put live again may need addresses that the definition of now does not name.
    await claimAddresses(trx, stack, item.component, item.spec);
    await supersede(trx, stack, item.component, number);
    const waitsFor = item.spec.dependsOn.flatMap((dependency) =>
      accepted.filter((other) => other.component === dependency.component).map((other) => other.id),
    );
    const id = await store.insertRollout(trx, {
      componentId: item.component.id,
      clusterId: stack.clusterId,
      number,
      versionId,
      reason,
      by: call.by,
      phase: "release" in item.from ? "waiting" : "building",
      buildId: "build" in item.from ? item.from.build : null,
      releaseId: "release" in item.from ? item.from.release : null,
      fromReleaseId: item.component.stable_release_id,
      spec: item.spec,
      config: item.config,
      secretRefs: item.secretRefs,
      waitsFor,
      imageReference: "image" in item.from ? (item.from.reference ?? null) : null,
    });
    // Somebody decided what is to run: what was left alone until then gives way to it.
    if (item.component.held) await updateComponent(trx, item.component.id, { held: false });
    accepted.push({ component: item.component.name, componentId: item.component.id, number, id });
    await stackEvent(trx, stack, {
      code: "rollout_created",
      component: item.component.name,
      params: { rollout: number, reason },
      topics: [`rollout:${stack.name}/${item.component.name}/${number}`],
    });
    await wakeComponent(trx, item.component.id, stack.cluster);
  }
  await store.insertVersionMembers(trx, versionId, stack.id, new Map(accepted.map((item) => [item.componentId, item.id])));
  await stackEvent(trx, stack, { code: "stack_version", params: { version, reason } });
  return { version, rollouts: accepted.map(({ component, number, id }) => ({ component, number, id })) };
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
