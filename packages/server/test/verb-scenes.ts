// Objects of every kind that routes act on, in every state that speaks for or against a verb, and how each verb is called on them.
import { randomUUID } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import type { RouteName } from "@berth/contract/api.ts";
import type { Verb } from "@berth/contract/route.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { sql } from "kysely";
import tar from "tar-stream";
import type { Db } from "../src/db/pool.ts";
import type { HandlerDeps } from "../src/resources/handlers.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { testCertificate } from "../src/edge/testing/certificates.ts";
import type { Ask } from "./http.ts";
import type { TestServices } from "./services.ts";
import { plainBuild, plainRollout, plainTask } from "./rows.ts";

/** One object: where it is read, and the parameters of the routes that act on it. */
export interface Scene {
  readonly params: Readonly<Record<string, string>>;
  /** Asked for the object, or for a list that has it. */ readonly look: Ask;
  readonly pick?: (answer: Record<string, unknown>) => Record<string, unknown> | undefined;
  /** Where only some of a verb's routes fit. */ readonly only?: readonly RouteName[];
}
export type Make = (services: TestServices) => Promise<Scene>;

let made = 0;
const unique = (): string => `x${(made += 1)}`;
const files = { "package.json": JSON.stringify({ name: "hello", scripts: { start: "node server.js" } }), "server.js": "1" };
const { certificate: chain, key: certificateKey } = testCertificate({ hosts: ["verbs.example.org"] });
const anyRegistry = { username: "berth", password: "x" };
const anyCertificate = { chain, key: certificateKey };
const folder = {
  files: {},
  absent: [
    ".env",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
  ],
  composeFiles: [],
  variables: { COMPOSE_FILE: null },
  profiles: [],
};

export async function archive(): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, text] of Object.entries(files)) pack.entry({ name }, text);
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function addHost({ handlers, call }: Pick<TestServices, "handlers" | "call">): Promise<string> {
  const name = unique();
  await handlers.addCluster({ body: { name, endpoint: "unix:///run/elsewhere.sock" } }, call());
  return name;
}
const sceneOfCluster = (cluster: string) => ({ params: { cluster }, look: { path: `/clusters/${cluster}` } });

/** Parts that these scenes need beside the standard ones: an engine that shows what the database says, and a git that fetches the same folder always. */
export function sceneDeps(deps: HandlerDeps): Partial<HandlerDeps> {
  const engine = new Proxy(deps.places.engine("local"), {
    get(target, name) {
      if (name === "observe")
        return async (ref: { stack: string; component: string }) => ({
          ref,
          fence: { installation: "test", epoch: 1, generation: 1 },
          instances: (
            await deps.db
              .selectFrom("components as c")
              .innerJoin("stacks as s", "s.id", "c.stack_id")
              .select("c.observed")
              .where("s.name", "=", ref.stack)
              .where("c.name", "=", ref.component)
              .executeTakeFirstOrThrow()
          ).observed.instances.map((instance) => ({ ...instance, addresses: { http: { host: "127.0.0.1", port: 1 } } })),
        });
      if (name === "exec")
        return () =>
          Promise.resolve({
            stream: new Readable({
              read() {
                this.push(null);
              },
            }),
            resize: () => undefined,
            exit: new Promise(() => undefined),
          });
      if (name === "forward") return () => Promise.resolve(new PassThrough());
      if (name === "volumes") return { list: () => Promise.resolve([]), remove: () => Promise.resolve() };
      const found: unknown = Reflect.get(target, name);
      return typeof found === "function" ? (found.bind(target) as unknown) : found;
    },
  });
  return {
    places: { ...deps.places, engine: () => engine },
    fetchGit: async (_fetch, signal) => ({
      ...(await deps.receiveUpload(Readable.from([await archive()]), signal)),
      revision: "abc",
      author: "Ada",
      message: "first",
    }),
  };
}

interface Options {
  readonly kind?: "web" | "cron" | "worker";
  /** Releases there are; the newest serves. */ readonly releases?: number;
  readonly serves?: boolean;
  readonly rollout?: string;
  readonly instances?: readonly string[];
  readonly change?: (db: Db, ids: { stack: string; component: string }) => Promise<unknown>;
}

/** A stack with a component `web` and all that belongs to it. */
async function stackWith(
  services: TestServices,
  options: Options = {},
): Promise<{ stack: string; component: string; names: { stack: string; component: string }; source: string }> {
  const {
    handlers,
    call,
    deps: { db, blobs },
  } = services;
  const name = unique();
  const kind = options.kind ?? "web";
  const spec: ComponentSpec = {
    ...defaultSpec(kind),
    build: { context: "." },
    ...(kind === "cron" ? { schedule: { cron: "0 * * * *" } } : {}),
  };
  await handlers.createStack({ body: { name } }, call());
  await handlers.setComponent({ params: { stack: name, component: "web" }, body: spec }, call());
  const source = await handlers.uploadSource({ params: { stack: name }, query: {}, body: Readable.from([await archive()]) }, call());
  const { id, stack_id } = await db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .select(["c.id", "c.stack_id"])
    .where("s.name", "=", name)
    .executeTakeFirstOrThrow();
  const { cluster_id } = await db.selectFrom("stacks").select("cluster_id").where("id", "=", stack_id).executeTakeFirstOrThrow();
  const { digest, size } = await blobs.put(Readable.from(["artifact"]));
  await db
    .insertInto("artifacts")
    .values({ digest, kind: "bundle", size })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const build = await db
    .insertInto("builds")
    .values({
      ...plainBuild,
      stack_id,
      cluster_id,
      number: 1,
      source_id: source.id,
      source_digest: source.digest,
      build_key: "k",
      artifact_digest: digest,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  const command = { exec: ["x"] };
  let release: string | undefined;
  for (let number = 1; number <= (options.releases ?? 2); number += 1)
    release = await insertRelease(db, {
      componentId: id,
      number,
      hash: `h${number}`,
      artifactDigest: digest,
      buildId: build.id,
      config: {},
      secretRefs: {},
      spec,
      runtime: { command, workdir: ".", env: {}, tools: [] },
      reason: "up",
      by: "admin",
    });
  const instances = (options.instances ?? ["running"]).map((phase) => ({
    id: `i-${phase}`,
    phase,
    track: "stable",
    release: 1,
    ready: phase === "running",
    restarts: 0,
    probes: [],
  }));
  const phase = options.rollout ?? "succeeded";
  const ended = ["succeeded", "failed", "aborted", "superseded"].includes(phase);
  if ((options.releases ?? 2) > 0)
    await db
      .insertInto("rollouts")
      .values({
        ...plainRollout,
        component_id: id,
        cluster_id,
        number: 1,
        phase: phase as "succeeded",
        reason: "up",
        build_id: build.id,
        release_id: release ?? null,
        spec: JSON.stringify(spec),
        ended_at: ended ? new Date() : null,
      })
      .execute();
  await db.updateTable("stacks").set({ last_build: 1 }).where("id", "=", stack_id).execute();
  await db
    .updateTable("components")
    .set({
      last_rollout: 1,
      last_release: options.releases ?? 2,
      observed: JSON.stringify({ instances }),
      stable_release_id: options.serves === false ? null : (release ?? null),
    })
    .where("id", "=", id)
    .execute();
  await options.change?.(db, { stack: stack_id, component: id });
  return { stack: stack_id, component: id, names: { stack: name, component: "web" }, source: source.digest };
}

const stackGoes: Options["change"] = (db, { stack }) =>
  db.updateTable("stacks").set({ delete_requested_at: new Date() }).where("id", "=", stack).execute();
const componentGoes: Options["change"] = (db, { component }) =>
  db.updateTable("components").set({ delete_requested_at: new Date() }).where("id", "=", component).execute();

/** Looks at what `path` answers for a stack made so. */
const at =
  (path: string, options: Options = {}, more: Readonly<Record<string, string>> = {}): Make =>
  async (services) => {
    const { names, source } = await stackWith(services, options);
    return { params: { ...names, source, ...more }, look: { path: path.replace(":stack", names.stack) } };
  };
/** The same for an item of a list. */
const inList =
  (path: string, field: string, value: unknown, options: Options = {}, more: Readonly<Record<string, string>> = {}): Make =>
  async (services) => ({
    ...(await at(path, options, more)(services)),
    pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item[field] === value),
  });
const component = (options: Options = {}): Make => at("/stacks/:stack/components/web", options);
const rollout = (options: Options = {}): Make => at("/stacks/:stack/components/web/rollouts/1", options, { rollout: "1" });
const build = (phase: string, change: Options["change"] = () => Promise.resolve()): Make =>
  at(
    "/stacks/:stack/builds/1",
    {
      change: async (db, ids) => {
        await db
          .updateTable("builds")
          .set({ phase: phase as "failed" })
          .where("stack_id", "=", ids.stack)
          .execute();
        await change(db, ids);
      },
    },
    { build: "1" },
  );
const task = (phase: string): Make =>
  at(
    "/stacks/:stack/tasks/1",
    {
      change: async (db, ids) => {
        const { cluster_id } = await db.selectFrom("stacks").select("cluster_id").where("id", "=", ids.stack).executeTakeFirstOrThrow();
        await db
          .insertInto("tasks")
          .values({ ...plainTask, stack_id: ids.stack, component_id: ids.component, cluster_id, number: 1, phase: phase as "failed" })
          .execute();
      },
    },
    { task: "1" },
  );
const volume = (change: Options["change"] = () => Promise.resolve()): Make =>
  inList(
    "/stacks/:stack/volumes",
    "name",
    "data",
    {
      change: async (db, ids) => {
        const { cluster_id } = await db.selectFrom("stacks").select("cluster_id").where("id", "=", ids.stack).executeTakeFirstOrThrow();
        await db.insertInto("volumes").values({ stack_id: ids.stack, cluster_id, name: "data" }).execute();
        await change(db, ids);
      },
    },
    { volume: "data" },
  );
const secret = (options: Options = {}): Make =>
  inList(
    "/stacks/:stack/secrets",
    "name",
    "key",
    {
      ...options,
      change: async (db, ids) => {
        await db
          .insertInto("secrets")
          .values({ stack_id: ids.stack, name: "key", version: 1, ciphertext: "x", created_by: "admin" })
          .execute();
        await options.change?.(db, ids);
      },
    },
    { secret: "key" },
  );
const credential = (options: Options = {}): Make =>
  inList(
    "/stacks/:stack/credentials",
    "name",
    "forge",
    {
      ...options,
      change: async (db, ids) => {
        await db.insertInto("credentials").values({ stack_id: ids.stack, name: "forge", kind: "token", ciphertext: "x" }).execute();
        await options.change?.(db, ids);
      },
    },
    { credential: "forge" },
  );

/** For each object its states; the first is the one in which most verbs are open. */
export const scenes: Readonly<Record<string, Readonly<Record<string, Make>>>> = {
  Me: { "signed in": () => Promise.resolve({ params: {}, look: { path: "/me" } }) },
  Token: {
    valid: async ({ handlers, call }) => {
      const { token } = await handlers.createToken({ body: { name: unique() } }, call());
      return {
        params: { token: token.id },
        look: { path: `/tokens?limit=500` },
        pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item["id"] === token.id),
      };
    },
  },
  Certificate: {
    there: async ({ handlers, call }) => {
      const name = unique();
      await handlers.setCertificate({ params: { certificate: name }, body: anyCertificate }, call());
      return {
        params: { certificate: name },
        look: { path: "/certificates?limit=500" },
        pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item["name"] === name),
      };
    },
  },
  Registry: {
    there: async ({ handlers, call }) => {
      const host = `${unique()}.example:5000`;
      await handlers.setRegistry({ params: { registry: host }, body: anyRegistry }, call());
      return {
        params: { registry: host },
        look: { path: "/registries?limit=500" },
        pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item["host"] === host),
      };
    },
  },
  Cluster: {
    "a server's own machine": () => Promise.resolve(sceneOfCluster("local")),
    "a host without stacks": async (services) => sceneOfCluster(await addHost(services)),
    "a host with a stack": async (services) => {
      const cluster = await addHost(services);
      await services.handlers.createStack({ body: { name: unique(), cluster } }, services.call());
      return sceneOfCluster(cluster);
    },
  },
  Webhook: {
    there: async ({ handlers, call }) => {
      const name = unique();
      await handlers.createWebhook({ body: { name, registry: "registry.example" } }, call());
      return {
        params: { webhook: name },
        look: { path: "/webhooks?limit=500" },
        pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item["name"] === name),
      };
    },
  },
  AutomaticCertificate: {
    there: async ({ deps: { db } }) => {
      const host = `${unique()}.example.org`;
      await db.insertInto("automatic_certificates").values({ host, cluster: "local" }).execute();
      return {
        params: { host },
        look: { path: "/automatic-certificates?limit=500" },
        pick: (answer) => (answer["items"] as Record<string, unknown>[]).find((item) => item["host"] === host),
      };
    },
  },
  Stack: { there: at("/stacks/:stack"), "being deleted": at("/stacks/:stack", { change: stackGoes }) },
  StackPlan: {
    "for a stack that is there": async (services) => {
      const { names, source } = await stackWith(services);
      const scene = {
        params: { ...names, source },
        look: { method: "POST", path: `/stacks/${names.stack}/plans`, body: { ...folder, sources: { ".": source } } },
      };
      return scene;
    },
  },
  Component: {
    running: component(),
    stopped: component({
      instances: [],
      change: (db, { component: id }) => db.updateTable("components").set({ stopped: true }).where("id", "=", id).execute(),
    }),
    "never released": component({ releases: 0, instances: [] }),
    "made into a release that never served": component({ releases: 1, serves: false, instances: [] }),
    "released once": component({ releases: 1 }),
    "in a rollout": component({ rollout: "rolling" }),
    "with nothing that runs": component({ instances: ["backoff"] }),
    "a schedule": component({ kind: "cron", instances: [] }),
    "a schedule without a release": component({ kind: "cron", releases: 0, instances: [] }),
    "being deleted": component({ change: componentGoes }),
    "in a stack that is being deleted": component({ change: stackGoes }),
  },
  Instance: {
    running: inList("/stacks/:stack/components/web/instances", "id", "i-running", {}, { instance: "i-running" }),
    waiting: inList("/stacks/:stack/components/web/instances", "id", "i-backoff", { instances: ["backoff"] }, { instance: "i-backoff" }),
    "of a component that is being deleted": inList(
      "/stacks/:stack/components/web/instances",
      "id",
      "i-running",
      { change: componentGoes },
      { instance: "i-running" },
    ),
  },
  Release: {
    serving: at("/stacks/:stack/components/web/releases/2", {}, { release: "2" }),
    older: at("/stacks/:stack/components/web/releases/1", {}, { release: "1" }),
    "of a component that is being deleted": at("/stacks/:stack/components/web/releases/1", { change: componentGoes }, { release: "1" }),
  },
  Source: {
    stored: inList("/stacks/:stack/sources", "kind", "upload"),
    "of a stack that is being deleted": inList("/stacks/:stack/sources", "kind", "upload", { change: stackGoes }),
  },
  Config: {
    "of a stack": async (services) => ({ ...(await at("/stacks/:stack/config")(services)), only: ["updateStackConfig"] }),
    "of a component": async (services) => ({ ...(await at("/stacks/:stack/components/web/config")(services)), only: ["updateConfig"] }),
    "of a component that is being deleted": async (services) => ({
      ...(await at("/stacks/:stack/components/web/config", { change: componentGoes })(services)),
      only: ["updateConfig"],
    }),
  },
  Secret: {
    unused: secret(),
    "of a stack that is being deleted": secret({ change: stackGoes }),
    used: secret({
      change: (db, { component: id }) =>
        sql`update components set spec = jsonb_set(spec, '{secrets}', '{"KEY": "key"}') where id = ${id}`.execute(db),
    }),
  },
  Credential: { set: credential(), "of a stack that is being deleted": credential({ change: stackGoes }) },
  Build: {
    queued: build("queued"),
    running: build("running"),
    succeeded: build("succeeded"),
    failed: build("failed"),
    cancelled: build("cancelled"),
    "failed, in a stack that is being deleted": build("failed", stackGoes),
    "queued, in a stack that is being deleted": build("queued", stackGoes),
  },
  Rollout: {
    rolling: rollout({ rollout: "rolling" }),
    reverting: rollout({ rollout: "reverting" }),
    succeeded: rollout(),
    failed: rollout({ rollout: "failed" }),
    aborted: rollout({ rollout: "aborted" }),
    superseded: rollout({
      rollout: "superseded",
      change: (db, { component: id }) => db.updateTable("components").set({ last_rollout: 2 }).where("id", "=", id).execute(),
    }),
    "failed, with nothing kept": rollout({
      rollout: "failed",
      change: (db, { component: id }) =>
        db.updateTable("rollouts").set({ build_id: null, release_id: null }).where("component_id", "=", id).execute(),
    }),
    "failed, of a component that is being deleted": rollout({ rollout: "failed", change: componentGoes }),
    "rolling, of a component that is being deleted": rollout({ rollout: "rolling", change: componentGoes }),
  },
  Task: { queued: task("queued"), running: task("running"), succeeded: task("succeeded"), missed: task("missed") },
  Volume: {
    unused: volume(),
    "being deleted": volume((db, { stack }) =>
      db.updateTable("volumes").set({ delete_requested_at: new Date() }).where("stack_id", "=", stack).execute(),
    ),
    used: volume((db, { component: id }) =>
      sql`update components set spec = jsonb_set(spec, '{volumes}', '[{"volume": "data", "path": "/data"}]') where id = ${id}`.execute(db),
    ),
  },
};

type Call = { readonly params?: Readonly<Record<string, string>>; readonly query?: string; readonly body?: unknown; readonly raw?: Buffer };
const command = { exec: ["true"] };
/** What is sent for each verb by each of its routes, beside the scene's own parameters. A verb without an entry fails. */
export const calls: Readonly<
  Record<Verb, Readonly<Partial<Record<RouteName, (scene: Scene, services: TestServices) => Call | Promise<Call>>>>>
> = {
  "Me.createStack": { createStack: () => ({ body: { name: unique() } }) },
  "Me.createToken": { createToken: () => ({ body: { name: "made" } }) },
  "Me.trustHost": { addKnownHost: () => ({ body: { line: `${unique()}.example ssh-ed25519 AAAA` } }) },
  "Me.addCertificate": { setCertificate: () => ({ params: { certificate: unique() }, body: anyCertificate }) },
  "Me.addCluster": { addCluster: () => ({ body: { name: unique(), endpoint: "unix:///run/elsewhere.sock" } }) },
  "Cluster.change": { changeCluster: () => ({ body: { draining: false } }) },
  "Cluster.delete": { removeCluster: () => ({}) },
  "Me.addRegistry": { setRegistry: () => ({ params: { registry: `${unique()}.example` }, body: anyRegistry }) },
  "Me.addWebhook": { createWebhook: () => ({ body: { name: unique(), registry: "registry.example" } }) },
  "Webhook.delete": { deleteWebhook: () => ({}) },
  "Registry.set": { setRegistry: () => ({ body: anyRegistry }) },
  "Registry.delete": { deleteRegistry: () => ({}) },
  "Certificate.set": { setCertificate: () => ({ body: anyCertificate }) },
  "Certificate.delete": { deleteCertificate: () => ({}) },
  "AutomaticCertificate.renew": { renewCertificate: () => ({}) },
  "Me.logout": { logout: () => ({}) },
  "Token.delete": { deleteToken: () => ({}) },
  "Stack.update": { updateStack: () => ({ body: { runEnv: "staging" } }) },
  "Stack.setQuota": { setQuota: () => ({ body: { instances: 20 } }) },
  "Stack.delete": { deleteStack: () => ({}) },
  "Stack.deploy": {
    createPlan: ({ params }) => ({ body: { ...folder, sources: { ".": params["source"] } } }),
    applyPlan: async ({ params }, services) => ({ params: { plan: await planOf(services, params) }, body: {} }),
  },
  "Stack.addSource": {
    uploadSource: async () => ({ raw: await archive() }),
    fetchSource: () => ({ body: { url: "https://example.com/x.git" } }),
  },
  "Stack.setComponent": {
    setComponent: () => ({ params: { component: "another" }, body: { ...defaultSpec("worker"), build: { context: "." } } }),
  },
  "Stack.setSecret": { setSecret: () => ({ params: { secret: "another" }, body: { value: "v" } }) },
  "Stack.setCredential": { setCredential: () => ({ params: { credential: "another" }, body: { kind: "token", token: "t" } }) },
  "StackPlan.apply": { applyPlan: async ({ params }, services) => ({ params: { plan: await planOf(services, params) }, body: {} }) },
  "Component.update": { setComponent: () => ({ body: { ...defaultSpec("web"), build: { context: "." }, env: { A: unique() } } }) },
  "Component.delete": { deleteComponent: () => ({}) },
  "Component.deploy": { deployComponent: ({ params }) => ({ body: { source: params["source"] } }) },
  "Component.rollback": { rollbackComponent: () => ({ body: {} }) },
  "Component.scale": { scaleComponent: () => ({ body: { replicas: 3 } }) },
  "Component.autoscale": { autoscaleComponent: () => ({ body: { autoscale: { min: 1, max: 3, cpu: 70 } } }) },
  "Component.place": { placeComponent: () => ({ body: {} }) },
  "Component.restart": { restartComponent: () => ({}) },
  "Component.stop": { stopComponent: () => ({}) },
  "Component.start": { startComponent: () => ({}) },
  "Component.exec": { openTerminal: () => ({ query: `command=${encodeURIComponent(JSON.stringify(command))}` }) },
  "Component.forward": { openPort: () => ({ query: "" }) },
  "Component.runTask": { createTask: () => ({ body: { command } }) },
  "Component.runSchedule": { runSchedule: () => ({}) },
  "Instance.exec": {
    openTerminal: ({ params }) => ({
      query: `instance=${params["instance"] ?? ""}&command=${encodeURIComponent(JSON.stringify(command))}`,
    }),
  },
  "Instance.forward": { openPort: ({ params }) => ({ query: `instance=${params["instance"] ?? ""}` }) },
  "Release.rollback": { rollbackComponent: ({ params }) => ({ body: { release: Number(params["release"]) } }) },
  "Source.deploy": { deployComponent: ({ params }) => ({ body: { source: params["source"] } }) },
  "Config.update": {
    updateStackConfig: () => ({ body: { values: { A: unique() } } }),
    updateConfig: () => ({ body: { values: { A: unique() } } }),
  },
  "Config.deploy": {
    updateStackConfig: () => ({ body: { values: {}, deploy: true } }),
    updateConfig: () => ({ body: { values: {}, deploy: true } }),
  },
  "Secret.set": { setSecret: () => ({ body: { value: randomUUID() } }) },
  "Secret.delete": { deleteSecret: () => ({}) },
  "Credential.set": { setCredential: () => ({ body: { kind: "token", token: randomUUID() } }) },
  "Credential.delete": { deleteCredential: () => ({}) },
  "Build.cancel": { cancelBuild: () => ({}) },
  "Build.retry": { retryBuild: () => ({}) },
  "Rollout.abort": { abortRollout: () => ({}) },
  "Rollout.retry": { retryRollout: () => ({}) },
  "Task.cancel": { cancelTask: () => ({}) },
  "Volume.delete": { deleteVolume: () => ({}) },
};

/** A plan of the administrator's, for a stack as it was before it was on its way out. */
async function planOf({ handlers, call, deps }: TestServices, params: Readonly<Record<string, string>>): Promise<string> {
  const stack = params["stack"] ?? "";
  const { delete_requested_at } = await deps.db
    .selectFrom("stacks")
    .select("delete_requested_at")
    .where("name", "=", stack)
    .executeTakeFirstOrThrow();
  await deps.db.updateTable("stacks").set({ delete_requested_at: null }).where("name", "=", stack).execute();
  const plan = await handlers.createPlan({ params: { stack }, body: { ...folder, sources: { ".": params["source"] ?? "" } } }, call());
  await deps.db.updateTable("stacks").set({ delete_requested_at }).where("name", "=", stack).execute();
  if (plan.status !== "ready") throw new Error(JSON.stringify(plan));
  return plan.id;
}
