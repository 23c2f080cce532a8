// Tokens of the caller, and the lists of users, teams and roles. A token never carries more than the one that made it.
import { uuidPattern } from "@berth/contract/names.ts";
import type { Token } from "@berth/contract/resources/tokens.ts";
import { tokenVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { Db } from "../../db/pool.ts";
import { createToken, redeemLoginToken, revokeToken } from "../../db/tokens.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer } from "../intent.ts";
import { slice, toPage, type List, type ListRequest } from "../page.ts";
import * as store from "./store.ts";

export type TokenService = ReturnType<typeof createTokenService>;
const isId = new RegExp(uuidPattern);

export function createTokenService(deps: ResourceDeps) {
  async function named(
    table: "users" | "teams",
    list: List,
    query: ListRequest,
  ): Promise<Page<{ id: string; name: string; createdAt: string }>> {
    const page = slice(list, query);
    return toPage(await store.listNamed(deps.db, table, page), page, (row) => ({
      id: row.id,
      name: row.name,
      createdAt: row.created_at.toISOString(),
    }));
  }

  /** Also when nobody knows whether it was committed: the next request asks. */
  async function endToken(work: (trx: Db) => Promise<void>): Promise<void> {
    try {
      await transaction(deps.db, work);
    } finally {
      deps.tokens.forget();
    }
  }

  return {
    async list(call: Call, query: ListRequest): Promise<Page<Token>> {
      const page = slice(store.tokenList, query);
      return toPage(await store.listTokens(deps.db, call.principal.id, { page }), page, present);
    },

    users: (query: ListRequest) => named("users", store.userList, query),
    teams: (query: ListRequest) => named("teams", store.teamList, query),

    async roles(query: ListRequest & { permission?: string }): Promise<Page<{ name: string; permissions: string[] }>> {
      const page = slice(store.roleList, query);
      return toPage(await store.listRoles(deps.db, { page, permission: query.permission }), page, ({ name, permissions }) => ({
        name,
        permissions,
      }));
    },

    async create(call: Call, wanted: { name: string; scopes?: string[]; expiresIn?: number }): Promise<{ token: Token; secret: string }> {
      const carried = call.principal.scopes;
      const scopes = wanted.scopes ?? [...carried];
      const beyond = carried.includes("*") ? undefined : scopes.find((scope) => !carried.includes(scope));
      if (beyond !== undefined) throw new BerthError("forbidden", { action: `give a token ${beyond}`, permission: beyond });
      return transaction(deps.db, async (trx) => {
        const created = await createToken(trx, {
          userId: call.principal.id,
          name: wanted.name,
          scopes,
          ...(wanted.expiresIn === undefined ? {} : { expiresAt: new Date(deps.clock().getTime() + wanted.expiresIn * 1000) }),
        });
        await audit(trx, call, "tokens.create", `token:${created.prefix}`, { name: wanted.name, scopes });
        const [row] = await store.listTokens(trx, call.principal.id, { id: created.id, page: slice(store.tokenList, { limit: 1 }) });
        if (row === undefined) throw new BerthError("internal");
        return keepAnswer(trx, call, { token: present(row), secret: created.text });
      });
    },

    async remove(call: Call, id: string): Promise<void> {
      await endToken(async (trx) => {
        const known = isId.test(id) && (await revokeToken(trx, { id, userId: call.principal.id }));
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
      await endToken(async (trx) => {
        await revokeToken(trx, { id: tokenId });
        await audit(trx, call, "logout", `token:${tokenId}`);
      });
    },
  };
}

function present(row: store.TokenRow): Token {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: row.scopes,
    user: row.user,
    createdAt: row.created_at.toISOString(),
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at.toISOString() }),
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at.toISOString() }),
    allowed: tokenVerbs(),
  };
}
