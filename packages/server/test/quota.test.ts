// What a stack may use in all is held against every change before it is accepted, whoever makes it and however many do at once.
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import { useServices } from "./services.ts";

const services = useServices();
const mib = 2 ** 20;
const spec = (over: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...defaultSpec("worker"),
  build: { context: "." },
  command: { exec: ["app"] },
  resources: { cpu: 0.5, memory: 64 * mib },
  ...over,
});

async function stackWith(stack: string, components: Readonly<Record<string, ComponentSpec>>): Promise<void> {
  const { handlers, call } = services();
  await handlers.createStack({ body: { name: stack } }, call());
  for (const [component, body] of Object.entries(components)) await handlers.setComponent({ params: { stack, component }, body }, call());
}

test("is shown with what is asked for, and set by who manages the installation", async () => {
  const { handlers, call } = services();
  await stackWith("bounded", { a: spec({ replicas: 2 }) });
  const params = { stack: "bounded" };
  expect(await handlers.showQuota({ params }, call())).toEqual({ limits: {}, used: { instances: 2, cpu: 1, memory: 128 * mib } });
  const limits = { cpu: 2, memory: 256 * mib, instances: 4 };
  expect(await handlers.setQuota({ params, body: limits }, call())).toMatchObject({ limits });
  expect((await handlers.showQuota({ params }, call())).limits).toEqual(limits);
  expect((await handlers.listAudit({ query: { object: "stack:bounded" } }, call())).items.map(({ action }) => action)).toContain(
    "stacks.quota",
  );
  expect((await handlers.setQuota({ params, body: {} }, call())).limits).toEqual({});
});

test("refuses to scale, to define, to start and to autoscale beyond it, and changes nothing then: quota_exceeded", async () => {
  const { handlers, call } = services();
  await stackWith("full", { a: spec({ replicas: 2 }), b: spec({ replicas: 2 }) });
  const a = { stack: "full", component: "a" };
  await handlers.stopComponent({ params: { stack: "full", component: "b" } }, call());
  await handlers.setQuota({ params: { stack: "full" }, body: { instances: 3, cpu: 1.5 } }, call());
  const refused = { code: "quota_exceeded", params: { stack: "full", what: "instances", used: "2", asked: "2", limit: "3" } };
  await expect(handlers.scaleComponent({ params: a, body: { replicas: 4 } }, call())).rejects.toMatchObject(refused);
  await expect(handlers.startComponent({ params: { stack: "full", component: "b" } }, call())).rejects.toMatchObject(refused);
  await expect(
    handlers.setComponent({ params: { stack: "full", component: "c" }, body: spec({ replicas: 2 }) }, call()),
  ).rejects.toMatchObject(refused);
  await expect(
    handlers.setComponent({ params: a, body: spec({ replicas: 2, resources: { cpu: 1, memory: mib } }) }, call()),
  ).rejects.toMatchObject({ code: "quota_exceeded", params: { what: "cpu", used: "1 cores", asked: "1 cores", limit: "1.5 cores" } });
  expect((await handlers.listComponents({ params: { stack: "full" }, query: {} }, call())).items).toMatchObject([
    { name: "a", replicas: 2 },
    { name: "b", stopped: true },
  ]);
  await handlers.scaleComponent({ params: a, body: { replicas: 3 } }, call());
  expect((await handlers.showQuota({ params: { stack: "full" } }, call())).used).toMatchObject({ instances: 3, cpu: 1.5 });
});

test("takes no component without the limits that it counts by: quota_needs_limit", async () => {
  const { handlers, call } = services();
  await stackWith("known", {});
  await handlers.setQuota({ params: { stack: "known" }, body: { memory: 256 * mib } }, call());
  const params = { stack: "known", component: "a" };
  await expect(handlers.setComponent({ params, body: spec({ resources: {} }) }, call())).rejects.toMatchObject({
    code: "quota_needs_limit",
    params: { component: "a", what: "memory", limit: "256m" },
  });
  await handlers.setComponent({ params, body: spec({ resources: { memory: 256 * mib } }) }, call());
});

test("counts a component no more as soon as it is on its way out, and what is above it may shrink", async () => {
  const { handlers, call } = services();
  await stackWith("shrinks", { a: spec({ replicas: 4 }), b: spec({ replicas: 1 }) });
  await handlers.setQuota({ params: { stack: "shrinks" }, body: { instances: 3 } }, call());
  await handlers.scaleComponent({ params: { stack: "shrinks", component: "a" }, body: { replicas: 3 } }, call());
  await expect(
    handlers.scaleComponent({ params: { stack: "shrinks", component: "b" }, body: { replicas: 2 } }, call()),
  ).rejects.toMatchObject({ code: "quota_exceeded" });
  await handlers.deleteComponent({ params: { stack: "shrinks", component: "a" } }, call());
  await handlers.scaleComponent({ params: { stack: "shrinks", component: "b" }, body: { replicas: 3 } }, call());
});

test("holds when many ask at once: of ten that have room one by one, as many get it as there is room for all", async () => {
  const { handlers, call } = services();
  const names = Array.from({ length: 10 }, (_, index) => `c${String(index)}`);
  await stackWith("rush", Object.fromEntries(names.map((name) => [name, spec()])));
  await handlers.setQuota({ params: { stack: "rush" }, body: { instances: 13 } }, call());
  const answers = await Promise.allSettled(
    names.map((component) => handlers.scaleComponent({ params: { stack: "rush", component }, body: { replicas: 2 } }, call())),
  );
  const failed = answers.flatMap((answer) => (answer.status === "rejected" ? [(answer.reason as { code: string }).code] : []));
  expect(failed).toEqual(Array.from({ length: 7 }, () => "quota_exceeded"));
  expect((await handlers.showQuota({ params: { stack: "rush" } }, call())).used.instances).toBe(13);
});
