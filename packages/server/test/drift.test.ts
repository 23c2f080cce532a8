// What somebody changes by hand of a component is taken back or left, as its stack says; told once, with whose change it was; and shown for as long as it is there.
import { expect, test } from "vitest";
import { cause } from "@berth/contract/causes.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import { EngineFailure, type Difference, type Drift } from "../src/engines/engine.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const worker = { ...defaultSpec("worker"), build: { context: "." }, command: { exec: ["app"] }, gracePeriod: 1 };
const image: Difference = {
  object: "Deployment web--a",
  path: "spec.image",
  wanted: "a",
  found: "b",
  by: "kubectl-set",
  at: "2026-03-01T12:00:00Z",
};
const replicas: Difference = { object: "Deployment web--a", path: "spec.replicas", wanted: "1", found: "3", by: "kubectl" };

/** A component that runs in a place where people change things. */
class Changed {
  readonly at: Scene;
  /** As it is found next. */
  now: Drift = { differences: [], turning: false };
  /** Why it cannot be taken back. */
  refuses: Error | undefined;
  repaired = 0;

  private constructor(at: Scene) {
    this.at = at;
    Object.assign(at.engine, {
      drift: () => Promise.resolve(this.now),
      repair: () => {
        if (this.refuses !== undefined) return Promise.reject(this.refuses);
        this.repaired += 1;
        this.now = { differences: [], turning: false };
        return Promise.resolve();
      },
    });
  }

  static async running(): Promise<Changed> {
    const at = new Scene(services());
    await at.create();
    await at.rolledOut(await at.deploy(worker));
    return new Changed(at);
  }

  async choose(drift: "repair" | "report"): Promise<void> {
    const { handlers, call } = services();
    await handlers.updateStack({ params: this.at.ref, body: { drift } }, call());
  }

  async told(code: string): Promise<unknown[]> {
    const { handlers, call } = services();
    return (await handlers.listEvents({ query: { stack: this.at.ref.stack, code, limit: 100 } }, call())).items.map(({ params }) => params);
  }

  async shown(): Promise<unknown[]> {
    const { handlers, call } = services();
    return (await handlers.showDrift({ params: this.at.ref, query: {} }, call())).differences;
  }

  async warnings(): Promise<unknown> {
    const { handlers, call } = services();
    const { items } = await handlers.listComponents({ params: this.at.ref, query: {} }, call());
    return items[0]?.warnings;
  }
}

test("is taken back, told once, and written into the audit log", async () => {
  const one = await Changed.running();
  one.now = { differences: [image], turning: false };
  for (let count = 0; count < 3; count += 1) await one.at.pass();
  expect(one.repaired).toBe(1);
  expect(await one.told("component_taken_back")).toEqual([
    expect.objectContaining({ by: "kubectl-set", what: "spec.image of Deployment web--a (b instead of a)" }),
  ]);
  expect(await one.shown()).toEqual([]);
  const entries = await services()
    .database.db.selectFrom("audit")
    .select(["principal", "object", "params"])
    .where("action", "=", "components.repair")
    .execute();
  expect(entries).toContainEqual({
    principal: "berth",
    object: `component:${one.at.ref.stack}/${one.at.ref.component}`,
    params: { changes: [image] },
  });
});

test("is shown as long as the place does not let it be taken back, and told when it does", async () => {
  const one = await Changed.running();
  one.now = { differences: [image], turning: false };
  one.refuses = new EngineFailure(cause("admission_denied", { by: "the webhook", reason: "no" }), { retryable: false });
  for (let count = 0; count < 2; count += 1) await one.at.pass().catch(() => undefined);
  expect(await one.shown()).toMatchObject([{ ...image, component: one.at.ref.component }]);
  expect(await one.told("component_taken_back")).toEqual([]);
  one.refuses = undefined;
  for (let count = 0; count < 2; count += 1) await one.at.pass();
  expect(await one.told("component_taken_back")).toHaveLength(1);
  expect(await one.shown()).toEqual([]);
});

test("stays where the stack says so, with its number of instances, until that is chosen otherwise", async () => {
  const one = await Changed.running();
  await one.choose("report");
  one.now = { differences: [image, replicas], turning: false, scaled: { replicas: 3, others: false } };
  await one.at.passUntil(async () => (await one.at.instances()).length === 3, "as many as somebody said");
  for (let count = 0; count < 3; count += 1) await one.at.pass();
  expect(one.repaired).toBe(0);
  expect(await one.told("component_drifted")).toEqual([expect.objectContaining({ by: "kubectl-set, kubectl" })]);
  expect(await one.shown()).toHaveLength(2);
  expect(await one.warnings()).toEqual([{ code: "drifted", params: { count: "2" } }]);

  await one.choose("repair");
  await one.at.passUntil(
    async () => (await one.at.instances()).filter(({ phase }) => phase === "running").length === 1,
    "as many as are wanted",
  );
  expect(one.repaired).toBe(1);
  expect(await one.warnings()).toBeUndefined();
});

test("of an autoscaler is none, and its number stays in both", async () => {
  const one = await Changed.running();
  one.now = { differences: [], turning: false, scaled: { replicas: 2, others: true } };
  await one.at.passUntil(async () => (await one.at.instances()).filter(({ ready }) => ready).length === 2, "two");
  expect([await one.shown(), await one.told("component_taken_back"), await one.told("component_drifted")]).toEqual([[], [], []]);
});

test("nothing is started or ended while the place replaces instances by itself", async () => {
  const one = await Changed.running();
  const before = (await one.at.instances()).map(({ id }) => id);
  one.now = { differences: [], turning: true, scaled: { replicas: 3, others: true } };
  for (let count = 0; count < 3; count += 1) await one.at.pass();
  expect((await one.at.instances()).map(({ id }) => id)).toEqual(before);
});
