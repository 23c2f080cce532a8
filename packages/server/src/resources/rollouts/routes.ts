// HTTP face of rollouts.
import type { rolloutRoutes } from "@berth/contract/resources/rollouts.ts";
import type { HandlersOf } from "../call.ts";
import type { RolloutService } from "./service.ts";

export function rolloutHandlers(rollouts: RolloutService): HandlersOf<typeof rolloutRoutes> {
  return {
    listStackRollouts: ({ params, query }, call) => rollouts.listOfStack(call, params.stack, query),
    listRollouts: ({ params, query }, call) => rollouts.list(call, params.stack, params.component, query),
    showRollout: ({ params }, call) => rollouts.show(call, params.stack, params.component, params.rollout),
    abortRollout: ({ params }, call) => rollouts.abort(call, params.stack, params.component, params.rollout),
    retryRollout: ({ params }, call) => rollouts.retry(call, params.stack, params.component, params.rollout),
  };
}
