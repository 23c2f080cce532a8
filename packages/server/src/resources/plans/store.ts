// SQL of plans: what was shown, kept for a while so that exactly that is applied.
import { uuidPattern } from "@berth/contract/names.ts";
import type { Db } from "../../db/pool.ts";

const isId = new RegExp(uuidPattern);

export interface PlanRow {
  readonly id: string;
  readonly stack_name: string;
  readonly principal: string;
  readonly body: unknown;
  readonly stack_revision: number;
  readonly expires_at: Date;
}

export async function insertPlan(
  trx: Db,
  plan: {
    readonly stackName: string;
    readonly principal: string;
    readonly body: unknown;
    readonly stackRevision: number;
    readonly expiresAt: Date;
  },
): Promise<string> {
  const { id } = await trx
    .insertInto("plans")
    .values({
      stack_name: plan.stackName,
      principal: plan.principal,
      body: JSON.stringify(plan.body),
      stack_revision: plan.stackRevision,
      expires_at: plan.expiresAt,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

export async function findPlan(trx: Db, id: string): Promise<PlanRow | undefined> {
  if (!isId.test(id)) return undefined;
  return trx.selectFrom("plans").selectAll().where("id", "=", id).executeTakeFirst();
}

export async function deleteExpiredPlans(trx: Db, now: Date): Promise<void> {
  await trx.deleteFrom("plans").where("expires_at", "<", now).execute();
}
