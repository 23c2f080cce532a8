// Rows for every list of the contract: several of each, with ties in what they are sorted by, with fields that some lack, and with others' rows beside them
// that must not show. A list without an entry here fails the test of all lists.
import type { RouteName } from "@berth/contract/api.ts";
import { defaultSpec, type ComponentKind } from "@berth/contract/spec.ts";
import type { Db } from "../src/db/pool.ts";
import { plainRollout, plainTask } from "./rows.ts";

type Item = Readonly<Record<string, unknown>>;
export interface ListSeed {
  /** Below /api/v1. */
  readonly path: string;
  /** A value for every filter of the list that some rows have and others have not. */
  readonly filters: Readonly<Record<string, { readonly value: string; readonly holds: (item: Item) => boolean }>>;
}

const is = (field: string, value: string | number | boolean) => ({ value: String(value), holds: (item: Item) => item[field] === value });
const has = (field: string, value: string) => ({ value, holds: (item: Item) => (item[field] as string[]).includes(value) });
const day = (n: number): Date => new Date(Date.UTC(2026, 0, 1 + n, 12, 0, 0, 250 * n));
const since = { value: day(3).toISOString(), holds: (item: Item) => String(item["at"]) >= day(3).toISOString() };
const until = { value: day(3).toISOString(), holds: (item: Item) => String(item["at"]) < day(3).toISOString() };

const inStack = "/stacks/lists";
const inWeb = `${inStack}/components/web`;
export const listSeeds: Readonly<Partial<Record<RouteName, ListSeed>>> = {
  listStacks: { path: "/stacks", filters: { state: is("state", "empty"), team: is("team", "tools"), cluster: is("cluster", "far") } },
  listStackVersions: { path: `${inStack}/versions`, filters: {} },
  listComponents: { path: `${inStack}/components`, filters: { kind: is("kind", "worker"), state: is("state", "healthy") } },
  listInstances: {
    path: `${inWeb}/instances`,
    filters: { phase: is("phase", "running"), ready: is("ready", true), track: is("track", "candidate") },
  },
  listSecrets: { path: `${inStack}/secrets`, filters: { usedBy: has("usedBy", "web") } },
  listSources: { path: `${inStack}/sources`, filters: { kind: is("kind", "git") } },
  listCredentials: { path: `${inStack}/credentials`, filters: { kind: is("kind", "token") } },
  listKnownHosts: { path: "/known-hosts", filters: {} },
  listBuilds: { path: `${inStack}/builds`, filters: { phase: is("phase", "failed") } },
  listReleases: { path: `${inWeb}/releases`, filters: { build: is("build", 2) } },
  listRollouts: { path: `${inWeb}/rollouts`, filters: { phase: is("phase", "failed") } },
  // The API does not show a rollout's version: those of version 2 were made for it.
  listStackRollouts: {
    path: `${inStack}/rollouts`,
    filters: {
      phase: is("phase", "failed"),
      component: is("component", "web"),
      version: { value: "2", holds: (item) => item["reason"] === "up again" },
    },
  },
  listTasks: {
    path: `${inStack}/tasks`,
    filters: { component: is("component", "web"), phase: is("phase", "failed"), trigger: is("trigger", "schedule") },
  },
  listVolumes: { path: `${inStack}/volumes`, filters: { usedBy: has("usedBy", "web") } },
  listAllVolumes: { path: "/volumes", filters: { usedBy: has("usedBy", "web"), stackDeleted: is("stackDeleted", true) } },
  listClusters: { path: "/clusters", filters: { engine: is("engine", "docker") } },
  listCertificates: { path: "/certificates", filters: {} },
  listAutomaticCertificates: { path: "/automatic-certificates", filters: {} },
  listRegistries: { path: "/registries", filters: {} },
  listWebhooks: { path: "/webhooks", filters: {} },
  listTokens: { path: "/tokens", filters: {} },
  listUsers: { path: "/users", filters: {} },
  listTeams: { path: "/teams", filters: {} },
  listRoles: {
    path: "/roles",
    filters: {
      permission: {
        value: "orders.approve",
        holds: (item) => ["*", "orders.approve"].some((one) => (item["permissions"] as string[]).includes(one)),
      },
    },
  },
  listEvents: {
    path: "/events",
    filters: {
      stack: is("stack", "lists"),
      component: is("component", "web"),
      code: is("code", "component_scaled"),
      topics: has("topics", "stack:lists"),
      since,
      until,
    },
  },
  listAudit: {
    path: "/audit",
    filters: {
      principal: is("principal", "ada"),
      object: is("object", "stack:lists"),
      action: is("action", "stacks.update"),
      since,
      until,
    },
  },
};

const digest = (n: number): string => `sha256:${String(n).padStart(64, "0")}`;
const nothing = { stable_release_id: null } as const;

/** Makes them all; answers nothing, since the lists tell. */
export async function seedLists(db: Db): Promise<void> {
  const admin = await db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
  const standard = await db.selectFrom("teams").select("id").where("name", "=", "default").executeTakeFirstOrThrow();
  const teams = await db
    .insertInto("teams")
    .values(["tools", "billing", "search"].map((name, n) => ({ name, created_at: day(n % 2) })))
    .returning(["id", "name"])
    .execute();
  await db
    .insertInto("users")
    .values(["ada", "grace", "linus", "barbara"].map((name, n) => ({ name, created_at: day(n % 2) })))
    .execute();
  await db
    .insertInto("clusters")
    .values([
      { name: "far", engine: "docker" },
      { name: "east", engine: "kubernetes" },
      { name: "west", engine: "kubernetes" },
    ])
    .execute();
  const clusters = new Map((await db.selectFrom("clusters").select(["id", "name"]).execute()).map((row) => [row.name, row.id]));
  const local = clusters.get("local") ?? "";
  const stack = async (name: string, n: number, more: object = {}): Promise<string> =>
    (
      await db
        .insertInto("stacks")
        .values({ name, team_id: standard.id, cluster_id: local, created_at: day(n % 3), updated_at: day(n % 2), ...more })
        .returning("id")
        .executeTakeFirstOrThrow()
    ).id;
  const lists = await stack("lists", 0);
  const other = await stack("other", 1);
  await stack("shop-a", 2, { team_id: teams.find((team) => team.name === "tools")?.id });
  await stack("shop-b", 3, { team_id: teams.find((team) => team.name === "tools")?.id, cluster_id: clusters.get("far") });
  await stack("blog", 4);
  const gone = await stack("gone", 5, { deleted_at: day(6) });

  const instances = ["running", "running", "starting", "backoff", "running", "stopping"].map((phase, n) => ({
    id: `i-${"fbdace"[n] ?? ""}`,
    phase,
    track: n % 3 === 2 ? "candidate" : "stable",
    release: 1 + (n % 3),
    ready: phase === "running",
    restarts: n % 4 === 1 ? 3 : 0,
    ...(n === 2 ? {} : { startedAt: day(n % 4).toISOString() }),
    probes: [],
  }));
  const component = async (of: string, name: string, kind: ComponentKind, n: number, more: object = {}): Promise<string> =>
    (
      await db
        .insertInto("components")
        .values({
          stack_id: of,
          name,
          kind,
          state: n % 2 === 0 ? "healthy" : "degraded",
          created_at: day(n % 3),
          updated_at: day(5 - n),
          replicas: 1,
          ...nothing,
          spec: JSON.stringify({
            ...defaultSpec(kind),
            secrets: name === "web" ? { KEY: "key", CERT: "cert" } : {},
            volumes:
              name === "web"
                ? [
                    { volume: "data", path: "/data" },
                    { volume: "logs", path: "/logs" },
                  ]
                : [],
          }),
          observed: JSON.stringify({ instances: name === "web" ? instances : [] }),
          ...more,
        })
        .returning("id")
        .executeTakeFirstOrThrow()
    ).id;
  const web = await component(lists, "web", "web", 0);
  const job = await component(lists, "job", "cron", 1);
  const mail = await component(lists, "mail", "worker", 2);
  for (const [n, name] of ["queue", "mailer", "web-admin"].entries()) await component(lists, name, "worker", 3 + n);
  const elsewhere = await component(other, "web", "web", 1);

  await db
    .insertInto("stack_versions")
    .values(
      [1, 2, 3, 4, 5].flatMap((number) =>
        [lists, other].map((stack_id) => ({
          stack_id,
          number,
          reason: number % 2 === 0 ? "up again" : "deploy of 100%",
          created_by: number > 3 ? "ada" : "admin",
          created_at: day(Math.floor(number / 2)),
        })),
      ),
    )
    .execute();
  const version = new Map(
    (await db.selectFrom("stack_versions").select(["id", "number"]).where("stack_id", "=", lists).execute()).map((row) => [
      row.number,
      row.id,
    ]),
  );

  const ages = [4, 1, 1, 3, 2, 4];
  await db
    .insertInto("sources")
    .values(
      ages.flatMap((age, n) =>
        [lists, other].map((stack_id) => ({
          stack_id,
          principal: admin.id,
          kind: n % 2 === 0 ? ("git" as const) : ("upload" as const),
          digest: digest(n),
          size: 1000 * (n % 3),
          files: n % 4,
          url: n % 2 === 0 ? `https://example.com/repo_${n}.git` : null,
          ref: n % 2 === 0 ? "main" : null,
          revision: n === 5 ? null : `abc${n}def`,
          author: n === 1 ? "Ada" : null,
          message: `Change ${n}`,
          dirty: null,
          created_by: "admin",
          created_at: day(age),
        })),
      ),
    )
    .execute();
  const sources = await db.selectFrom("sources").select(["id", "digest"]).where("stack_id", "=", lists).orderBy("digest").execute();
  await db
    .insertInto("artifacts")
    .values([1, 2, 3].map((n) => ({ digest: digest(100 + n), kind: "bundle" as const, size: n })))
    .execute();

  const phases = ["succeeded", "failed", "queued", "running", "failed", "cancelled"] as const;
  await db
    .insertInto("builds")
    .values(
      phases.flatMap((phase, n) =>
        [lists, other].map((stack_id) => ({
          stack_id,
          cluster_id: local,
          number: n + 1,
          source_id: sources[n]?.id ?? null,
          source_digest: digest(n),
          context: n % 2 === 0 ? "./api" : "./web",
          build_key: `k${n}`,
          phase,
          queued_at: day(ages[n] ?? 0),
          ended_at: ["queued", "running"].includes(phase) ? null : day(9 - n),
          artifact_digest: phase === "succeeded" ? digest(101) : null,
          log_digest: null,
          cancel_requested_by: null,
          created_by: n > 3 ? "ada" : "admin",
        })),
      ),
    )
    .execute();
  const builds = await db.selectFrom("builds").select(["id", "number"]).where("stack_id", "=", lists).orderBy("number").execute();

  await db
    .insertInto("releases")
    .values(
      [1, 2, 3, 4, 5].flatMap((number) =>
        [web, elsewhere].map((component_id) => ({
          component_id,
          number,
          hash: `h${number}`,
          artifact_digest: digest(100 + (number % 3) + 1),
          build_id: builds[number % 2]?.id ?? null,
          config: "{}",
          secret_refs: "{}",
          spec: JSON.stringify(defaultSpec("web")),
          runtime: JSON.stringify({ command: { exec: ["x"] }, workdir: ".", env: {}, tools: [] }),
          reason: number % 2 === 0 ? "up" : "rollback to release 2",
          created_by: number > 3 ? "ada" : "admin",
          created_at: day(Math.floor(number / 2)),
        })),
      ),
    )
    .execute();

  const ended = ["succeeded", "failed", "superseded", "failed", "aborted", "rolling"] as const;
  await db
    .insertInto("rollouts")
    .values(
      ended.flatMap((phase, n) =>
        [web, mail, elsewhere].map((component_id) => ({
          ...plainRollout,
          component_id,
          cluster_id: local,
          number: n + 1,
          version_id: version.get(n % 2 === 0 ? 2 : 3) ?? null,
          phase,
          reason: n % 2 === 0 ? "up again" : "restart",
          spec: JSON.stringify(defaultSpec("web")),
          created_by: n > 3 ? "ada" : "admin",
          created_at: day(Math.floor(n / 2)),
          ended_at: phase === "rolling" ? null : day(9 - n),
        })),
      ),
    )
    .execute();

  await db
    .insertInto("tasks")
    .values(
      (["succeeded", "failed", "running", "missed", "failed", "queued"] as const).flatMap((phase, n) =>
        [
          { stack_id: lists, component_id: n % 2 === 0 ? web : job },
          { stack_id: other, component_id: elsewhere },
        ].map((of) => ({
          ...plainTask,
          ...of,
          cluster_id: local,
          number: n + 1,
          phase,
          command: JSON.stringify(n % 2 === 0 ? { exec: ["rake", `db:migrate_${n}`] } : { shell: `clean --all ${n}` }),
          trigger: n % 3 === 0 ? ("schedule" as const) : ("user" as const),
          created_by: n > 3 ? "ada" : "admin",
          created_at: day(Math.floor(n / 2)),
          ended_at: ["running", "queued"].includes(phase) ? null : day(9 - n),
        })),
      ),
    )
    .execute();

  await db
    .insertInto("volumes")
    .values([
      ...["data", "logs", "cache", "spool", "uploads"].map((name, n) => ({
        stack_id: lists,
        cluster_id: local,
        name,
        created_at: day(n % 3),
      })),
      { stack_id: other, cluster_id: local, name: "data", created_at: day(1) },
      { stack_id: gone, cluster_id: local, name: "kept", created_at: day(2) },
    ])
    .execute();
  await db
    .insertInto("credentials")
    .values(
      ["github", "gitlab", "forge", "mirror", "backup"].flatMap((name, n) =>
        [lists, other].map((stack_id) => ({
          stack_id,
          name,
          kind: n % 2 === 0 ? "token" : "deploy-key",
          ciphertext: "x",
          updated_at: day(n % 3),
        })),
      ),
    )
    .execute();
  await db
    .insertInto("certificates")
    .values(
      ["shop", "wild", "intern", "old", "spare"].map((name, n) => ({
        name,
        chain: "x",
        ciphertext: "x",
        subject: `CN=${name}.example.org`,
        issuer: "CN=Authority",
        hosts: [`${name}.example.org`, `www.${name}.example.org`],
        not_before: day(0),
        not_after: day(n % 3),
        fingerprint: `00:${n}`,
        chain_length: 2,
        self_signed: false,
        updated_at: day(n % 3),
        updated_by: "admin",
      })),
    )
    .execute();
  await db
    .insertInto("automatic_certificates")
    .values(
      ["shop", "blog", "docs", "mail", "wiki"].map((name, n) => ({
        host: `${name}.example.org`,
        cluster: "local",
        wanted: true,
        ...(n === 0 ? {} : { renew_at: day(n % 3) }),
      })),
    )
    .execute();
  await db
    .insertInto("registries")
    .values(
      ["registry.example", "registry.example:5000", "default", "127.0.0.1:5000", "mirror.example"].map((host, n) => ({
        host,
        username: n % 2 === 0 ? "berth" : "ada",
        ciphertext: "x",
        plain_http: n === 3,
        updated_at: day(n % 3),
        updated_by: "admin",
      })),
    )
    .execute();
  await db
    .insertInto("webhooks")
    .values(
      ["ci", "harbor", "hub", "quay", "nightly"].map((name, n) => ({
        name,
        registry: n % 2 === 0 ? "registry.example" : "default",
        ciphertext: "x",
        created_at: day(n % 3),
        created_by: "admin",
      })),
    )
    .execute();
  await db
    .insertInto("known_hosts")
    .values(
      ["github.com", "gitlab.com", "forge.example", "10.0.0.1", "mirror.example"].map((host, n) => ({
        line: `${host} ssh-ed25519 AAAA${n}`,
        created_at: day(n % 3),
      })),
    )
    .execute();
  await db
    .insertInto("secrets")
    .values(
      ["key", "cert", "smtp", "db", "salt"].flatMap((name, n) =>
        [lists, other].flatMap((stack_id) =>
          Array.from({ length: 1 + (n % 3) }, (_, old) => ({
            stack_id,
            name,
            version: old + 1,
            ciphertext: "x",
            created_by: n > 2 ? "ada" : "admin",
            created_at: day(old),
          })),
        ),
      ),
    )
    .execute();
  await db
    .insertInto("api_tokens")
    .values(
      ["ci", "laptop", "deploy", "phone", "laptop"].map((name, n) => ({
        prefix: `prefix${n}`,
        hash: Buffer.from("x"),
        user_id: admin.id,
        name,
        scopes: ["*"],
        created_at: day(n % 3),
        expires_at: n % 2 === 0 ? null : new Date(Date.UTC(2099, n)),
        last_used_at: n === 3 ? null : day(5 - n),
      })),
    )
    .execute();

  await db
    .insertInto("events")
    .values(
      Array.from({ length: 9 }, (_, n) => {
        const of = n % 3 === 2 ? "other" : "lists";
        return {
          at: day(Math.floor(n / 2)),
          code: n % 2 === 0 ? "component_scaled" : "component_stopped",
          params: JSON.stringify({ component: n % 2 === 0 ? "web" : "mail", from: n, to: 10 + n }),
          topics: [`stack:${of}`],
          team_id: standard.id,
          stack: n === 8 ? null : of,
          component: n === 8 ? null : n % 2 === 0 ? "web" : "mail",
        };
      }),
    )
    .execute();
  await db
    .insertInto("audit")
    .values(
      Array.from({ length: 9 }, (_, n) => ({
        at: day(Math.floor(n / 2)),
        principal: n % 3 === 0 ? "ada" : "admin",
        action: n % 2 === 0 ? "stacks.update" : "components.scale",
        object: n % 2 === 0 ? "stack:lists" : "component:lists/web",
        params: JSON.stringify(n % 2 === 0 ? { runEnv: `env-${n}` } : { replicas: n }),
        request_id: null,
        seq: null,
        previous_hash: null,
        hash: null,
        signature: null,
        key_id: null,
      })),
    )
    .execute();
}
