// API tokens and the one-time tokens that are traded for them. Must never keep a secret: only its SHA-256 is stored, which is
// enough for 256 random bits, and compared in constant time.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { sql } from "kysely";
import { BerthError } from "../core/errors.ts";
import type { Principal } from "./permissions.ts";
import type { Db } from "./pool.ts";
import { createRecent } from "./recent.ts";

export interface CreatedToken {
  readonly id: string;
  readonly prefix: string;
  /** `berth_<prefix>_<secret>`; never to be seen again. */ readonly text: string;
}
export interface NewToken {
  readonly userId: string;
  readonly name: string;
  /** Permissions at most; absent = all of the user's. */ readonly scopes?: readonly string[];
  readonly expiresAt?: Date;
}

const tokenShape = /^berth_([a-z0-9]{10})_([A-Za-z0-9_-]{43})$/;
const loginShape = /^berth_login_([A-Za-z0-9_-]{43})$/;

/** Makes a token inside the caller's transaction. `random` returns that many unpredictable bytes. */
export async function createToken(trx: Db, token: NewToken, random: (bytes: number) => Buffer = randomBytes): Promise<CreatedToken> {
  const secret = random(32).toString("base64url");
  const prefix = [...random(10)].map((byte) => "abcdefghijkmnpqrstuvwxyz23456789"[byte % 32]).join("");
  const row = await trx
    .insertInto("api_tokens")
    .values({
      prefix,
      hash: hashOf(secret),
      user_id: token.userId,
      name: token.name,
      scopes: [...(token.scopes ?? ["*"])],
      expires_at: token.expiresAt ?? null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return { id: row.id, prefix, text: `berth_${prefix}_${secret}` };
}

export interface VerifiedToken {
  readonly principal: Principal & { readonly kind: "token"; readonly tokenId: string };
  readonly userName: string;
  readonly name: string;
  readonly expiresAt: Date | null;
}

/** Who comes with this token. Throws `unauthenticated`, `token_expired` or `token_revoked`. */
export async function verifyToken(db: Db, text: string, now: Date): Promise<VerifiedToken> {
  const [, prefix = "", secret = ""] = tokenShape.exec(text) ?? [];
  if (prefix === "") throw new BerthError("unauthenticated");
  const row = await db
    .selectFrom("api_tokens as t")
    .innerJoin("users as u", "u.id", "t.user_id")
    .where("t.prefix", "=", prefix)
    .select([
      "t.id",
      "t.hash",
      "t.user_id",
      "t.name",
      "t.scopes",
      "t.expires_at",
      "t.revoked_at",
      "t.last_used_at",
      "u.name as user_name",
      "u.disabled_at",
    ])
    .executeTakeFirst();
  // Only who knows the secret is told why it does not work.
  if (row === undefined || !timingSafeEqual(row.hash, hashOf(secret)) || row.disabled_at !== null) throw new BerthError("unauthenticated");
  if (row.revoked_at !== null) throw new BerthError("token_revoked", { revokedAt: row.revoked_at.toISOString() });
  if (row.expires_at !== null && row.expires_at <= now) throw new BerthError("token_expired", { expiredAt: row.expires_at.toISOString() });
  if (row.last_used_at === null || now.getTime() - row.last_used_at.getTime() > 60_000) await noteUse(db, row.id, now);
  return {
    principal: { kind: "token", id: row.user_id, tokenId: row.id, scopes: row.scopes },
    userName: row.user_name,
    name: row.name,
    expiresAt: row.expires_at,
  };
}

export type TokenCheck = ReturnType<typeof createTokenCheck>;

/** As `verifyToken`, for one that comes again and again: it is remembered for `cacheMs` (by its hash), so that a revocation in another process, or the end of its user, takes so long to be felt. Expiry is felt at once. */
export function createTokenCheck(db: Db, options: { readonly cacheMs?: number; readonly clock?: () => number } = {}) {
  const recent = createRecent<VerifiedToken>(options.cacheMs ?? 2_000, options.clock ?? (() => performance.now()));
  return {
    async verify(text: string, now: Date): Promise<VerifiedToken> {
      const verified = await recent.get(hashOf(text).toString("base64"), () => verifyToken(db, text, now));
      const isOver = verified.expiresAt !== null && verified.expiresAt <= now;
      return isOver ? verifyToken(db, text, now) : verified;
    },

    /** After a revocation in this process is committed: what was read before is not believed any more. */
    forget: () => {
      recent.forget();
    },
  };
}

/** At most once a minute, so that reading does not write. */
async function noteUse(db: Db, id: string, now: Date): Promise<void> {
  await db
    .updateTable("api_tokens")
    .set({ last_used_at: now })
    .where("id", "=", id)
    .where((eb) => eb.or([eb("last_used_at", "is", null), eb("last_used_at", "<", new Date(now.getTime() - 60_000))]))
    .execute();
}

/** Ends a token; of that user only, when one is given. False when there is no such token that still works. */
export async function revokeToken(trx: Db, token: { readonly id: string; readonly userId?: string }): Promise<boolean> {
  const result = await trx
    .updateTable("api_tokens")
    .set({ revoked_at: sql<Date>`now()` })
    .where("id", "=", token.id)
    .where("revoked_at", "is", null)
    .$if(token.userId !== undefined, (q) => q.where("user_id", "=", token.userId ?? ""))
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** A one-time token for the user, `berth_login_<secret>`; those made before for the user stop working. */
export async function createLoginToken(
  trx: Db,
  token: { readonly userId: string; readonly expiresAt: Date },
  random: (bytes: number) => Buffer = randomBytes,
): Promise<string> {
  const secret = random(32).toString("base64url");
  await trx.deleteFrom("login_tokens").where("user_id", "=", token.userId).execute();
  await trx
    .insertInto("login_tokens")
    .values({ hash: hashOf(secret), user_id: token.userId, expires_at: token.expiresAt })
    .execute();
  return `berth_login_${secret}`;
}

/** Trades a one-time token for an API token, once. Throws `login_token_invalid`. */
export async function redeemLoginToken(
  trx: Db,
  text: string,
  token: Omit<NewToken, "userId">,
  now: Date,
): Promise<CreatedToken & { readonly userId: string; readonly userName: string }> {
  const secret = loginShape.exec(text)?.[1];
  if (secret === undefined) throw new BerthError("login_token_invalid");
  const used = await trx
    .updateTable("login_tokens")
    .set({ used_at: now })
    .where("hash", "=", hashOf(secret))
    .where("used_at", "is", null)
    .where("expires_at", ">", now)
    .returning("user_id")
    .executeTakeFirst();
  const user =
    used === undefined
      ? undefined
      : await trx
          .selectFrom("users")
          .select(["id", "name"])
          .where("id", "=", used.user_id)
          .where("disabled_at", "is", null)
          .executeTakeFirst();
  if (user === undefined) throw new BerthError("login_token_invalid");
  return { ...(await createToken(trx, { ...token, userId: user.id })), userId: user.id, userName: user.name };
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
