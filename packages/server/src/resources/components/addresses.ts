// The hosts, public ports and internal ports that a component holds. They are claimed when intent is accepted and given back when a rollout has ended, so that a
// release that still serves, or that a failed rollout goes back to, never loses its address to one that is not live yet (promise 3).
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { BerthError } from "../../core/errors.ts";
import { wantedRoutes } from "../../core/traffic-entry.ts";
import type { Db } from "../../db/pool.ts";
import { wakeComponent } from "../intent.ts";
import { findRelease } from "../releases/store.ts";
import { openRollout } from "../rollouts/store.ts";
import * as claims from "./claims.ts";
import { findComponentById } from "./store.ts";

/** `domain`: of its cluster. */
interface Named {
  readonly name: string;
  readonly domain: string;
}
interface StackOf extends Named {
  readonly id: string;
  readonly clusterId: string;
  readonly cluster: string;
}
interface ComponentOf {
  readonly id: string;
  readonly name: string;
}

/** Claims all that the definition names, beside what is held already. `host_taken` and `port_taken` when something is somebody else's. */
export async function claimAddresses(trx: Db, stack: StackOf, component: ComponentOf, spec: ComponentSpec): Promise<void> {
  await claims.claimInternalPorts(trx, component.id, stack.clusterId, spec.ports);
  for (const route of wantedRoutes(stack, component.name, spec)) {
    const claim = (): Promise<claims.Owner | undefined> => claims.claimRoute(trx, component.id, stack.clusterId, route);
    const taken = await orTakenOver(trx, stack, await claim(), claim);
    if (taken !== undefined)
      throw new BerthError("host_taken", {
        host: route.host,
        path: route.path === "/" ? "" : route.path,
        owner: `${taken.stack}/${taken.component}`,
      });
  }
  for (const { name, protocol, published } of spec.ports) {
    if (protocol !== "tcp" || published === undefined) continue;
    const claim = (): Promise<claims.Owner | undefined> =>
      claims.claimPublishedPort(trx, component.id, stack.clusterId, { name, published });
    const taken = await orTakenOver(trx, stack, await claim(), claim);
    if (taken !== undefined) throw new BerthError("port_taken", { port: published, owner: `${taken.stack}/${taken.component}` });
  }
}

/** What a sibling of the same stack holds only for a release that its definition has left behind moves over at once: that is how a domain changes its component. */
async function orTakenOver(
  trx: Db,
  stack: StackOf,
  owner: claims.Owner | undefined,
  claim: () => Promise<claims.Owner | undefined>,
): Promise<claims.Owner | undefined> {
  if (owner === undefined || owner.stackId !== stack.id) return owner;
  await claims.freeClaims(trx, owner.componentId, {
    ...keptFor({ name: owner.stack, domain: stack.domain }, owner.component, [owner.spec]),
    internal: "all",
  });
  const still = await claim();
  if (still === undefined) await wakeComponent(trx, owner.componentId, stack.cluster);
  return still;
}

/** Gives back what neither the definition, nor the release that serves, nor one on its way names. */
export async function freeAddresses(trx: Db, stack: Named, componentId: string): Promise<void> {
  const component = await findComponentById(trx, componentId);
  if (component === undefined) return;
  const stable = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
  const rollout = await openRollout(trx, componentId);
  const specs = [component.spec, stable?.spec, rollout?.spec].filter((spec) => spec !== undefined);
  await claims.freeClaims(trx, componentId, keptFor(stack, component.name, specs));
}

function keptFor(stack: Named, component: string, specs: readonly ComponentSpec[]): claims.KeptClaims {
  return { routes: specs.flatMap((spec) => wantedRoutes(stack, component, spec)), ports: specs.flatMap((spec) => spec.ports) };
}
