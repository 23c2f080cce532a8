// Telling how far the pull of an image is that a rollout waits for. The rollout's row says it as often as somebody looks; an event only says that it began, that
// nothing comes any more, and that it goes on.
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { duration } from "../../core/words.ts";
import type { Pulling } from "../../engines/engine.ts";
import { stackEvent } from "../../resources/intent.ts";
import { updateRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import type { PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { rolloutTopic } from "./rollout.ts";

/** ms without a word after which a pull is said to stand still. */
const stillAfter = 20_000;

type Step = NonNullable<Rollout["step"]>;

export async function notePull(
  { stack, component, ...loaded }: Loaded,
  rollout: RolloutRow,
  pull: Pulling,
  context: Pick<PassContext, "commit">,
): Promise<void> {
  const step = stepOf(pull);
  const before = rollout.step?.code;
  if (canonicalJson(step) === canonicalJson(rollout.step)) return;
  await context.commit(async (trx) => {
    if (!(await updateRollout(trx, rollout.id, { step })) || before === step.code) return;
    await stackEvent(
      trx,
      { name: stack.name, teamId: stack.team_id },
      {
        code: step.code === "pull_stalled" ? "image_pull_stalled" : "image_pulling",
        component: component.name,
        params: { rollout: rollout.number, image: pull.image, ...(step.code === "pull_stalled" ? { quiet: duration(pull.quiet) } : {}) },
        topics: [rolloutTopic({ stack, component, ...loaded }, rollout)],
      },
    );
  });
}

function stepOf({ image, layers, there, bytes, total, quiet }: Pulling): Step {
  const params = { image, layers, there, bytes, ...(total === undefined ? {} : { total }) };
  return quiet < stillAfter
    ? { code: "pulling", params }
    : { code: "pull_stalled", params: { ...params, quiet: Math.round(quiet / 1_000) } };
}
