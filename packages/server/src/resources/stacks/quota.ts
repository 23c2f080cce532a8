// What a stack may use in all: setting it, showing it, and holding every change to it before that is accepted, whatever engine it is for.
import type { Quota, StackQuota } from "@berth/contract/resources/stacks.ts";
import { BerthError } from "../../core/errors.ts";
import { quotaProblem, useOf, type Counted } from "../../core/quota.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent } from "../intent.ts";
import type { StackService } from "./service.ts";
import * as store from "./store.ts";

export type QuotaService = ReturnType<typeof createQuotaService>;

export function createQuotaService(deps: ResourceDeps, stacks: StackService) {
  async function view(trx: Db, stackId: string): Promise<StackQuota> {
    return { limits: (await store.quotaOf(trx, stackId)) ?? {}, used: useOf(await store.countedComponents(trx, stackId)) };
  }

  return {
    async show(call: Call, name: string): Promise<StackQuota> {
      return view(deps.db, (await stacks.find(call, name)).id);
    },

    /** What is above it already stays, and grows no more. */
    async set(call: Call, name: string, quota: Quota): Promise<StackQuota> {
      return transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, name, "installation.manage", { trx, lock: true });
        await store.lockQuota(trx, stack.id);
        await store.setQuota(trx, stack.id, quota);
        await stackEvent(trx, stack, { code: "stack_quota_set" });
        await audit(trx, call, "stacks.quota", `stack:${name}`, { ...quota });
        return view(trx, stack.id);
      });
    },
  };
}

/**
 * Does the change in the caller's transaction, which holds the locks that the change takes, and takes no other of a component afterwards. Errors: `quota_exceeded`, `quota_needs_limit`
 * when the stack would then ask for more than it may, and for more than before.
 */
export async function withinQuota<T>(trx: Db, stack: { readonly id: string; readonly name: string }, change: () => Promise<T>): Promise<T> {
  const before = await store.countedComponents(trx, stack.id);
  const done = await change();
  const quota = await store.quotaOf(trx, stack.id);
  if (quota === undefined) return done;
  // One after another: each sees what the one before has added.
  await store.lockQuota(trx, stack.id);
  refuse(stack.name, (await store.quotaOf(trx, stack.id)) ?? {}, before, await store.countedComponents(trx, stack.id));
  return done;
}

function refuse(stack: string, quota: Quota, before: readonly Counted[], after: readonly Counted[]): void {
  const problem = quotaProblem(quota, before, after);
  if (problem?.problem === "over") {
    const { what, asked, used, limit } = problem;
    throw new BerthError("quota_exceeded", { stack, what, asked, used, limit });
  }
  if (problem?.problem === "unbounded")
    throw new BerthError("quota_needs_limit", { stack, component: problem.component, what: problem.what, limit: problem.limit });
}
