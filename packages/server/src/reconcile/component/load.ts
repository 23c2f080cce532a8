// Everything that one pass over a component needs from the database, read afresh each pass so that new intent is seen at once.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { SiblingAddress } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import * as components from "../../resources/components/store.ts";
import { findRelease, type ReleaseRow } from "../../resources/releases/store.ts";
import { openRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import { findStackById, type StackRow } from "../../resources/stacks/store.ts";

export interface Loaded {
  readonly component: components.ComponentRow;
  readonly stack: StackRow;
  readonly rollout: RolloutRow | undefined;
  readonly stable: ReleaseRow | undefined;
  /** What the open rollout wants live. */
  readonly next: ReleaseRow | undefined;
  readonly routes: readonly components.RouteRow[];
  readonly internalPorts: ReadonlyMap<string, number>;
  readonly siblings: readonly SiblingAddress[];
}

export async function loadComponent(db: Db, id: string): Promise<Loaded | undefined> {
  const component = await components.findComponentById(db, id);
  if (component === undefined) return undefined;
  const stack = await findStackById(db, component.stack_id);
  if (stack === undefined) return undefined;
  const rollout = await openRollout(db, id);
  const stable = component.stable_release_id === null ? undefined : await findRelease(db, component.stable_release_id);
  const next = rollout?.release_id === undefined || rollout.release_id === null ? undefined : await findRelease(db, rollout.release_id);
  const ports = await siblingPorts(db, component.stack_id);
  return {
    component, stack, rollout, stable, next,
    routes: await components.componentRoutes(db, id),
    internalPorts: new Map(ports.filter((port) => port.componentId === id).map((port) => [port.name, port.port])),
    siblings: ports.filter((port) => port.componentId !== id).map((port) => ({ component: port.component, protocol: port.protocol, host: "127.0.0.1", port: port.port })),
  };
}

interface SiblingPort { readonly componentId: string; readonly component: string; readonly name: string; readonly port: number; readonly protocol: "http" | "tcp" }
async function siblingPorts(db: Db, stackId: string): Promise<SiblingPort[]> {
  const rows = await db.selectFrom("internal_ports as p").innerJoin("components as c", "c.id", "p.component_id").select(["c.id", "c.name as component", "p.name", "p.port", "c.spec"]).where("c.stack_id", "=", stackId).orderBy("c.name").orderBy("p.port").execute();
  return rows.map((row) => ({ componentId: row.id, component: row.component, name: row.name, port: row.port, protocol: protocolOf(row.spec, row.name) }));
}
function protocolOf(spec: ComponentSpec, name: string): "http" | "tcp" {
  return spec.ports.find((port) => port.name === name)?.protocol ?? "tcp";
}

