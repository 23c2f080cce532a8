// The removal of a component, or of its part in one cluster: what runs of it, then its rows.
import type { Db } from "../../db/pool.ts";
import { bury, openTombstone, settleTombstone, withdrawTombstone, type Tombstone } from "../../db/tombstones.ts";
import { refOf } from "../../engines/engine.ts";
import { dropRow } from "../../resources/components/leaving.ts";
import { hasParts } from "../../resources/components/parts.ts";
import { stackEvent } from "../../resources/intent.ts";
import * as tasks from "../../resources/tasks/store.ts";
import { enqueue } from "../queue.ts";
import { forgetStack, removeObjects } from "../remove.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { stepTrack } from "./track.ts";
import { memoryOf, record, write } from "./writes.ts";

/** ms between looks at what is going. */
const soon = 100;

/** A run must not go on without anyone who could see or end it; answers whether there are still some. */
async function cancelTasks(deps: ComponentLoopDeps, { component, stack }: Loaded, context: PassContext): Promise<boolean> {
  const open = await tasks.openTasks(deps.db, component.id);
  for (const task of open) {
    if (task.cancel_requested_by !== null) continue;
    await context.commit(async (trx) => {
      await tasks.updateTask(trx, task.id, { cancelRequestedBy: "the removal of its component" });
      await enqueue(trx, { kind: "task", key: task.id, cluster: stack.cluster });
    });
  }
  return open.length > 0;
}

export async function removeComponent(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  const { component, stack } = loaded;
  const tombstone = await openTombstone(deps.db, stack.cluster, { kind: "component", stack: stack.name, component: component.name });
  // Nothing is touched on the word of a column alone.
  if (tombstone === undefined) throw new Error(`component ${stack.name}/${component.name} is on its way out, but no tombstone says so`);
  if (await cancelTasks(deps, loaded, context)) return soon;
  if (!(await isLeaving(deps, loaded, tombstone)) && !(await removeWhatRuns(deps, loaded, tombstone, context))) return soon;
  // Its releases are its own row's: that goes last.
  if (await hasParts(deps.db, component.id)) return undefined;
  if (component.part_of === null) {
    await context.commit(async (trx) => {
      await dropBuried(trx, loaded, tombstone, context);
      if (stack.delete_requested_at !== null) await enqueue(trx, { kind: "stack", key: stack.id, cluster: stack.home });
    });
    return undefined;
  }
  return removePart(deps, loaded, tombstone, component.part_of, context);
}

/**
 * With the last of the stack in a cluster that is not its own goes what surrounds it there. The cluster is asked outside of any transaction: it may take its time, and whoever
 * changes the stack meanwhile does not wait for it.
 */
async function removePart(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  tombstone: Tombstone,
  ownerId: string,
  context: PassContext,
): Promise<Next> {
  const { stack } = loaded;
  const last = await buryStack(loaded, context);
  const whole = { id: stack.id, name: stack.name, namespace: null, volumes: "none" } as const;
  if (last !== undefined && !(await forgetStack(deps.places, last, whole, context.signal))) return soon;
  const isDropped = await context.commit(async (trx) => {
    await lockStack(trx, loaded);
    // Two that go at once each found the other: the later one is the last after all.
    if (last === undefined && !(await hasOthers(trx, loaded))) return false;
    if (last !== undefined) await settleTombstone(trx, last.id, context.fence.generation);
    await dropBuried(trx, loaded, tombstone, context);
    await enqueue(trx, { kind: "component", key: ownerId, cluster: stack.home });
    return true;
  });
  return isDropped ? undefined : 0;
}

/** Its row, of which nothing is left in the cluster. */
async function dropBuried(trx: Db, { component, stack }: Loaded, tombstone: Tombstone, { fence }: PassContext): Promise<void> {
  await settleTombstone(trx, tombstone.id, fence.generation);
  await dropRow(trx, component.id);
  await stackEvent(
    trx,
    { name: stack.name, teamId: stack.team_id },
    component.part_of === null
      ? { code: "component_deleted", component: component.name }
      : { code: "component_left", component: component.name, params: { cluster: stack.cluster } },
  );
}

/** The decision that the whole stack leaves this cluster, which only the last of it there takes: from then on nothing is placed there until it is carried out. undefined: others are there. */
function buryStack(loaded: Loaded, context: PassContext): Promise<Tombstone | undefined> {
  const { stack } = loaded;
  const grave = { kind: "stack", stack: stack.name } as const;
  return context.commit(async (trx) => {
    await lockStack(trx, loaded);
    if (await hasOthers(trx, loaded)) {
      await withdrawTombstone(trx, stack.cluster, grave);
      return undefined;
    }
    await bury(trx, grave, { cluster: stack.cluster, teamId: stack.team_id });
    const tombstone = await openTombstone(trx, stack.cluster, grave);
    if (tombstone === undefined) throw new Error(`no tombstone speaks for ${stack.name} in ${stack.cluster}`);
    return tombstone;
  });
}

/** Whoever places something of the stack, or takes something of it away, waits for this. */
async function lockStack(trx: Db, { stack }: Loaded): Promise<void> {
  await trx.selectFrom("stacks").select("id").where("id", "=", stack.id).forUpdate().execute();
}

/** Whether there is something else of the stack in this cluster. */
async function hasOthers(db: Db, { component, stack }: Loaded): Promise<boolean> {
  const other = await db
    .selectFrom("components")
    .select("id")
    .where("stack_id", "=", stack.id)
    .where("cluster_id", "=", stack.cluster_id)
    .where("id", "<>", component.id)
    .limit(1)
    .executeTakeFirst();
  return other !== undefined;
}

/** It decided itself that its stack leaves the cluster: then nothing of it is there any more, and soon no namespace either that could be asked. */
async function isLeaving({ db }: ComponentLoopDeps, loaded: Loaded, own: Tombstone): Promise<boolean> {
  const { component, stack } = loaded;
  if (component.part_of === null || (await hasOthers(db, loaded))) return false;
  const whole = await openTombstone(db, stack.cluster, { kind: "stack", stack: stack.name });
  // One that is older than its own removal is not its decision.
  return whole !== undefined && whole.id > own.id;
}

/** False: something of it is still ending. */
async function removeWhatRuns(deps: ComponentLoopDeps, loaded: Loaded, tombstone: Tombstone, context: PassContext): Promise<boolean> {
  const { component, stack } = loaded;
  const done = await stepTrack(deps, loaded, { release: undefined, replicas: 0 }, memoryOf(loaded), context);
  await write(context, [record(deps, loaded, done, 0, { open: false })]);
  if (!done.progress.settled) return false;
  return removeObjects(deps.places, tombstone, refOf(stack, component.name), context.fence, context.signal);
}
