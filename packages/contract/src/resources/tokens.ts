// API tokens: scoped, expiring, shown once and stored hashed. Users, teams and roles are listed here too while there is one administrator.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Instant, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";

export const Token = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    prefix: Type.String(),
    scopes: Type.Array(Type.String()),
    user: Type.String(),
    createdAt: Instant,
    expiresAt: Type.Optional(Instant),
    lastUsedAt: Type.Optional(Instant),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Token" },
);
export type Token = Static<typeof Token>;
/** Who and what permissions are given to, and the sets of them. Nothing acts on these yet. */
const named = { id: Type.String(), name: Type.String(), createdAt: Instant };
export const User = Type.Object(named, { additionalProperties: false, $id: "User" });
export const Team = Type.Object(named, { additionalProperties: false, $id: "Team" });
export const Role = Type.Object(
  { name: Type.String(), permissions: Type.Array(Type.String()) },
  { additionalProperties: false, $id: "Role" },
);
const ById = Type.Object({ token: Text(100) }, { additionalProperties: false });

export const tokenRoutes = {
  listTokens: {
    method: "GET",
    path: "/tokens",
    summary: "List your tokens",
    kind: "json",
    access: "signed-in",
    list: lists.tokens,
    query: ListQuery(lists.tokens, {}),
    response: Page(Token),
  },
  createToken: {
    method: "POST",
    path: "/tokens",
    summary: "Create a token",
    kind: "json",
    access: "signed-in",
    verbs: ["Me.createToken"],
    idempotent: true,
    status: 201,
    body: Type.Object(
      {
        name: Text(100, { minLength: 1 }),
        scopes: Type.Optional(Type.Array(Text(100), { maxItems: 100, description: "Permissions; absent = all of yours." })),
        expiresIn: Type.Optional(Type.Integer({ minimum: 60, maximum: 31_622_400, description: "seconds" })),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({ token: Token, secret: Type.String({ description: "Shown this once." }) }, { additionalProperties: false }),
  },
  deleteToken: {
    method: "DELETE",
    path: "/tokens/:token",
    summary: "Revoke a token",
    kind: "json",
    access: "signed-in",
    verbs: ["Token.delete"],
    params: ById,
    response: Empty,
    status: 204,
  },
  listUsers: {
    method: "GET",
    path: "/users",
    summary: "List users",
    kind: "json",
    access: { permission: "users.read", at: "installation" },
    list: lists.users,
    query: ListQuery(lists.users, {}),
    response: Page(User),
  },
  listTeams: {
    method: "GET",
    path: "/teams",
    summary: "List teams",
    kind: "json",
    access: "signed-in",
    list: lists.teams,
    query: ListQuery(lists.teams, {}),
    response: Page(Team),
  },
  listRoles: {
    method: "GET",
    path: "/roles",
    summary: "List roles and their permissions",
    kind: "json",
    access: "signed-in",
    list: lists.roles,
    query: ListQuery(lists.roles, { permission: Type.Optional(Text(100)) }),
    response: Page(Role),
  },
} as const satisfies Record<string, Route>;
