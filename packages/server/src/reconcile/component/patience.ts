// How long what might mend itself is tried again before anything of a release runs: an image that its registry does not hand out now, a network that is refused.
import type { Cause } from "@berth/contract/causes.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { defaultProgressDeadline } from "../../core/rollout/outcome.ts";
import { updateRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";

/** ms, and less where the component's own deadline for progress is shorter. */
const patience = 60_000;
const beforeRunning: ReadonlySet<string> = new Set(["building", "preparing"]);

/** The cause to fail with once it was tried for long enough; undefined = try again, and the rollout says for what it waits. A cluster that is away is waited for. */
export async function giveUp(
  deps: Pick<ComponentLoopDeps, "clock" | "from">,
  rollout: RolloutRow,
  why: Cause,
  context: Pick<PassContext, "commit">,
): Promise<Cause | undefined> {
  const counts = why.code !== "cluster_unreachable" && beforeRunning.has(rollout.phase);
  const now = deps.clock().getTime();
  const { troubledAt } = rollout.progress;
  if (counts && troubledAt !== undefined && now - deps.from(troubledAt) >= longest(rollout, why)) return why;
  const isNew = canonicalJson([why.code, why.params]) !== canonicalJson([rollout.cause?.code ?? "", rollout.cause?.params ?? {}]);
  const begins = counts && troubledAt === undefined;
  if (isNew || begins)
    await context.commit((trx) =>
      updateRollout(trx, rollout.id, { cause: why, ...(begins ? { progress: { ...rollout.progress, troubledAt: now } } : {}) }),
    );
  return undefined;
}

/** A namespace that goes is gone in seconds, or is held until somebody looks: that takes a person's time, not a machine's. */
function longest({ spec: { strategy } }: RolloutRow, why: Cause): number {
  if (why.code === "namespace_terminating") return strategy.progressDeadline ?? defaultProgressDeadline;
  return Math.min(patience, strategy.progressDeadline ?? patience);
}
