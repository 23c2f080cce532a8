// The component loop's handler: passes over one component until nothing is on its way, for a while at most, then hands the row back.
import { refOf, EngineFailure } from "../engines/engine.ts";
import { BerthError } from "../core/errors.ts";
import type { ComponentLoopDeps } from "./component/deps.ts";
import { passComponent } from "./component/pass.ts";
import type { HandlerContext } from "./loop.ts";

/** ms after which the row goes back to the queue even when work is left, so that every component gets its turn. */
const turn = 5_000;
/** The same where others wait for a hand: what is on its way then is waited for in the queue. A rollout keeps its hand a little, since each claim is a new generation for the cluster. */
const crowded = { rolling: 1_000, keeping: 0 };
/** ms that a row rests at least then: its hints bring it back sooner. */
const rest = 500;

export type Turn = HandlerContext;

/** Answers when it is due again; undefined = when somebody wakes it. */
export async function reconcileComponent(
  deps: ComponentLoopDeps,
  componentId: string,
  { fence, signal, commit, isCrowded = () => false }: Turn,
): Promise<{ readonly again?: Date }> {
  const { id, epoch } = deps.installation();
  const context = { signal, commit, fence: { installation: id, epoch, generation: fence } };
  const from = deps.clock().getTime();
  for (;;) {
    const { next, loaded } = await onePass(deps, componentId, context);
    if (next === undefined || loaded === undefined) return {};
    const now = deps.clock().getTime();
    const isHandWanted = next > 0 && isCrowded();
    const most = isHandWanted ? crowded[loaded.rollout === undefined ? "keeping" : "rolling"] : turn;
    if (next >= 1000 || now + next >= from + most) return { again: new Date(now + (isHandWanted ? Math.max(next, rest) : next)) };
    if (next > 0) await deps.waitForHint({ cluster: loaded.stack.cluster, ...refOf(loaded.stack, loaded.component.name) }, next, signal);
    signal.throwIfAborted();
  }
}

async function onePass(
  deps: ComponentLoopDeps,
  componentId: string,
  context: Parameters<typeof passComponent>[2],
): ReturnType<typeof passComponent> {
  try {
    return await passComponent(deps, componentId, context);
  } catch (error) {
    // The queue keeps the row and tries again; what runs is not touched by a cluster that does not answer.
    if (error instanceof EngineFailure)
      throw new BerthError("engine_unavailable", { cluster: "", reason: error.failure.code, ...error.failure.params }, { cause: error });
    throw error;
  }
}
