// Everything that one pass over a component needs from the database, read afresh each pass so that new intent is seen at once.
import { sql } from "kysely";
import { portNumbers } from "../../core/ports.ts";
import type { SiblingAddress } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import * as components from "../../resources/components/store.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import { openRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import type { StackRow } from "../../resources/stacks/store.ts";
import { releaseOf } from "./known-releases.ts";

export interface Loaded {
  readonly component: components.ComponentRow;
  readonly stack: Pick<
    StackRow,
    "id" | "name" | "team_id" | "team" | "cluster_id" | "cluster" | "domain" | "run_env" | "drift" | "namespace" | "delete_requested_at"
  > & {
    /** The stack's own cluster. `cluster` is the one that this row is about. */
    readonly home: string;
  };
  /** The component itself, which has the releases; a part in another cluster runs them too. */
  readonly ownerId: string;
  readonly rollout: RolloutRow | undefined;
  readonly stable: ReleaseRow | undefined;
  /** What the open rollout wants live. */
  readonly next: ReleaseRow | undefined;
  /** Hosts with path, joined by a space, and public TCP ports that the component holds now. */
  readonly hosts: ReadonlySet<string>;
  readonly published: ReadonlySet<number>;
  readonly internalPorts: ReadonlyMap<string, number>;
  readonly siblings: readonly SiblingAddress[];
}

/** In two questions, because every component is looked at again and again while anything of it is on its way. */
export async function loadComponent(db: Db, id: string): Promise<Loaded | undefined> {
  const row = await withSurroundings(db).where("c.id", "=", id).executeTakeFirst();
  if (row === undefined) return undefined;
  const {
    engine,
    stack_name,
    team_id,
    team,
    in_cluster_id,
    cluster,
    home,
    domain,
    run_env,
    stack_drift,
    stack_namespace,
    stack_delete_requested_at,
    hosts,
    published,
    ports,
    ...component
  } = row;
  const rollout = await openRollout(db, id);
  const next = rollout?.release_id;
  return {
    component,
    stack: {
      id: row.stack_id,
      name: stack_name,
      team_id,
      team,
      cluster_id: in_cluster_id,
      cluster,
      home,
      domain,
      run_env,
      drift: stack_drift,
      // Of what was imported in the stack's own cluster; a part elsewhere has the ordinary one.
      namespace: component.part_of === null ? stack_namespace : null,
      delete_requested_at: stack_delete_requested_at,
    },
    ownerId: component.part_of ?? id,
    rollout,
    stable: component.stable_release_id === null ? undefined : await releaseOf(db, component.stable_release_id),
    next: next === undefined || next === null ? undefined : await releaseOf(db, next),
    hosts: new Set(hosts),
    published: new Set(published),
    internalPorts: new Map(ports.filter((port) => port.componentId === id).map((port) => [port.name, port.port])),
    siblings: ports
      .filter((port) => port.componentId !== id)
      .map(({ component: of, name, protocol, port }) =>
        engine === "local"
          ? { component: of, protocol, host: "127.0.0.1", port }
          : // By name, at the port that its program has: the edge stands there for it.
            { component: of, protocol, host: of, port: listens(ports, of)[name] ?? port },
      ),
  };
}

interface StackPort {
  readonly componentId: string;
  readonly component: string;
  readonly name: string;
  readonly port: number;
  /** Where its program listens, if its definition says so. */
  readonly own: number | null;
  readonly protocol: "http" | "tcp";
}

function listens(ports: readonly StackPort[], component: string): Record<string, number> {
  return portNumbers(ports.filter((port) => port.component === component).map(({ name, own }) => ({ name, port: own ?? undefined })));
}

function withSurroundings(db: Db) {
  return db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("teams as t", "t.id", "s.team_id")
    .innerJoin("clusters as k", (join) => join.on("k.id", "=", sql`coalesce(c.cluster_id, s.cluster_id)`))
    .where("s.deleted_at", "is", null)
    .select(components.componentColumns)
    .select([
      "s.name as stack_name",
      "s.team_id",
      "t.name as team",
      "k.id as in_cluster_id",
      "k.name as cluster",
      sql<string>`(select h.name from clusters h where h.id = s.cluster_id)`.as("home"),
      "k.engine",
      "k.domain",
      "s.run_env",
      "s.drift as stack_drift",
      "s.namespace as stack_namespace",
      "s.delete_requested_at as stack_delete_requested_at",
      sql<string[]>`array(select u.host || ' ' || u.path from routes u where u.component_id = c.id)`.as("hosts"),
      sql<number[]>`array(select p.port from published_ports p where p.component_id = c.id)`.as("published"),
      portsOfStack.as("ports"),
    ]);
}

/** Of the components that have a part in the same cluster, in the order of their names and definitions. A port that the definition does not name any more is there for the release that still serves, and comes last. */
const portsOfStack = sql<StackPort[]>`coalesce((
  select jsonb_agg(jsonb_build_object('componentId', d.id, 'component', d.name, 'name', p.name, 'port', p.port, 'protocol', coalesce(x.port->>'protocol', 'tcp'), 'own', (x.port->>'port')::int)
    order by d.name collate "C", x.place nulls last, p.port)
  from internal_ports p
  join components d on d.id = p.component_id
  left join lateral (
    select port, place from jsonb_array_elements(d.spec->'ports') with ordinality as all_ports (port, place) where port->>'name' = p.name order by place limit 1
  ) x on true
  where d.stack_id = c.stack_id and d.cluster_id is not distinct from c.cluster_id), '[]')`;
