// SQL of what components hold: stable internal ports, routes and public TCP ports. Each is one component's in a cluster, by the database's own keys.
import { sql, type RawBuilder } from "kysely";
import type { ComponentSpec, Port } from "@berth/contract/spec.ts";
import { contentHash } from "../../core/canonical.ts";
import type { HostRoute } from "../../core/traffic-entry.ts";
import type { Db } from "../../db/pool.ts";
import { listeners } from "../../edge/agent/listening.ts";

/** First and last of the stable loopback ports that the local edge may give to components. */
const internalRange = { first: 11_000, last: 19_999 } as const;

/** Where a cluster begins in the range: two installations of one machine, each with a database of its own, must not choose the same ports. */
function startOf(clusterId: string): number {
  return Number.parseInt(contentHash(clusterId).slice(-6), 16) % (internalRange.last - internalRange.first + 1);
}

/** On which somebody listens on this machine now: the doors of another installation, or any program. */
const inUse = (): number[] => [
  ...new Set(listeners().flatMap(({ port }) => (port >= internalRange.first && port <= internalRange.last ? [port] : []))),
];

/** Gives every port of the spec a stable internal port that is free, and leaves those that it has. */
export async function claimInternalPorts(trx: Db, componentId: string, clusterId: string, ports: readonly Port[]): Promise<void> {
  if (ports.length === 0) return;
  // One at a time for each cluster: two transactions would otherwise choose the same free port, and one of them fail.
  await sql`select pg_advisory_xact_lock(hashtextextended(${`internal ports ${clusterId}`}, 0))`.execute(trx);
  const others = inUse();
  for (const { name } of ports) {
    await sql`insert into internal_ports (component_id, cluster_id, name, port)
      select ${componentId}::uuid, ${clusterId}::uuid, ${name}, candidate from generate_series(${sql.lit(internalRange.first)}::int, ${sql.lit(internalRange.last)}::int) candidate
      where not exists (select 1 from internal_ports taken where taken.cluster_id = ${clusterId}::uuid and taken.port = candidate)
        and candidate <> all(${others}::int[])
        and not exists (select 1 from internal_ports mine where mine.component_id = ${componentId}::uuid and mine.name = ${name})
      order by (candidate - ${sql.lit(internalRange.first)} + ${startOf(clusterId)}::int) % ${sql.lit(internalRange.last - internalRange.first + 1)}::int limit 1`.execute(
      trx,
    );
  }
}

export interface Owner {
  readonly stackId: string;
  readonly stack: string;
  readonly componentId: string;
  readonly component: string;
  readonly spec: ComponentSpec;
}

/** Adds the route to the component's, or answers whose it is. */
export async function claimRoute(trx: Db, componentId: string, clusterId: string, route: HostRoute): Promise<Owner | undefined> {
  const row = {
    component_id: componentId,
    cluster_id: clusterId,
    port_name: route.portName,
    host: route.host,
    path: route.path,
    is_default: route.isDefault,
  };
  const claimed = await trx
    .insertInto("routes")
    .values(row)
    .onConflict((conflict) =>
      conflict
        .columns(["cluster_id", "host", "path"])
        .doUpdateSet({ port_name: route.portName, is_default: route.isDefault })
        .where("routes.component_id", "=", componentId),
    )
    .executeTakeFirst();
  if (claimed.numInsertedOrUpdatedRows !== 0n) return undefined;
  return ownerOf(
    trx,
    sql`routes`,
    sql`claim.cluster_id = ${clusterId}::uuid and claim.host = ${route.host} and claim.path = ${route.path}`,
  );
}

/** Adds the public TCP port to the component's, or answers whose it is. */
export async function claimPublishedPort(
  trx: Db,
  componentId: string,
  clusterId: string,
  { name, published }: { readonly name: string; readonly published: number },
): Promise<Owner | undefined> {
  const row = { component_id: componentId, cluster_id: clusterId, port_name: name, port: published };
  const claimed = await trx
    .insertInto("published_ports")
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(["cluster_id", "port"]).doUpdateSet({ port_name: name }).where("published_ports.component_id", "=", componentId),
    )
    .executeTakeFirst();
  if (claimed.numInsertedOrUpdatedRows !== 0n) return undefined;
  return ownerOf(trx, sql`published_ports`, sql`claim.cluster_id = ${clusterId}::uuid and claim.port = ${published}`);
}

async function ownerOf(trx: Db, table: RawBuilder<unknown>, which: RawBuilder<unknown>): Promise<Owner | undefined> {
  const { rows } =
    await sql<Owner>`select s.id as "stackId", s.name as stack, c.id as "componentId", c.name as component, c.spec from ${table} claim join components c on c.id = claim.component_id join stacks s on s.id = c.stack_id where ${which}`.execute(
      trx,
    );
  return rows[0];
}

/** `internal: "all"`: internal ports are nobody else's business and stay. */
export interface KeptClaims {
  readonly routes: readonly { readonly host: string; readonly path: string }[];
  readonly ports: readonly Port[];
  readonly internal?: "all";
}
/** Gives back what the component holds beyond this. */
export async function freeClaims(trx: Db, componentId: string, keep: KeptClaims): Promise<void> {
  await sql`delete from routes where component_id = ${componentId}::uuid and not (host || ' ' || path = any(${keep.routes.map(({ host, path }) => `${host} ${path}`)}::text[]))`.execute(
    trx,
  );
  await sql`delete from published_ports where component_id = ${componentId}::uuid and not (port = any(${keep.ports.flatMap(({ protocol, published }) => (protocol === "tcp" && published !== undefined ? [published] : []))}::int[]))`.execute(
    trx,
  );
  if (keep.internal !== "all")
    await sql`delete from internal_ports where component_id = ${componentId}::uuid and not (name = any(${keep.ports.map(({ name }) => name)}::text[]))`.execute(
      trx,
    );
}
