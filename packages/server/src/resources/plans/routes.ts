// HTTP face of plans.
import type { planRoutes } from "@berth/contract/resources/plans.ts";
import type { HandlersOf } from "../call.ts";
import type { PlanService } from "./service.ts";

export function planHandlers(plans: PlanService): HandlersOf<typeof planRoutes> {
  return {
    createPlan: ({ params, body }, call) => plans.create(call, params.stack, body),
    applyPlan: ({ params, body }, call) => plans.apply(call, params.stack, params.plan, body),
    explainSource: ({ body }, call) => plans.explain(call, body),
  };
}
