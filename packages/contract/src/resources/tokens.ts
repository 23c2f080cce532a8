// API tokens: scoped, expiring, shown once and stored hashed. Users, teams and roles are listed here too while there is one administrator.
import { Type, type Static } from "typebox";
import { Instant } from "../names.ts";
import { Empty, ListQuery, Page, type Route } from "../route.ts";

export const Token = Type.Object({
  id: Type.String(), name: Type.String(), prefix: Type.String(), scopes: Type.Array(Type.String()), user: Type.String(),
  createdAt: Instant, expiresAt: Type.Optional(Instant), lastUsedAt: Type.Optional(Instant),
}, { additionalProperties: false, $id: "Token" });
export type Token = Static<typeof Token>;
const ById = Type.Object({ token: Type.String() }, { additionalProperties: false });

export const tokenRoutes = {
  listTokens: { method: "GET", path: "/tokens", summary: "List your tokens", kind: "json", access: "signed-in", query: ListQuery(), response: Page(Token) },
  createToken: { method: "POST", path: "/tokens", summary: "Create a token", kind: "json", access: "signed-in", idempotent: true, status: 201,
    body: Type.Object({ name: Type.String({ minLength: 1, maxLength: 100 }), scopes: Type.Optional(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100, description: "Permissions; absent = all of yours." })), expiresIn: Type.Optional(Type.Integer({ minimum: 60, maximum: 31_622_400, description: "seconds" })) }, { additionalProperties: false }),
    response: Type.Object({ token: Token, secret: Type.String({ description: "Shown this once." }) }, { additionalProperties: false }) },
  deleteToken: { method: "DELETE", path: "/tokens/:token", summary: "Revoke a token", kind: "json", access: "signed-in", params: ById, response: Empty, status: 204 },
  listUsers: { method: "GET", path: "/users", summary: "List users", kind: "json", access: { permission: "users.read", at: "installation" }, query: ListQuery(), response: Page(Type.Object({ id: Type.String(), name: Type.String(), createdAt: Instant }, { additionalProperties: false })) },
  listTeams: { method: "GET", path: "/teams", summary: "List teams", kind: "json", access: "signed-in", query: ListQuery(), response: Page(Type.Object({ id: Type.String(), name: Type.String(), createdAt: Instant }, { additionalProperties: false })) },
  listRoles: { method: "GET", path: "/roles", summary: "List roles and their permissions", kind: "json", access: "signed-in", query: ListQuery(), response: Page(Type.Object({ name: Type.String(), permissions: Type.Array(Type.String()) }, { additionalProperties: false })) },
} as const satisfies Record<string, Route>;
