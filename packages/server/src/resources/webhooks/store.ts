// SQL of webhooks, and of the looks at images that they ask for. Secrets are sealed like those of stacks.
import { sql } from "kysely";
import type { Cause } from "@berth/contract/causes.ts";
import { lists } from "@berth/contract/lists.ts";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to. */
export const webhookIdentity = (name: string): string => `webhook:${name}`;

export interface WebhookRow {
  readonly name: string;
  readonly registry: string;
  readonly created_at: Date;
  readonly created_by: string;
  readonly notified_at: Date | null;
}
const shown = ["name", "registry", "created_at", "created_by", "notified_at"] as const;

export const webhookList = defineList(lists.webhooks, {
  sort: { name: text("name"), registry: text("registry"), createdAt: instant("created_at") },
  unique: [text("name")],
  search: { name: sql.ref("name"), registry: sql.ref("registry") },
});

export async function listWebhooks(trx: Db, page: Slice): Promise<(WebhookRow & Keyed)[]> {
  return trx
    .selectFrom("webhooks")
    .select([...shown, page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

/** undefined: there is one of that name. */
export async function insertWebhook(
  trx: Db,
  row: { readonly name: string; readonly registry: string; readonly ciphertext: string; readonly by: string },
): Promise<WebhookRow | undefined> {
  return trx
    .insertInto("webhooks")
    .values({ name: row.name, registry: row.registry, ciphertext: row.ciphertext, created_by: row.by })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .returning([...shown])
    .executeTakeFirst();
}

export async function findWebhook(trx: Db, name: string): Promise<(WebhookRow & { readonly ciphertext: string }) | undefined> {
  return trx
    .selectFrom("webhooks")
    .select([...shown, "ciphertext"])
    .where("name", "=", name)
    .executeTakeFirst();
}

export async function deleteWebhook(trx: Db, name: string): Promise<boolean> {
  return (await trx.deleteFrom("webhooks").where("name", "=", name).executeTakeFirst()).numDeletedRows > 0n;
}

/** A registry that tells of every layer does not write a row for each. */
export async function touchWebhook(trx: Db, name: string): Promise<void> {
  await sql`update webhooks set notified_at = now() where name = ${name} and (notified_at is null or notified_at < now() - interval '10 seconds')`.execute(
    trx,
  );
}

export interface Follower {
  readonly id: string;
  readonly component: string;
  readonly stackId: string;
  readonly stack: string;
  readonly cluster: string;
  readonly image: string;
}

/** Every component that follows its image's tag. */
export async function followers(trx: Db): Promise<Follower[]> {
  return trx
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("clusters as k", "k.id", "s.cluster_id")
    .select([
      "c.id",
      "c.name as component",
      "s.id as stackId",
      "s.name as stack",
      "k.name as cluster",
      sql<string>`coalesce(c.spec ->> 'image', '')`.as("image"),
    ])
    .where(sql<boolean>`(c.spec ->> 'follow') = 'true'`)
    .where("c.part_of", "is", null)
    .where("c.delete_requested_at", "is", null)
    .where("s.delete_requested_at", "is", null)
    .orderBy("c.id")
    .execute();
}

/** `componentIds` in one order for all askers, so that none waits for another in a circle. */
export async function askToLook(trx: Db, componentIds: readonly string[], by: string): Promise<void> {
  if (componentIds.length === 0) return;
  await trx
    .insertInto("image_looks")
    .values(componentIds.toSorted().map((id) => ({ component_id: id, asked_by: by })))
    .onConflict((conflict) =>
      conflict.column("component_id").doUpdateSet({ asked: sql`image_looks.asked + 1`, asked_by: by, asked_at: sql`now()`, failures: 0 }),
    )
    .execute();
}

export interface Look {
  readonly componentId: string;
  readonly image: string;
  readonly by: string;
  readonly asked: number;
  readonly failures: number;
  readonly cause: Cause | null;
}

/** Of a stack's components that follow and run: those that nobody has looked at since it was asked for. */
export async function pendingLooks(trx: Db, stackId: string): Promise<Look[]> {
  return (
    trx
      .selectFrom("image_looks as l")
      .innerJoin("components as c", "c.id", "l.component_id")
      .select([
        "c.id as componentId",
        sql<string>`coalesce(c.spec ->> 'image', '')`.as("image"),
        "l.asked_by as by",
        "l.asked",
        "l.failures",
        "l.cause",
      ])
      .where("c.stack_id", "=", stackId)
      .whereRef("l.looked", "<", "l.asked")
      .where(sql<boolean>`(c.spec ->> 'follow') = 'true'`)
      .where("c.delete_requested_at", "is", null)
      // What was stopped, or is left alone, is looked at when somebody starts it, or decides about it.
      .where("c.stopped", "=", false)
      .where("c.held", "=", false)
      .orderBy("c.id")
      .execute()
  );
}

/** `again`: what failed is to be tried once more. */
export async function saveLook(
  trx: Db,
  look: Pick<Look, "componentId" | "asked">,
  end: { readonly cause: Cause | null; readonly again: boolean },
): Promise<void> {
  await trx
    .updateTable("image_looks")
    .set({
      looked_at: sql`now()`,
      cause: end.cause === null ? null : JSON.stringify(end.cause),
      ...(end.again ? { failures: sql`failures + 1` } : { looked: look.asked, failures: 0 }),
    })
    .where("component_id", "=", look.componentId)
    .execute();
}
