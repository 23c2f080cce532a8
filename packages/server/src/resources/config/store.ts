// SQL of config: each change is a new version of all values of its scope, a stack or one component.
import type { Db } from "../../db/pool.ts";

export interface ConfigScope {
  readonly stackId: string;
  readonly componentId: string | null;
}
export interface ConfigRow {
  readonly number: number;
  readonly values: Record<string, string>;
  readonly created_by: string;
  readonly created_at: Date;
}

export async function newestConfig(trx: Db, scope: ConfigScope): Promise<ConfigRow | undefined> {
  return trx
    .selectFrom("config_versions")
    .select(["number", "values", "created_by", "created_at"])
    .where("stack_id", "=", scope.stackId)
    .where("component_id", "is not distinct from", scope.componentId)
    .orderBy("number", "desc")
    .limit(1)
    .executeTakeFirst();
}

/** The newest of the stack's own, and of one of its components; undefined where there is none. */
export async function newestConfigs(
  trx: Db,
  stackId: string,
  componentId: string | undefined,
): Promise<{ readonly stack: ConfigRow | undefined; readonly component: ConfigRow | undefined }> {
  const rows = await trx
    .selectFrom("config_versions")
    .select(["component_id", "number", "values", "created_by", "created_at"])
    .distinctOn("component_id")
    .where("stack_id", "=", stackId)
    .where((where) =>
      where.or([where("component_id", "is", null), ...(componentId === undefined ? [] : [where("component_id", "=", componentId)])]),
    )
    .orderBy("component_id")
    .orderBy("number", "desc")
    .execute();
  return { stack: rows.find((row) => row.component_id === null), component: rows.find((row) => row.component_id !== null) };
}

export async function insertConfig(
  trx: Db,
  scope: ConfigScope,
  config: { readonly number: number; readonly values: Record<string, string>; readonly by: string },
): Promise<void> {
  await trx
    .insertInto("config_versions")
    .values({
      stack_id: scope.stackId,
      component_id: scope.componentId,
      number: config.number,
      values: JSON.stringify(config.values),
      created_by: config.by,
    })
    .execute();
}
