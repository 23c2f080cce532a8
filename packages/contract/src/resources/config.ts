// Config and secrets of a stack or of one component: versioned, secrets encrypted and never answered.
import { Type, type Static } from "typebox";
import { Cause } from "../causes.ts";
import { lists } from "../lists.ts";
import { EnvName, Instant, Name, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { InComponent, InStack } from "./common.ts";

export const Config = Type.Object(
  {
    version: Type.Integer({ description: "0 before the first change." }),
    values: Type.Record(EnvName, Type.String()),
    updatedAt: Type.Optional(Instant),
    updatedBy: Type.Optional(Type.String()),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Config" },
);
export type Config = Static<typeof Config>;
/** A value sets, null removes, what is not named stays. */
export const ConfigPatch = Type.Object(
  {
    values: Type.Record(EnvName, Type.Union([Text(131_072), Type.Null()]), { maxProperties: 2000 }),
    deploy: Type.Optional(Type.Boolean({ description: "Release the components it concerns at once; takes the permission for that too." })),
  },
  { additionalProperties: false },
);
export const Secret = Type.Object(
  {
    name: Name,
    version: Type.Integer(),
    usedBy: Type.Array(Type.String()),
    pendingIn: Type.Array(Type.String(), {
      description: "Components whose running release has an older value: the next deploy brings them this one.",
    }),
    cause: Type.Optional(Cause),
    updatedAt: Instant,
    updatedBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Secret" },
);
export type Secret = Static<typeof Secret>;
const read = { permission: "stacks.read", at: "stack" } as const;
const write = { permission: "stacks.write", at: "stack" } as const;
const InSecret = Type.Object({ stack: Name, secret: Name }, { additionalProperties: false });

export const configRoutes = {
  showStackConfig: {
    method: "GET",
    path: "/stacks/:stack/config",
    summary: "Config that every component of the stack gets",
    kind: "json",
    access: read,
    params: InStack,
    versioned: true,
    response: Config,
  },
  updateStackConfig: {
    method: "PATCH",
    path: "/stacks/:stack/config",
    summary: "Change the stack's config",
    kind: "json",
    access: write,
    verbs: ["Config.update", "Config.deploy"],
    params: InStack,
    versioned: true,
    body: ConfigPatch,
    response: Config,
  },
  showConfig: {
    method: "GET",
    path: "/stacks/:stack/components/:component/config",
    summary: "Config of one component, over its Compose file and the stack's config",
    kind: "json",
    access: read,
    params: InComponent,
    versioned: true,
    response: Config,
  },
  updateConfig: {
    method: "PATCH",
    path: "/stacks/:stack/components/:component/config",
    summary: "Change a component's config",
    kind: "json",
    access: write,
    verbs: ["Config.update", "Config.deploy"],
    params: InComponent,
    versioned: true,
    body: ConfigPatch,
    response: Config,
  },
  listSecrets: {
    method: "GET",
    path: "/stacks/:stack/secrets",
    summary: "List secrets, never their values",
    kind: "json",
    access: read,
    params: InStack,
    list: lists.secrets,
    query: ListQuery(lists.secrets, { usedBy: Type.Optional(Name) }),
    response: Page(Secret),
  },
  setSecret: {
    method: "PUT",
    path: "/stacks/:stack/secrets/:secret",
    summary: "Set a secret",
    kind: "json",
    access: { permission: "secrets.write", at: "stack" },
    verbs: ["Stack.setSecret", "Secret.set"],
    params: InSecret,
    body: Type.Object({ value: Text(131_072, { minLength: 1 }) }, { additionalProperties: false }),
    response: Secret,
  },
  deleteSecret: {
    method: "DELETE",
    path: "/stacks/:stack/secrets/:secret",
    summary: "Delete a secret that no component uses",
    kind: "json",
    access: { permission: "secrets.write", at: "stack" },
    verbs: ["Secret.delete"],
    params: InSecret,
    response: Empty,
    status: 204,
  },
} as const satisfies Record<string, Route>;
