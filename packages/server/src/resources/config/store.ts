// SQL of config: each change is a new version of all values of its scope, a stack or one component.
import type { Db } from "../../db/pool.ts";

export interface ConfigScope { readonly stackId: string; readonly componentId: string | null }
export interface ConfigRow { readonly number: number; readonly values: Record<string, string>; readonly created_by: string; readonly created_at: Date }

export async function newestConfig(trx: Db, scope: ConfigScope): Promise<ConfigRow | undefined> {
  return trx.selectFrom("config_versions").select(["number", "values", "created_by", "created_at"]).where("stack_id", "=", scope.stackId).where("component_id", "is not distinct from", scope.componentId).orderBy("number", "desc").limit(1).executeTakeFirst();
}

export async function insertConfig(trx: Db, scope: ConfigScope, config: { readonly number: number; readonly values: Record<string, string>; readonly by: string }): Promise<void> {
  await trx.insertInto("config_versions").values({ stack_id: scope.stackId, component_id: scope.componentId, number: config.number, values: JSON.stringify(config.values), created_by: config.by }).execute();
}
