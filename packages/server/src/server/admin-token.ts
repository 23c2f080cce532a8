// The one-time administrator token of the first start: whoever can read the home folder's file becomes administrator, not whoever visits first.
import { rmSync } from "node:fs";
import type { Db } from "../db/pool.ts";
import { writeWhole } from "../os/files.ts";
import { createLoginToken } from "../db/tokens.ts";

const lifetime = 7 * 86_400_000;

/** Makes the token's file while nobody has signed in yet; removes it once somebody has. */
export async function ensureAdminToken(db: Db, file: string, now: Date): Promise<void> {
  const used = await db.selectFrom("api_tokens").select("id").limit(1).executeTakeFirst();
  if (used !== undefined) return rmSync(file, { force: true });
  await writeAdminToken(db, file, now);
}

/** A new one, also for an administrator who lost every token. */
export async function writeAdminToken(db: Db, file: string, now: Date): Promise<string> {
  const user = await db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
  const token = await createLoginToken(db, { userId: user.id, expiresAt: new Date(now.getTime() + lifetime) });
  writeWhole(file, `${token}\n`);
  return token;
}
