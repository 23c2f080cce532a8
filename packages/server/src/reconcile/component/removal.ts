// The removal of a component, or of its part in one cluster: what runs of it, then its rows.
import { bury, openTombstone, settleTombstone, type Tombstone } from "../../db/tombstones.ts";
import { refOf } from "../../engines/engine.ts";
import { hasParts } from "../../resources/components/parts.ts";
import { deleteComponent } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
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
  // Once its cluster is being left, nothing of it is there any more, and soon no namespace either that could be asked.
  if (!(await isLeaving(deps, loaded)) && !(await removeWhatRuns(deps, loaded, tombstone, context))) return soon;
  // Its releases are its own row's: that goes last.
  if (await hasParts(deps.db, component.id)) return undefined;
  if (component.part_of !== null && !(await leaveCluster(deps, loaded, context))) return soon;
  await context.commit(async (trx) => {
    await settleTombstone(trx, tombstone.id, context.fence.generation);
    const open = await rollouts.openRollout(trx, component.id);
    if (open !== undefined)
      for (const waiting of await rollouts.waitingFor(trx, open.id))
        await enqueue(trx, { kind: "component", key: waiting.component_id, cluster: waiting.cluster });
    await deleteComponent(trx, component.id);
    const scope = { name: stack.name, teamId: stack.team_id };
    if (component.part_of !== null) {
      await stackEvent(trx, scope, { code: "component_left", component: component.name, params: { cluster: stack.cluster } });
      await enqueue(trx, { kind: "component", key: component.part_of, cluster: stack.home });
      return;
    }
    await stackEvent(trx, scope, { code: "component_deleted", component: component.name });
    if (stack.delete_requested_at !== null) await enqueue(trx, { kind: "stack", key: stack.id, cluster: stack.home });
  });
  return undefined;
}

/** With the last of the stack in a cluster that is not its own goes what surrounds it there. False: something of it is still ending. */
function leaveCluster(deps: ComponentLoopDeps, { component, stack }: Loaded, context: PassContext): Promise<boolean> {
  return context.commit(async (trx) => {
    // Whoever places something there waits for this, and finds the namespace on its way out, or nothing of it.
    await trx.selectFrom("stacks").select("id").where("id", "=", stack.id).forUpdate().execute();
    const other = await trx
      .selectFrom("components")
      .select("id")
      .where("stack_id", "=", stack.id)
      .where("cluster_id", "=", stack.cluster_id)
      .where("id", "<>", component.id)
      .limit(1)
      .executeTakeFirst();
    if (other !== undefined) return true;
    const grave = { kind: "stack", stack: stack.name } as const;
    await bury(trx, grave, { cluster: stack.cluster, teamId: stack.team_id });
    const tombstone = await openTombstone(trx, stack.cluster, grave);
    if (tombstone === undefined) throw new Error(`no tombstone speaks for ${stack.name} in ${stack.cluster}`);
    if (!(await forgetStack(deps.places, tombstone, { id: stack.id, name: stack.name, namespace: null, volumes: "none" }, context.signal)))
      return false;
    await settleTombstone(trx, tombstone.id, context.fence.generation);
    return true;
  });
}

async function isLeaving({ db }: ComponentLoopDeps, { component, stack }: Loaded): Promise<boolean> {
  return component.part_of !== null && (await openTombstone(db, stack.cluster, { kind: "stack", stack: stack.name })) !== undefined;
}

/** False: something of it is still ending. */
async function removeWhatRuns(deps: ComponentLoopDeps, loaded: Loaded, tombstone: Tombstone, context: PassContext): Promise<boolean> {
  const { component, stack } = loaded;
  const done = await stepTrack(deps, loaded, { release: undefined, replicas: 0 }, memoryOf(loaded), context);
  await write(context, [record(deps, loaded, done, 0, { open: false })]);
  if (!done.progress.settled) return false;
  return removeObjects(deps.places, tombstone, refOf(stack, component.name), context.fence, context.signal);
}
