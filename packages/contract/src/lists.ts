// What every list can be sorted by and searched in, as data: the routes' query schemas, the server's SQL, the command line's help and the one
// test over all lists are made from it. Must stay free of imports, so that the command line can read it without a schema library.

export interface ListFacts {
  /** Fields of the items; one that an item lacks counts as last. */
  readonly sort: readonly [string, ...string[]];
  /** The order without `sort`; `-` = descending. */
  readonly standard: string;
  /** Fields whose text `search` looks in, without regard to case. */
  readonly search: readonly [string, ...string[]];
}

export const lists = {
  stacks: { sort: ["name", "team", "createdAt", "updatedAt"], standard: "name", search: ["name", "team"] },
  versions: { sort: ["number", "createdAt"], standard: "-number", search: ["reason", "createdBy"] },
  components: { sort: ["name", "kind", "state", "createdAt", "updatedAt"], standard: "name", search: ["name"] },
  instances: { sort: ["id", "phase", "release", "restarts", "startedAt"], standard: "id", search: ["id"] },
  secrets: { sort: ["name", "version", "updatedAt"], standard: "name", search: ["name", "updatedBy"] },
  sources: {
    sort: ["createdAt", "kind", "size", "files"],
    standard: "-createdAt",
    search: ["revision", "message", "author", "ref", "url"],
  },
  credentials: { sort: ["name", "kind", "updatedAt"], standard: "name", search: ["name"] },
  knownHosts: { sort: ["line", "createdAt"], standard: "createdAt", search: ["line"] },
  builds: {
    sort: ["number", "phase", "context", "queuedAt", "endedAt"],
    standard: "-number",
    search: ["context", "revision", "message", "createdBy"],
  },
  releases: { sort: ["number", "createdAt"], standard: "-number", search: ["revision", "message", "reason", "createdBy"] },
  rollouts: { sort: ["number", "phase", "createdAt", "endedAt"], standard: "-createdAt", search: ["reason", "createdBy"] },
  stackRollouts: {
    sort: ["createdAt", "component", "number", "phase", "endedAt"],
    standard: "-createdAt",
    search: ["component", "reason", "createdBy"],
  },
  tasks: {
    sort: ["number", "component", "phase", "createdAt", "endedAt"],
    standard: "-number",
    search: ["component", "command", "createdBy"],
  },
  volumes: { sort: ["name", "createdAt"], standard: "name", search: ["name"] },
  allVolumes: { sort: ["stack", "name", "createdAt"], standard: "stack", search: ["stack", "name"] },
  clusters: { sort: ["name", "engine", "createdAt"], standard: "name", search: ["name"] },
  certificates: { sort: ["name", "notAfter", "updatedAt"], standard: "name", search: ["name", "subject", "hosts"] },
  automaticCertificates: { sort: ["host", "renewsAt"], standard: "host", search: ["host"] },
  registries: { sort: ["host", "updatedAt"], standard: "host", search: ["host", "username"] },
  webhooks: { sort: ["name", "registry", "createdAt"], standard: "name", search: ["name", "registry"] },
  tokens: { sort: ["name", "createdAt", "expiresAt", "lastUsedAt"], standard: "name", search: ["name", "prefix"] },
  users: { sort: ["name", "createdAt"], standard: "name", search: ["name"] },
  teams: { sort: ["name", "createdAt"], standard: "name", search: ["name"] },
  roles: { sort: ["name"], standard: "name", search: ["name", "permissions"] },
  events: { sort: ["at"], standard: "-at", search: ["code", "stack", "component", "params"] },
  audit: { sort: ["at"], standard: "-at", search: ["principal", "action", "object", "params"] },
} as const satisfies Record<string, ListFacts>;
