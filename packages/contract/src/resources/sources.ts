// Sources: an upload of a folder or a fetch from git, each recorded with revision, author and message.
import { Type, type Static } from "typebox";
import { Digest, Instant, Name } from "../names.ts";
import { Empty, ListQuery, Page, type Route } from "../route.ts";
import { Id, InStack } from "./common.ts";

export const Source = Type.Object({
  id: Id, kind: Type.Union([Type.Literal("upload"), Type.Literal("git")]), digest: Digest, size: Type.Integer(), files: Type.Integer(),
  url: Type.Optional(Type.String()), ref: Type.Optional(Type.String()), revision: Type.Optional(Type.String()), author: Type.Optional(Type.String()), message: Type.Optional(Type.String()), dirty: Type.Optional(Type.Boolean()),
  createdAt: Instant, createdBy: Type.String(),
}, { additionalProperties: false, $id: "Source" });
export type Source = Static<typeof Source>;
const Text = Type.String({ maxLength: 1000 });

export const sourceRoutes = {
  uploadSource: { method: "POST", path: "/stacks/:stack/sources/upload", summary: "Upload a folder as a tar archive (plain, gzip or zstd)", kind: "upload", access: "signed-in", params: InStack, status: 201,
    query: Type.Object({ revision: Type.Optional(Text), author: Type.Optional(Text), message: Type.Optional(Text), dirty: Type.Optional(Type.Boolean()), ref: Type.Optional(Text) }, { additionalProperties: false }), response: Source },
  fetchSource: { method: "POST", path: "/stacks/:stack/sources/git", summary: "Fetch a git repository at a ref", kind: "json", access: { permission: "releases.deploy", at: "stack" }, params: InStack, status: 201,
    body: Type.Object({ url: Type.String({ minLength: 1, maxLength: 2048 }), ref: Type.Optional(Type.String({ maxLength: 255 })), credential: Type.Optional(Name) }, { additionalProperties: false }), response: Source },
  listSources: { method: "GET", path: "/stacks/:stack/sources", summary: "List a stack's sources, newest first", kind: "json", access: { permission: "stacks.read", at: "stack" }, params: InStack, query: ListQuery(), response: Page(Source) },
  listCredentials: { method: "GET", path: "/stacks/:stack/credentials", summary: "List git credentials (never their values)", kind: "json", access: { permission: "stacks.read", at: "stack" }, params: InStack, query: ListQuery(), response: Page(Type.Object({ name: Name, kind: Type.String(), updatedAt: Instant }, { additionalProperties: false })) },
  setCredential: { method: "PUT", path: "/stacks/:stack/credentials/:credential", summary: "Set a git credential", kind: "json", access: { permission: "secrets.write", at: "stack" }, params: Type.Object({ stack: Name, credential: Name }, { additionalProperties: false }),
    body: Type.Union([
      Type.Object({ kind: Type.Literal("token"), username: Type.Optional(Text), token: Type.String({ minLength: 1, maxLength: 4096 }) }, { additionalProperties: false }),
      Type.Object({ kind: Type.Literal("deploy-key"), privateKey: Type.String({ minLength: 1, maxLength: 16_384 }) }, { additionalProperties: false }),
    ]), response: Empty, status: 204 },
  deleteCredential: { method: "DELETE", path: "/stacks/:stack/credentials/:credential", summary: "Delete a git credential", kind: "json", access: { permission: "secrets.write", at: "stack" }, params: Type.Object({ stack: Name, credential: Name }, { additionalProperties: false }), response: Empty, status: 204 },
  listKnownHosts: { method: "GET", path: "/known-hosts", summary: "List the ssh host keys that git may trust", kind: "json", access: "signed-in", response: Type.Object({ lines: Type.Array(Type.String()) }, { additionalProperties: false }) },
  addKnownHost: { method: "POST", path: "/known-hosts", summary: "Trust an ssh host key", kind: "json", access: { permission: "installation.manage", at: "installation" }, body: Type.Object({ line: Type.String({ minLength: 10, maxLength: 4096, pattern: "^[^\\n\\r]+$" }) }, { additionalProperties: false }), response: Empty, status: 204 },
} as const satisfies Record<string, Route>;
