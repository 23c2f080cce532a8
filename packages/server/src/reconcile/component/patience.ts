// How long what might mend itself is tried again before anything of a release runs: an image that its registry does not hand out now, a network that is refused.
import type { Cause } from "@berth/contract/causes.ts";
import { updateRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";

/** ms, and less where the component's own deadline for progress is shorter. */
const patience = 60_000;
const beforeRunning: ReadonlySet<string> = new Set(["building", "preparing"]);

/** The cause to fail with once it was tried for long enough; undefined = try again. A cluster that is away is waited for. */
export async function giveUp(
  deps: Pick<ComponentLoopDeps, "clock" | "from">,
  rollout: RolloutRow,
  why: Cause,
  context: Pick<PassContext, "commit">,
): Promise<Cause | undefined> {
  if (why.code === "cluster_unreachable" || !beforeRunning.has(rollout.phase)) return undefined;
  const now = deps.clock().getTime();
  const { troubledAt } = rollout.progress;
  if (troubledAt !== undefined)
    return now - deps.from(troubledAt) >= Math.min(patience, rollout.spec.strategy.progressDeadline ?? patience) ? why : undefined;
  await context.commit((trx) => updateRollout(trx, rollout.id, { progress: { ...rollout.progress, troubledAt: now } }));
  return undefined;
}
