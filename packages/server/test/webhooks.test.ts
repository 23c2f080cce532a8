// Webhooks of registries over a real database and a real HTTP server: who is believed, what is woken, and what a look makes of it. The registry itself is e2e/docker/webhooks.test.ts's.
import { createHmac } from "node:crypto";
import { sql } from "kysely";
import { beforeEach, expect, test } from "vitest";
import { cause } from "@berth/contract/causes.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { transaction } from "../src/db/transaction.ts";
import type { Standing } from "../src/core/image/reference.ts";
import { reconcileLooks } from "../src/reconcile/follow.ts";
import { acceptRollouts } from "../src/resources/rollouts/accept.ts";
import { findComponent, updateComponent } from "../src/resources/components/store.ts";
import { stackHandle } from "../src/resources/stacks/service.ts";
import { findStack } from "../src/resources/stacks/store.ts";
import { useHttp, type Answer, type Ask } from "./http.ts";
import { useServices } from "./services.ts";

/** The clock stands still while this is set: what is counted by the second is counted, however long a busy machine takes. */
let held: Date | undefined;
const clock = (): Date => held ?? new Date();
const services = useServices(() => ({ clock }));
const api = useHttp(services);
const registry = "registry.example:5000";
const image = `${registry}/shop/web:1`;
const digest = (n: number): string => `sha256:${String(n).repeat(64)}`;
let secret = "";
let stack = "";
let made = 0;

beforeEach(async () => {
  held = undefined;
  const { db } = services().database;
  for (const table of ["webhooks", "image_looks", "due", "events"] as const) await db.deleteFrom(table).execute();
  // Those of the tests before.
  await sql`update components set spec = spec - 'follow'`.execute(db);
  const created = await services().handlers.createWebhook({ body: { name: "ci", registry } }, services().call());
  ({ secret } = created);
  expect(created).toMatchObject({ path: "/api/v1/webhooks/registry/ci", webhook: { name: "ci", registry, createdBy: "admin" } });
  stack = `follow-${String((made += 1))}`;
  await services().handlers.createStack({ body: { name: stack } }, services().call());
});

const pushed = (repository = "shop/web", tag = "1") => ({ events: [{ action: "push", target: { repository, tag, digest: digest(9) } }] });
const notify = (more: Partial<Ask> = {}, body: unknown = pushed()) =>
  api().ask({
    method: "POST",
    path: "/webhooks/registry/ci",
    token: "",
    raw: JSON.stringify(body),
    headers: { authorization: `Bearer ${secret}`, "content-type": "application/vnd.docker.distribution.events.v1+json" },
    ...more,
  });
const signed = (body: string): string => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
const component = (name: string, more: Partial<ComponentSpec> = {}) =>
  services().handlers.setComponent(
    { params: { stack, component: name }, body: { ...defaultSpec("worker"), image, follow: true, securityProfile: "baseline", ...more } },
    services().call(),
  );
const due = async (): Promise<string[]> =>
  (await services().database.db.selectFrom("due").select("key").where("kind", "=", "image-look").execute()).map(({ key }) => key);
const stackId = async (): Promise<string> => (await findStack(services().database.db, stack))?.id ?? "";
const eventsOf = async (code: string): Promise<Record<string, unknown>[]> =>
  (await services().database.db.selectFrom("events").select("params").where("code", "=", code).orderBy("id").execute()).map(
    ({ params }) => params as Record<string, unknown>,
  );
/** One look at the stack; `standing`: what the registry says. */
const look = async (standing: Standing | ((asked: string) => Standing)) => {
  const { db } = services().database;
  const asked: string[] = [];
  const end = await reconcileLooks(
    {
      db,
      clock,
      ask: (name) => {
        asked.push(name);
        return Promise.resolve(typeof standing === "function" ? standing(name) : standing);
      },
    },
    await stackId(),
    { signal: new AbortController().signal, commit: (work) => transaction(db, work) },
  );
  return { asked, end };
};
const rollouts = async (name = "web") =>
  services()
    .database.db.selectFrom("rollouts as o")
    .innerJoin("components as c", "c.id", "o.component_id")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .select(["o.number", "o.reason", "o.created_by", "o.image_reference", "o.phase"])
    .where("s.name", "=", stack)
    .where("c.name", "=", name)
    .orderBy("o.number")
    .execute();

test("its secret is shown once, kept sealed, and told to nobody", async () => {
  const answers: unknown[] = [await services().handlers.listWebhooks({ query: {} }, services().call())];
  for (const table of ["webhooks", "audit", "events"]) {
    const { rows } = await sql`select coalesce(string_agg(t::text, ' '), '') as text from ${sql.table(table)} t`.execute(
      services().database.db,
    );
    answers.push(rows);
  }
  expect(secret).toMatch(/^[\w-]{43}$/);
  expect(JSON.stringify(answers)).toContain("ci");
  expect(JSON.stringify(answers)).not.toContain(secret);
  await expect(services().handlers.createWebhook({ body: { name: "ci", registry } }, services().call())).rejects.toMatchObject({
    code: "conflict",
  });
});

test.each<[string, () => Partial<Ask>]>([
  ["in a header", () => ({})],
  ["in a header, alone, as Harbor sends it", () => ({ headers: { authorization: secret } })],
  ["as a password", () => ({ headers: { authorization: `Basic ${Buffer.from(`ci:${secret}`).toString("base64")}` } })],
  ["in the address", () => ({ path: `/webhooks/registry/ci?secret=${secret}`, headers: {} })],
  ["as a signature's key", () => ({ headers: { "x-hub-signature-256": signed(JSON.stringify(pushed())) } })],
])("is believed with its secret %s", async (_how, more) => {
  await component("web");
  const answer = await notify(more());
  expect(answer.status, answer.body).toBe(202);
  expect(answer.json()).toEqual({ components: 1 });
  expect(await due()).toEqual([await stackId()]);
});

test.each<[string, () => Partial<Ask>]>([
  ["no secret", () => ({ headers: {} })],
  ["another one", () => ({ headers: { authorization: `Bearer ${secret.slice(1)}x` } })],
  [
    "a wrong signature beside the right secret",
    () => ({ headers: { authorization: `Bearer ${secret}`, "x-hub-signature-256": signed("{}") } }),
  ],
  ["an empty signature", () => ({ headers: { authorization: `Bearer ${secret}`, "x-hub-signature-256": "" } })],
  [
    "a signature of another kind",
    () => ({ headers: { "x-hub-signature-256": signed(JSON.stringify(pushed())).replace("sha256", "sha1") } }),
  ],
  ["the name of no webhook", () => ({ path: "/webhooks/registry/nobody" })],
  ["a token of the API", () => ({ headers: { authorization: `Bearer ${api().admin}` } })],
])("is refused with %s, and wakes nobody", async (_what, more) => {
  await component("web");
  const answer = await notify(more());
  expect(answer.status, answer.body).toBe(401);
  expect(answer.json()).toMatchObject({ code: "webhook_refused" });
  expect(await due()).toEqual([]);
});

test("a secret ends with its webhook", async () => {
  await services().handlers.deleteWebhook({ params: { webhook: "ci" } }, services().call());
  expect((await notify()).status).toBe(401);
  await expect(services().handlers.deleteWebhook({ params: { webhook: "ci" } }, services().call())).rejects.toMatchObject({
    code: "not_found",
  });
});

test("one whose key is gone says so", async () => {
  await sql`update webhooks set name = 'moved' where name = 'ci'`.execute(services().database.db);
  expect((await notify({ path: "/webhooks/registry/moved" })).json()).toMatchObject({ code: "webhook_unreadable", status: 422 });
});

test("what is not understood is refused with what is", async () => {
  for (const raw of ["", "x", "[]", '{"ref":"refs/heads/main"}']) {
    const answer = await notify({ raw });
    expect(answer.json(), raw).toMatchObject({
      code: "notification_unknown",
      status: 422,
      hint: expect.stringContaining("Harbor") as string,
    });
  }
  expect((await notify({ raw: "x".repeat(1_100_000) })).json()).toMatchObject({ code: "payload_too_large", params: { limit: 1_048_576 } });
});

test("only those are woken that follow this tag of this registry", async () => {
  await component("web");
  await component("same", { image });
  await component("other-tag", { image: `${registry}/shop/web:2` });
  await component("other-repository", { image: `${registry}/shop/api:1` });
  await component("other-registry", { image: "shop/web:1" });
  await component("not-following", { follow: false });
  expect((await notify()).json()).toEqual({ components: 2 });
  expect((await notify({}, pushed("shop/web", "3"))).json()).toEqual({ components: 0 });
  const { rows } = await sql<{ principal: string; object: string; params: { format: string; components: string[] } }>`
    select principal, object, params from audit where action = 'webhooks.notify' and params::text like ${`%${stack}/%`}`.execute(
    services().database.db,
  );
  expect(rows).toMatchObject([{ principal: "webhook ci", object: "webhook:ci", params: { format: "distribution" } }]);
  expect(rows[0]?.params.components.toSorted()).toEqual([`${stack}/same`, `${stack}/web`]);
  expect((await services().handlers.listWebhooks({ query: {} }, services().call())).items[0]?.notifiedAt).toBeDefined();
});

test("nothing is followed that has no tag", async () => {
  await expect(component("pinned", { image: `${image}@${digest(1)}` })).rejects.toMatchObject({ code: "invalid_request" });
  const { image: _, ...built } = { ...defaultSpec("worker"), image, build: { context: "." }, follow: true };
  await expect(
    services().handlers.setComponent({ params: { stack, component: "built" }, body: built }, services().call()),
  ).rejects.toMatchObject({ code: "invalid_request" });
});

test("a moved tag is rolled out once, however often it is told, with its digest", async () => {
  await component("web");
  await component("side", { dependsOn: [{ component: "web", condition: "started" }] });
  await Promise.all(Array.from({ length: 10 }, () => notify()));
  const { asked } = await look({ digest: digest(1) });
  expect(asked).toEqual([image]);
  const reference = `${registry}/shop/web@${digest(1)}`;
  const one = { number: 1, reason: `${image} moved`, created_by: "webhook ci", image_reference: reference, phase: "building" };
  expect([await rollouts(), await rollouts("side")]).toEqual([[one], [one]]);
  const events = await eventsOf("image_moved");
  expect(events.toSorted((a, b) => String(b["component"]).localeCompare(String(a["component"])))).toMatchObject([
    { component: "web", image, from: "nothing", to: digest(1), by: "webhook ci" },
    { component: "side", to: digest(1) },
  ]);
  // Both in one version of the stack, the one after the other that it needs.
  expect(await eventsOf("stack_version")).toHaveLength(1);
  expect((await eventsOf("rollout_created")).map((event) => event["component"])).toEqual(["web", "side"]);
  expect((await look({ digest: digest(1) })).asked).toEqual([]);
  await notify();
  await look({ digest: digest(1) });
  expect(await rollouts()).toHaveLength(1);
  await notify();
  await look({ digest: digest(2) });
  expect(await rollouts()).toMatchObject([{ phase: "superseded" }, { number: 2, image_reference: `${registry}/shop/web@${digest(2)}` }]);
});

test("a registry that does not answer is asked again, and the reason is shown meanwhile", async () => {
  await component("web");
  await notify();
  const away = { cause: cause("registry_unanswered", { registry, image, reason: "no answer" }), retryable: true };
  const now = new Date();
  held = now;
  const waits: number[] = [];
  for (let times = 0; times < 4; times += 1) {
    const { end } = await look(away);
    waits.push((end.again?.getTime() ?? 0) - now.getTime());
  }
  expect(waits).toEqual([2_000, 4_000, 8_000, 16_000]);
  const shown = await services().handlers.showComponent({ params: { stack, component: "web" } }, services().call());
  expect(shown.body.looked).toMatchObject({ cause: { code: "registry_unanswered" } });
  expect(await eventsOf("image_look_failed")).toHaveLength(1);
  await look({ digest: digest(1) });
  expect(await rollouts()).toHaveLength(1);
  expect(
    (await services().handlers.showComponent({ params: { stack, component: "web" } }, services().call())).body.looked,
  ).not.toHaveProperty("cause");
});

test("one that refuses is not asked again by itself", async () => {
  await component("web");
  await notify();
  expect((await look({ cause: cause("image_denied", { image }), retryable: false })).end).toEqual({});
  expect((await look({ digest: digest(1) })).asked).toEqual([]);
  await notify();
  await look({ digest: digest(1) });
  expect(await rollouts()).toHaveLength(1);
});

test("a rollout that is finding out its image by itself is waited for", async () => {
  const { db } = services().database;
  await component("web");
  const row = await findComponent(db, await stackId(), "web");
  const found = await findStack(db, stack);
  if (row === undefined || found === undefined) throw new Error("nothing was made");
  await transaction(db, (trx) =>
    acceptRollouts(
      trx,
      { by: "admin" },
      stackHandle(found),
      [{ component: row, spec: row.spec, config: {}, secretRefs: {}, from: { image } }],
      "up",
    ),
  );
  await notify();
  expect((await look({ digest: digest(1) })).end.again).toBeInstanceOf(Date);
  expect(await rollouts()).toMatchObject([{ number: 1, phase: "building" }]);
});

test("what is stopped stays so, and is looked at when it is started", async () => {
  const { db } = services().database;
  await component("web");
  const row = await findComponent(db, await stackId(), "web");
  await updateComponent(db, row?.id ?? "", { stopped: true });
  await notify();
  expect((await look({ digest: digest(1) })).asked).toEqual([]);
  await db.deleteFrom("due").execute();
  await services().handlers.startComponent({ params: { stack, component: "web" } }, services().call());
  expect(await due()).toEqual([await stackId()]);
  await look({ digest: digest(1) });
  expect(await rollouts()).toHaveLength(1);
});

test("a secret that is not set any more keeps it from a rollout, and says so", async () => {
  await component("web", { secrets: { KEY: "never-set" } });
  await notify();
  await look({ digest: digest(1) });
  expect(await rollouts()).toEqual([]);
  const { body } = await services().handlers.showComponent({ params: { stack, component: "web" } }, services().call());
  expect(body.looked?.cause).toMatchObject({ code: "secret_missing", params: { secret: "never-set" } });
});

test("a flood is held off, and told when to come again", async () => {
  // Long after the tests before.
  held = new Date(Date.now() + 3_600_000);
  const refused = await Promise.all(Array.from({ length: 60 }, () => notify({ headers: {} })));
  const count = (answers: readonly Answer[], wanted: number): number => answers.filter(({ status }) => status === wanted).length;
  expect([count(refused, 401), count(refused, 429)]).toEqual([20, 40]);
  expect(refused.find(({ status }) => status === 429)?.headers["retry-after"]).toBe("1");
  // Whoever has the secret is not kept out by those who do not.
  expect((await notify()).status).toBe(202);
  const many: Answer[] = [];
  for (let times = 0; times < 20; times += 1) many.push(...(await Promise.all(Array.from({ length: 20 }, () => notify()))));
  expect([count(many, 202), count(many, 429)]).toEqual([199, 201]);
  // And so many a second after that.
  held = new Date(held.getTime() + 1_000);
  expect((await notify()).status).toBe(202);
});
