// SQL of the images that Berth pushed: the only ones that it may delete in a registry.
import { sql } from "kysely";
import { digestOf, registryOf, repositoryOf } from "../../core/image/reference.ts";
import { appendEvents } from "../../db/events.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";

export interface PushedImage {
  readonly repository: string;
  readonly digest: string;
}

/** `reference`: its name with its digest. One that was pushed before counts from now. `subject`: the digest of the image that it refers to and goes with. */
export async function recordPushed(trx: Db, reference: string, subject?: string): Promise<void> {
  const values = {
    repository: repositoryOf(reference),
    digest: digestOf(reference) ?? "",
    pushed_at: new Date(),
    subject: subject ?? null,
  };
  await trx
    .insertInto("pushed_images")
    .values({ ...values, refused_at: null })
    .onConflict((conflict) => conflict.columns(["repository", "digest"]).doUpdateSet({ pushed_at: values.pushed_at }))
    .execute();
}

/** Those that no kept release, build or rollout needs, pushed before an instant and after another, the oldest first. */
export async function unneededImages(
  trx: Db,
  { prefix, from, before, most }: { readonly prefix: string; readonly from: Date; readonly before: Date; readonly most: number },
): Promise<PushedImage[]> {
  return trx
    .selectFrom("pushed_images as p")
    .select(["p.repository", "p.digest"])
    .where("p.pushed_at", "<", before)
    .where("p.pushed_at", ">=", from)
    .where("p.refused_at", "is", null)
    .where((is) => is.fn<boolean>("starts_with", ["p.repository", is.val(`${prefix}/`)]))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("artifacts as a")
            .select("a.digest")
            .where(sql<boolean>`a.digest = coalesce(p.subject, p.digest)`),
        ),
      ),
    )
    .orderBy("p.pushed_at")
    .limit(most)
    .execute();
}

/** It is in its registry no more. */
export async function forgetPushed(trx: Db, { repository, digest }: PushedImage): Promise<void> {
  await trx.deleteFrom("pushed_images").where("repository", "=", repository).where("digest", "=", digest).execute();
}

/** Its registry deletes nothing: it is not asked again for this one, and that is told once of each registry. Answers whether it was news. */
export async function notePushedStays(db: Db, { repository, digest }: PushedImage, now: Date): Promise<boolean> {
  const registry = registryOf(repository);
  return transaction(db, async (trx) => {
    const known = await trx
      .selectFrom("pushed_images")
      .select("digest")
      .where("refused_at", "is not", null)
      .where((is) => is.fn<boolean>("starts_with", ["repository", is.val(`${registry}/`)]))
      .limit(1)
      .executeTakeFirst();
    await trx
      .updateTable("pushed_images")
      .set({ refused_at: now })
      .where("repository", "=", repository)
      .where("digest", "=", digest)
      .execute();
    if (known !== undefined) return false;
    await appendEvents(trx, [{ code: "registry_keeps_images", params: { registry }, topics: [`registry:${registry}`] }]);
    return true;
  });
}
