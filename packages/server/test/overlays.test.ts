// Overlays and privileged components as services take them in: what is refused before anything is written, who may grant rights, and what `berth manifests` shows.
import { Readable } from "node:stream";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import tar from "tar-stream";
import { expect, test } from "vitest";
import { BerthError } from "../src/core/errors.ts";
import type { Engine } from "../src/engines/engine.ts";
import { FakeTraffic } from "../src/engines/fake-traffic.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { overlayRefusalsOf } from "../src/engines/kubernetes/render.ts";
import type { Call } from "../src/resources/call.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

/** In memory, with a cluster's eyes for overlays. */
const fake = new FakeEngine({ now: Date.now });
const clustered = Object.assign(new FakeEngine({ now: Date.now }) as object, {
  kind: "kubernetes",
  overlayRefusals: overlayRefusalsOf.bind(undefined, "inst"),
}) as Engine;
const services = useServices(({ places }) => {
  const traffic = new FakeTraffic(fake);
  return { places: { ...places, engine: (cluster) => (cluster === "kube" ? clustered : fake), traffic: () => traffic } };
});

const spec = (over: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...defaultSpec("web"),
  image: "nginx:1",
  securityProfile: "baseline",
  ...over,
});
const hostNetwork = { Deployment: { spec: { template: { spec: { hostNetwork: true } } } } };
const limited = (...scopes: string[]): Call => {
  const call = services().call();
  return { ...call, principal: { ...call.principal, scopes } };
};
const errorOf = async (doing: Promise<unknown>): Promise<BerthError> => {
  const error: unknown = await doing.then(
    () => undefined,
    (failed: unknown) => failed,
  );
  if (!(error instanceof BerthError)) throw new Error("it was not refused", { cause: error });
  return error;
};

async function stack(name: string, cluster?: string): Promise<void> {
  const { handlers, call, database } = services();
  if (cluster !== undefined)
    await database.db
      .insertInto("clusters")
      .values({ name: cluster, engine: "kubernetes" })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
  await handlers.createStack({ body: { name, ...(cluster === undefined ? {} : { cluster }) } }, call());
}

const compose = (overlay: string) => ({
  files: { "compose.yaml": `services:\n  web:\n    image: nginx:1\n    ports: ["80"]\n    x-berth:\n      kubernetes: ${overlay}\n` },
  absent: [".env", "compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"],
  composeFiles: ["compose.yaml"],
  variables: { COMPOSE_FILE: null, COMPOSE_PROFILES: null, COMPOSE_PROJECT_NAME: null },
  profiles: [],
  sources: {},
});

test("a plan and a definition whose overlay may not be are refused with its path and a way out, and nothing is written", async () => {
  await stack("refused", "kube");
  const { handlers, call } = services();
  const params = { stack: "refused" };
  const planned = await errorOf(
    handlers.createPlan({ params, body: compose("{ Deployment: { spec: { template: { spec: { hostNetwork: true } } } } }") }, call()),
  );
  expect(planned).toMatchObject({
    code: "overlay_refused",
    params: { component: "web", kind: "Deployment", path: "spec.template.spec.hostNetwork" },
    details: [{ kind: "Deployment", path: "spec.template.spec.hostNetwork" }],
  });
  expect(planned.params["hint"]).toMatch(/securityProfile: privileged/);
  const component = { ...params, component: "web" };
  expect((await errorOf(handlers.setComponent({ params: component, body: spec({ kubernetes: hostNetwork }) }, call()))).code).toBe(
    "overlay_refused",
  );
  // A variable of its own is Berth's to set; one that nobody set may come.
  const env = (name: string) => ({
    Deployment: { spec: { template: { spec: { containers: [{ name: "web", env: [{ name, value: "x" }] }] } } } },
  });
  const taken = spec({ env: { MODE: "a" }, kubernetes: env("MODE") });
  expect((await errorOf(handlers.setComponent({ params: component, body: taken }, call()))).params["path"]).toMatch(
    /containers\[web\]\.env\[MODE\]$/,
  );
  expect((await errorOf(handlers.showComponent({ params: component }, call()))).code).toBe("not_found");
  await handlers.setComponent({ params: component, body: spec({ env: { MODE: "a" }, kubernetes: env("NODE") }) }, call());
});

test("an overlay that has no end is refused in words", async () => {
  await stack("endless", "kube");
  const { handlers, call } = services();
  const set = (overlay: Record<string, unknown>) =>
    handlers.setComponent({ params: { stack: "endless", component: "web" }, body: spec({ kubernetes: { Deployment: overlay } }) }, call());
  const deep = JSON.parse(`${'{"a":'.repeat(2_000)}1${"}".repeat(2_000)}`) as Record<string, unknown>;
  expect(await errorOf(set(deep))).toMatchObject({ code: "overlay_refused" });
  expect((await errorOf(set({ metadata: { annotations: { a: "x".repeat(70_000) } } }))).params["reason"]).toMatch(/longer than 65536/);
});

test("what reaches its machine takes the permission to grant that, in a definition and in a plan, as long as it changes", async () => {
  await stack("granted", "kube");
  const { handlers, call } = services();
  const params = { stack: "granted", component: "web" };
  const privileged = spec({ securityProfile: "privileged", kubernetes: hostNetwork });
  const writer = limited("stacks.read", "stacks.write", "releases.deploy");
  expect(await errorOf(handlers.setComponent({ params, body: privileged }, writer))).toMatchObject({
    code: "forbidden",
    params: { permission: "privileges.grant" },
  });
  expect((await errorOf(handlers.showComponent({ params }, call()))).code).toBe("not_found");
  await handlers.setComponent({ params, body: privileged }, call());
  // As it is, it is nobody's new right; otherwise it is.
  await handlers.setComponent({ params, body: privileged }, writer);
  expect((await errorOf(handlers.setComponent({ params, body: { ...privileged, env: { A: "1" } } }, writer))).code).toBe("forbidden");
  await handlers.setComponent({ params, body: spec() }, writer);

  const body = { ...compose("{}"), overrides: {} };
  body.files["compose.yaml"] += "      securityProfile: privileged\n";
  const plan = await handlers.createPlan({ params: { stack: "granted" }, body }, writer);
  if (plan.status !== "ready") throw new Error(JSON.stringify(plan));
  expect(plan.allowed["apply"]).toEqual({ ok: false, reason: { code: "no_permission", params: { permission: "privileges.grant" } } });
  expect(await errorOf(handlers.applyPlan({ params: { stack: "granted", plan: plan.id }, body: {} }, writer))).toMatchObject({
    code: "forbidden",
    params: { permission: "privileges.grant" },
  });
});

test("an overlay is noted where it has no effect", async () => {
  await stack("unused");
  const { handlers, call } = services();
  const params = { stack: "unused" };
  const pack = tar.pack();
  pack.entry({ name: "Procfile" }, "web: node server.js\n");
  pack.entry({ name: "package.json" }, '{"name": "a"}');
  pack.finalize();
  const { digest } = await handlers.uploadSource({ params, query: {}, body: Readable.from(pack) }, call());
  const body = { ...compose("{ Deployment: { spec: { template: { spec: { hostNetwork: true } } } } }"), sources: { ".": digest } };
  body.files["compose.yaml"] = body.files["compose.yaml"].replace("image: nginx:1", "build: .");
  const plan = await handlers.createPlan({ params, body }, call());
  if (plan.status !== "ready") throw new Error(JSON.stringify(plan));
  expect(plan.notes).toContainEqual({ code: "overlay_unused", params: { component: "web", cluster: "local" } });
});

test("the manifests of what was released have no value of a secret, and what was not released has none", async () => {
  const { handlers, call } = services();
  const at = new Scene(services(), () => fake);
  await at.create();
  const params = { stack: at.ref.stack };
  const worker = { ...defaultSpec("worker"), build: { context: "." }, secrets: { TOKEN: "token" }, env: { PLAIN: "seen" } };
  await handlers.setSecret({ params: { ...params, secret: "token" }, body: { value: "tr0ub4dor" } }, call());
  await handlers.setComponent({ params: at.ref, body: worker }, call());
  expect((await handlers.showManifests({ params, query: {} }, call())).objects).toEqual([]);
  const unreleased = await errorOf(handlers.showManifests({ params, query: { component: at.ref.component } }, call()));
  expect(unreleased.params).toMatchObject({ reason: "nothing was released yet" });
  expect((await errorOf(handlers.showManifests({ params, query: { component: "none" } }, call()))).code).toBe("not_found");

  await at.rolledOut(await at.deploy(worker, "succeeded", { TOKEN: { secret: "token", version: 1 } }));
  const shown = await handlers.showManifests({ params, query: { component: at.ref.component } }, call());
  expect(shown).toMatchObject({ stack: at.ref.stack, engine: "local", objects: [{ component: at.ref.component, hidden: [] }] });
  expect(JSON.stringify(shown)).toContain('"TOKEN":"(secret)"');
  expect(JSON.stringify(shown)).not.toContain("tr0ub4dor");
});
