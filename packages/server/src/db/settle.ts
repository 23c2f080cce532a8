// What a database that was put back in time must be told before it may act: it has a new epoch, its old orders are over, and what runs
// has to be looked at first. Nothing that was decided before the backup is done again because of it.
import type pg from "pg";
import { cause } from "@berth/contract/causes.ts";

export interface Settling {
  readonly epoch: number;
  /** When the rows were true, RFC 3339. */ readonly from: string;
}

/**
 * Inside the restore's transaction. Rollouts and builds that were open are ended and say so: what became of them since is unknown, and a
 * deployment of yesterday must not start by itself today. Queued runs are cancelled, as they may have run since; running ones are asked after.
 * Removals that were under way are taken back, with their tombstones: what they named may have been made again.
 */
export async function settleRestored(client: pg.Client, { epoch, from }: Settling): Promise<void> {
  const because = JSON.stringify(cause("restored", { from }));
  await client.query("update installation set epoch = $1, raised_at = now()", [epoch]);
  await client.query("update clusters set unadopted = true");
  // Below every transaction number of this server, so that readers see them as old.
  await client.query("update events set xid = '0'");
  await client.query("update rollouts set phase = 'superseded', step = null, ended_at = now(), cause = $1 where ended_at is null", [
    because,
  ]);
  await client.query("update builds set phase = 'cancelled', ended_at = now(), cause = $1 where phase in ('queued', 'running')", [because]);
  await client.query("update tasks set phase = 'cancelled', ended_at = now(), cause = $1 where phase = 'queued'", [because]);
  await client.query("delete from tombstones where done_at is null");
  await client.query("update components set delete_requested_at = null");
  await client.query("update stacks set delete_requested_at = null, delete_volumes = false");
  await client.query("update volumes set delete_requested_at = null");
  // What the planner remembers is of instances and routes of then.
  await client.query("update components set memory = '{}', held = false");
  await client.query("update due set lease_holder = null, lease_until = null, due_at = now()");
  await client.query("delete from idempotency where status is null");
  await client.query("insert into events (code, params) values ('installation_restored', $1)", [JSON.stringify({ epoch, from })]);
  await client.query("insert into audit (principal, action, object, params) values ('berth', 'installation.restore', 'installation', $1)", [
    JSON.stringify({ epoch, from }),
  ]);
}
