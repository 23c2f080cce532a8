// Config and secrets of a stack or of one component: versioned, secrets encrypted and never answered.
import { Type, type Static } from "typebox";
import { EnvName, Instant, Name } from "../names.ts";
import { Empty, ListQuery, Page, type Route } from "../route.ts";
import { InComponent, InStack } from "./common.ts";

export const Config = Type.Object({ version: Type.Integer({ description: "0 before the first change." }), values: Type.Record(EnvName, Type.String()), updatedAt: Type.Optional(Instant), updatedBy: Type.Optional(Type.String()) }, { additionalProperties: false, $id: "Config" });
export type Config = Static<typeof Config>;
/** A value sets, null removes, what is not named stays. */
export const ConfigPatch = Type.Object({ values: Type.Record(EnvName, Type.Union([Type.String({ maxLength: 131_072 }), Type.Null()])), deploy: Type.Optional(Type.Boolean({ description: "Release the components it concerns at once." })) }, { additionalProperties: false });
export const Secret = Type.Object({ name: Name, version: Type.Integer(), usedBy: Type.Array(Type.String()), updatedAt: Instant, updatedBy: Type.String() }, { additionalProperties: false, $id: "Secret" });
export type Secret = Static<typeof Secret>;
const read = { permission: "stacks.read", at: "stack" } as const;
const write = { permission: "stacks.write", at: "stack" } as const;
const InSecret = Type.Object({ stack: Name, secret: Name }, { additionalProperties: false });

export const configRoutes = {
  showStackConfig: { method: "GET", path: "/stacks/:stack/config", summary: "Config that every component of the stack gets", kind: "json", access: read, params: InStack, versioned: true, response: Config },
  updateStackConfig: { method: "PATCH", path: "/stacks/:stack/config", summary: "Change the stack's config", kind: "json", access: write, params: InStack, versioned: true, body: ConfigPatch, response: Config },
  showConfig: { method: "GET", path: "/stacks/:stack/components/:component/config", summary: "Config of one component, over its Compose file and the stack's config", kind: "json", access: read, params: InComponent, versioned: true, response: Config },
  updateConfig: { method: "PATCH", path: "/stacks/:stack/components/:component/config", summary: "Change a component's config", kind: "json", access: write, params: InComponent, versioned: true, body: ConfigPatch, response: Config },
  listSecrets: { method: "GET", path: "/stacks/:stack/secrets", summary: "List secrets, never their values", kind: "json", access: read, params: InStack, query: ListQuery(), response: Page(Secret) },
  setSecret: { method: "PUT", path: "/stacks/:stack/secrets/:secret", summary: "Set a secret", kind: "json", access: { permission: "secrets.write", at: "stack" }, params: InSecret, body: Type.Object({ value: Type.String({ minLength: 1, maxLength: 131_072 }) }, { additionalProperties: false }), response: Secret },
  deleteSecret: { method: "DELETE", path: "/stacks/:stack/secrets/:secret", summary: "Delete a secret that no component uses", kind: "json", access: { permission: "secrets.write", at: "stack" }, params: InSecret, response: Empty, status: 204 },
} as const satisfies Record<string, Route>;
