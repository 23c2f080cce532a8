// Secrets that nobody chose: made at random the first time that something asks for them, and never again.
import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { stackEvent } from "../intent.ts";
import { insertSecret, newestVersions } from "./store.ts";

/** Makes the secret unless the stack has one of that name; answers the version that counts. 64 hexadecimal digits, as Heroku's generator makes them. */
export async function ensureSecret(
  trx: Db,
  secretBox: SecretBox,
  stack: { readonly id: string; readonly name: string; readonly teamId: string },
  wanted: { readonly secret: string; readonly component: string; readonly by: string },
): Promise<number> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`generate ${stack.id}/${wanted.secret}`}, 0))`.execute(trx);
  const version = (await newestVersions(trx, stack.id, [wanted.secret])).get(wanted.secret);
  if (version !== undefined) return version;
  const made = await insertSecret(trx, secretBox, {
    stackId: stack.id,
    name: wanted.secret,
    value: randomBytes(32).toString("hex"),
    by: wanted.by,
  });
  await stackEvent(trx, stack, { code: "secret_generated", component: wanted.component, params: { secret: wanted.secret } });
  return made;
}
