// The installation itself: what answers here, signing in, and what `berth doctor` finds.
import { Type, type Static } from "typebox";
import { Instant, Text } from "../names.ts";
import { Allowed, Empty, type Route } from "../route.ts";

export const Installation = Type.Object(
  {
    id: Type.String(),
    version: Type.String(),
    apiVersion: Type.Literal("v1"),
    now: Instant,
    routerUrl: Type.String({ description: "Where the router answers, e.g. http://127.0.0.1:8080" }),
  },
  { additionalProperties: false, $id: "Installation" },
);

export const Me = Type.Object(
  {
    user: Type.Object({ id: Type.String(), name: Type.String() }, { additionalProperties: false }),
    token: Type.Optional(
      Type.Object(
        { id: Type.String(), name: Type.String(), scopes: Type.Array(Type.String()), expiresAt: Type.Optional(Instant) },
        { additionalProperties: false },
      ),
    ),
    teams: Type.Array(Type.Object({ name: Type.String(), roles: Type.Array(Type.String()) }, { additionalProperties: false })),
    permissions: Type.Array(Type.String()),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Me" },
);

export const Check = Type.Object(
  {
    name: Type.String(),
    status: Type.Union([Type.Literal("ok"), Type.Literal("warning"), Type.Literal("failed")]),
    found: Type.String(),
    why: Type.Optional(Type.String({ description: "What it means for people, where something is wrong" })),
    next: Type.Optional(Type.String({ description: "What to do about it" })),
  },
  { additionalProperties: false },
);
export type Check = Static<typeof Check>;

export const installationRoutes = {
  showInstallation: { method: "GET", path: "/", summary: "What answers here", kind: "json", access: "public", response: Installation },
  login: {
    method: "POST",
    path: "/login",
    summary: "Trade the one-time administrator token for a token",
    kind: "json",
    access: "public",
    body: Type.Object({ token: Text(200, { minLength: 1 }), name: Type.Optional(Text(100)) }, { additionalProperties: false }),
    response: Type.Object({ token: Type.String(), user: Type.String() }, { additionalProperties: false }),
    status: 201,
  },
  logout: {
    method: "POST",
    path: "/logout",
    summary: "Revoke the token of this request",
    kind: "json",
    access: "signed-in",
    verbs: ["Me.logout"],
    response: Empty,
    status: 204,
  },
  showMe: { method: "GET", path: "/me", summary: "Who this token is and what it may do", kind: "json", access: "signed-in", response: Me },
  runDoctor: {
    method: "GET",
    path: "/doctor",
    summary: "What is wrong with the installation",
    kind: "json",
    access: "signed-in",
    response: Type.Object({ checks: Type.Array(Check) }, { additionalProperties: false }),
  },
} as const satisfies Record<string, Route>;
