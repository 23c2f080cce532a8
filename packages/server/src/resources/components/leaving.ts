// The ends of components' rows: of what is gone from its cluster, and of parts whose cluster is gone for good, so that nobody can take anything off it any more.
// Must never drop a part whose removal nobody asked for.
import type { Db } from "../../db/pool.ts";
import { settleUnseen } from "../../db/tombstones.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { stackEvent, wakeComponent } from "../intent.ts";
import { openRollout, waitingFor } from "../rollouts/store.ts";
import { deleteComponent } from "./store.ts";

/** Its row; rollouts that waited for what was open of it look again. */
export async function dropRow(trx: Db, id: string): Promise<void> {
  const open = await openRollout(trx, id);
  if (open !== undefined)
    for (const waiting of await waitingFor(trx, open.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
  await deleteComponent(trx, id);
}

/** Parts that were to leave a cluster that is gone for good are forgotten as they are, under the cluster's row lock; whoever waited for their end goes on. Answers which: `stack/component`. */
export async function dropLeaving(trx: Db, cluster: { readonly id: string; readonly name: string }): Promise<string[]> {
  const parts = await trx
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("clusters as h", "h.id", "s.cluster_id")
    .select(["c.id", "c.name", "c.part_of", "c.stack_id", "s.name as stack", "s.team_id", "s.delete_requested_at", "h.name as home"])
    .where("c.cluster_id", "=", cluster.id)
    .where("c.part_of", "is not", null)
    .where("c.delete_requested_at", "is not", null)
    .orderBy("c.id")
    .execute();
  for (const { id, name, part_of: ownerId, stack_id: stackId, stack, team_id: teamId, delete_requested_at: deleting, home } of parts) {
    await settleUnseen(trx, cluster.name, { kind: "component", stack, component: name });
    await settleUnseen(trx, cluster.name, { kind: "stack", stack });
    await dropRow(trx, id);
    await stackEvent(trx, { name: stack, teamId }, { code: "component_left", component: name, params: { cluster: cluster.name } });
    if (ownerId !== null) await wakeComponent(trx, ownerId, home);
    if (deleting !== null) await enqueue(trx, { kind: "stack", key: stackId, cluster: home });
  }
  return parts.map(({ name, stack }) => `${stack}/${name}`);
}
