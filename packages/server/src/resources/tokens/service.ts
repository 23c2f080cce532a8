// Tokens of the caller, and the lists of users, teams and roles. A token never carries more than the one that made it.
import type { Token } from "@berth/contract/resources/tokens.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { createToken, redeemLoginToken, revokeToken } from "../../db/tokens.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import { decodeCursor, defaultLimit, likePattern, toPage, type PageRequest } from "../page.ts";

export type TokenService = ReturnType<typeof createTokenService>;
type Search = PageRequest & { search?: string };

export function createTokenService(deps: ResourceDeps) {
  async function named(table: "users" | "teams", query: Search): Promise<Page<{ id: string; name: string; createdAt: string }>> {
    const limit = query.limit ?? defaultLimit;
    const rows = await deps.db.selectFrom(table).select(["id", "name", "created_at"]).$if(query.search !== undefined, (q) => q.where("name", "ilike", likePattern(query.search ?? ""))).$if(query.cursor !== undefined, (q) => q.where("name", ">", String(decodeCursor(query.cursor ?? "", 1)[0]))).orderBy("name").limit(limit + 1).execute();
    return toPage(rows, limit, (row) => ({ id: row.id, name: row.name, createdAt: row.created_at.toISOString() }), (row) => [row.name]);
  }

  async function list(call: Call, query: Search, id?: string): Promise<Page<Token>> {
    const limit = query.limit ?? defaultLimit;
    const rows = await deps.db.selectFrom("api_tokens as t").innerJoin("users as u", "u.id", "t.user_id").select(["t.id", "t.prefix", "t.name", "t.scopes", "t.created_at", "t.expires_at", "t.last_used_at", "u.name as user"]).where("t.user_id", "=", call.principal.id).where("t.revoked_at", "is", null)
      .$if(id !== undefined, (q) => q.where("t.id", "=", id ?? ""))
      .$if(query.search !== undefined, (q) => q.where("t.name", "ilike", likePattern(query.search ?? "")))
      .$if(query.cursor !== undefined, (q) => q.where("t.prefix", ">", String(decodeCursor(query.cursor ?? "", 1)[0])))
      .orderBy("t.prefix").limit(limit + 1).execute();
    return toPage(rows, limit, (row) => ({ id: row.id, name: row.name, prefix: row.prefix, scopes: row.scopes, user: row.user, createdAt: row.created_at.toISOString(), ...(row.expires_at === null ? {} : { expiresAt: row.expires_at.toISOString() }), ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at.toISOString() }) }), (row) => [row.prefix]);
  }

  return {
    list,
    users: (query: Search) => named("users", query),
    teams: (query: Search) => named("teams", query),

    async roles(): Promise<Page<{ name: string; permissions: string[] }>> {
      return { items: await deps.db.selectFrom("roles").select(["name", "permissions"]).orderBy("name").execute() };
    },

    async create(call: Call, wanted: { name: string; scopes?: string[]; expiresIn?: number }): Promise<{ token: Token; secret: string }> {
      const carried = call.principal.scopes;
      const scopes = wanted.scopes ?? [...carried];
      const beyond = carried.includes("*") ? undefined : scopes.find((scope) => !carried.includes(scope));
      if (beyond !== undefined) throw new BerthError("forbidden", { action: `give a token ${beyond}`, permission: beyond });
      const made = await transaction(deps.db, async (trx) => {
        const created = await createToken(trx, { userId: call.principal.id, name: wanted.name, scopes, ...(wanted.expiresIn === undefined ? {} : { expiresAt: new Date(deps.clock().getTime() + wanted.expiresIn * 1000) }) });
        await audit(trx, call, "tokens.create", `token:${created.prefix}`, { name: wanted.name, scopes });
        return created;
      });
      const [token] = (await list(call, {}, made.id)).items;
      if (token === undefined) throw new BerthError("internal");
      return { token, secret: made.text };
    },

    async remove(call: Call, id: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const known = /^[0-9a-f-]{36}$/.test(id) && (await revokeToken(trx, { id, userId: call.principal.id }));
        if (!known) throw new BerthError("not_found", { kind: "token", name: id, hint: "`berth tokens list` shows yours." });
        await audit(trx, call, "tokens.revoke", `token:${id}`);
      });
    },

    /** Trades the one-time administrator token. Errors: `login_token_invalid`. */
    async login(call: Call, given: { token: string; name?: string }): Promise<{ token: string; user: string }> {
      return transaction(deps.db, async (trx) => {
        const made = await redeemLoginToken(trx, given.token.trim(), { name: given.name ?? "login" }, deps.clock());
        await audit(trx, { by: made.userName, requestId: call.requestId }, "login", `user:${made.userName}`, { token: made.prefix });
        return { token: made.text, user: made.userName };
      });
    },

    async logout(call: Call): Promise<void> {
      const { tokenId } = call.principal;
      if (tokenId === undefined) return;
      await transaction(deps.db, async (trx) => {
        await revokeToken(trx, { id: tokenId });
        await audit(trx, call, "logout", `token:${tokenId}`);
      });
    },
  };
}
