// Sources: an upload of a folder or a fetch from git, each recorded with revision, author and message.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Digest, Instant, Name, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { Id, InStack } from "./common.ts";

const SourceKind = Type.Union([Type.Literal("upload"), Type.Literal("git")]);
export const Source = Type.Object(
  {
    id: Id,
    kind: SourceKind,
    digest: Digest,
    size: Type.Integer(),
    files: Type.Integer(),
    url: Type.Optional(Type.String()),
    ref: Type.Optional(Type.String()),
    revision: Type.Optional(Type.String()),
    author: Type.Optional(Type.String()),
    message: Type.Optional(Type.String()),
    dirty: Type.Optional(Type.Boolean()),
    createdAt: Instant,
    createdBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Source" },
);
export type Source = Static<typeof Source>;
export const Credential = Type.Object(
  { name: Name, kind: Type.String(), updatedAt: Instant, allowed: Allowed },
  { additionalProperties: false, $id: "Credential" },
);
export type Credential = Static<typeof Credential>;
/** As in ~/.ssh/known_hosts; short enough for the database to index. */
export const KnownHost = Type.Object({ line: Type.String(), createdAt: Instant }, { additionalProperties: false, $id: "KnownHost" });
export type KnownHost = Static<typeof KnownHost>;
const Note = Text(1000);

export const sourceRoutes = {
  uploadSource: {
    method: "POST",
    path: "/stacks/:stack/sources/upload",
    summary: "Upload a folder as a tar archive (plain, gzip or zstd)",
    kind: "upload",
    access: "signed-in",
    verbs: ["Stack.addSource"],
    params: InStack,
    status: 201,
    query: Type.Object(
      {
        revision: Type.Optional(Note),
        author: Type.Optional(Note),
        message: Type.Optional(Note),
        dirty: Type.Optional(Type.Boolean()),
        ref: Type.Optional(Note),
      },
      { additionalProperties: false },
    ),
    response: Source,
  },
  fetchSource: {
    method: "POST",
    path: "/stacks/:stack/sources/git",
    summary: "Fetch a git repository at a ref",
    kind: "json",
    access: { permission: "releases.deploy", at: "stack" },
    verbs: ["Stack.addSource"],
    idempotent: true,
    params: InStack,
    status: 201,
    body: Type.Object(
      { url: Text(2048, { minLength: 1 }), ref: Type.Optional(Text(255)), credential: Type.Optional(Name) },
      { additionalProperties: false },
    ),
    response: Source,
  },
  listSources: {
    method: "GET",
    path: "/stacks/:stack/sources",
    summary: "List a stack's sources, newest first",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    list: lists.sources,
    query: ListQuery(lists.sources, { kind: Type.Optional(SourceKind) }),
    response: Page(Source),
  },
  listCredentials: {
    method: "GET",
    path: "/stacks/:stack/credentials",
    summary: "List git credentials (never their values)",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    list: lists.credentials,
    query: ListQuery(lists.credentials, { kind: Type.Optional(Text(40)) }),
    response: Page(Credential),
  },
  setCredential: {
    method: "PUT",
    path: "/stacks/:stack/credentials/:credential",
    summary: "Set a git credential",
    kind: "json",
    access: { permission: "secrets.write", at: "stack" },
    verbs: ["Stack.setCredential", "Credential.set"],
    params: Type.Object({ stack: Name, credential: Name }, { additionalProperties: false }),
    body: Type.Union([
      Type.Object(
        { kind: Type.Literal("token"), username: Type.Optional(Note), token: Text(4096, { minLength: 1 }) },
        { additionalProperties: false },
      ),
      Type.Object({ kind: Type.Literal("deploy-key"), privateKey: Text(16_384, { minLength: 1 }) }, { additionalProperties: false }),
    ]),
    response: Empty,
    status: 204,
  },
  deleteCredential: {
    method: "DELETE",
    path: "/stacks/:stack/credentials/:credential",
    summary: "Delete a git credential",
    kind: "json",
    access: { permission: "secrets.write", at: "stack" },
    verbs: ["Credential.delete"],
    params: Type.Object({ stack: Name, credential: Name }, { additionalProperties: false }),
    response: Empty,
    status: 204,
  },
  listKnownHosts: {
    method: "GET",
    path: "/known-hosts",
    summary: "List the ssh host keys that git may trust",
    kind: "json",
    access: "signed-in",
    list: lists.knownHosts,
    query: ListQuery(lists.knownHosts, {}),
    response: Page(KnownHost),
  },
  addKnownHost: {
    method: "POST",
    path: "/known-hosts",
    summary: "Trust an ssh host key",
    kind: "json",
    access: { permission: "installation.manage", at: "installation" },
    verbs: ["Me.trustHost"],
    body: Type.Object({ line: Text(2600, { minLength: 10, pattern: "^[\\x20-\\x7e]+$" }) }, { additionalProperties: false }),
    response: Empty,
    status: 204,
  },
} as const satisfies Record<string, Route>;
