// Writing a component's definition: its row, internal ports, routes, public ports and volumes, all in the caller's transaction.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { within } from "../../core/autoscale.ts";
import { BerthError } from "../../core/errors.ts";
import { isFollowed } from "../../core/image/reference.ts";
import { scheduleProblem } from "../../core/schedule.ts";
import type { Db } from "../../db/pool.ts";
import type { Call } from "../call.ts";
import { audit, stackEvent } from "../intent.ts";
import type { StackHandle } from "../stacks/service.ts";
import { ensureVolumes } from "../volumes/store.ts";
import { claimAddresses, freeAddresses } from "./addresses.ts";
import { defineParts, otherParts, wantedAmounts } from "./parts.ts";
import * as store from "./store.ts";

/** Compared by content: the database gives keys in an order of its own. */
export function sameSpec(before: ComponentSpec | undefined, after: ComponentSpec): boolean {
  return before !== undefined && canonicalJson(before) === canonicalJson(after);
}

/** Creates the component or changes it; `invalid_request` for a schedule that never comes due, `host_taken` and `port_taken` when a route or public port is somebody else's. */
export async function defineComponent(
  trx: Db,
  call: Call,
  stack: StackHandle,
  name: string,
  spec: ComponentSpec,
  expectedRevision?: string,
): Promise<{ component: store.ComponentRow; created: boolean; changed: boolean }> {
  const problem = spec.schedule === undefined ? undefined : scheduleProblem(spec.schedule);
  if (problem !== undefined) throw new BerthError("invalid_request", { reason: `the schedule of ${name} cannot be used: ${problem}` });
  if (spec.follow === true && !isFollowed(spec.image))
    throw new BerthError("invalid_request", {
      reason:
        spec.image === undefined
          ? `${name} cannot follow a tag: what is built has none`
          : `${name} cannot follow a tag: ${spec.image} names one image for ever`,
    });
  const existing = await store.findComponent(trx, stack.id, name, { lock: true });
  if (existing?.delete_requested_at != null)
    throw new BerthError("wrong_state", {
      verb: "Deploying",
      reason: `component ${name} is being removed`,
      hint: "Wait a moment and try again.",
    });
  if (existing === undefined && expectedRevision !== undefined) throw new BerthError("precondition_failed");
  const parts = existing === undefined ? [] : await otherParts(trx, stack, existing.id);
  const amounts = wantedAmounts(
    stack.cluster,
    spec,
    existing === undefined ? undefined : { spec: existing.spec, home: existing.replicas, parts },
  );
  const component = existing ?? (await store.insertComponent(trx, { stackId: stack.id, name, spec, replicas: amounts.get(stack.cluster) }));
  const changed = existing !== undefined && !sameSpec(existing.spec, spec);
  if (existing !== undefined && (changed || expectedRevision !== undefined)) {
    // Wanted instances follow the definition only when the definition's number changed; otherwise scaling by hand stays. What is scaled by its cluster stays within the limits.
    const wanted = spec.autoscale === undefined ? (amounts.get(stack.cluster) ?? 0) : existing.replicas;
    const scaled = within(wanted, spec.autoscale);
    const replicas = scaled === existing.replicas ? undefined : scaled;
    if (!(await store.updateComponent(trx, component.id, { spec, ...(replicas === undefined ? {} : { replicas }) }, expectedRevision)))
      throw new BerthError("precondition_failed");
  }
  await claimAddresses(trx, stack, component, spec);
  await freeAddresses(trx, stack, component.id);
  for (const volume of await ensureVolumes(
    trx,
    stack,
    spec.volumes.map((mount) => mount.volume),
  ))
    await stackEvent(trx, stack, { code: "volume_created", params: { volume } });
  if (existing === undefined) await stackEvent(trx, stack, { code: "component_created", component: name });
  else if (changed) await stackEvent(trx, stack, { code: "component_updated", component: name });
  if (existing === undefined || changed)
    await audit(trx, call, existing === undefined ? "components.create" : "components.update", `component:${stack.name}/${name}`);
  const now = await store.findComponentById(trx, component.id);
  if (now === undefined) throw new BerthError("internal");
  if (spec.placement !== undefined || parts.length > 0) await defineParts(trx, stack, now, amounts);
  return { component: now, created: existing === undefined, changed };
}
