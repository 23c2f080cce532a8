// What is watched of a component's objects, and what this process wrote of them itself while the watch is behind.
import { afterEach, expect, it } from "vitest";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadServer, until } from "../../kubernetes/testing/server.ts";
import { Things, type Thing } from "../../kubernetes/testing/things.ts";
import { never } from "../conformance/lab.ts";
import type { Ref } from "../engine.ts";
import { isNewer, Mirror } from "./mirror.ts";
import { mark } from "./names.ts";

const ref: Ref = { stack: "shop", component: "web" };
const made: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

async function start(): Promise<{ things: Things; mirror: Mirror<number, Thing>; values: () => number[]; changed: Ref[] }> {
  const things = new Things({ [mark.stack]: ref.stack, [mark.component]: ref.component });
  const server = await BadServer.start(things.answer);
  const api = new KubeApi(server.access);
  const changed: Ref[] = [];
  const mirror = new Mirror<number, Thing>("Service", {
    api,
    cluster: "test",
    labels: "app=web",
    project: ({ value }) => value,
    onChange: (of) => changed.push(of),
  });
  made.push(
    () => server[Symbol.asyncDispose](),
    () => api.close(),
    () => mirror[Symbol.asyncDispose](),
  );
  things.put("a", 1);
  await mirror.ready(never);
  await until(() => things.watchers.size === 1);
  return { things, mirror, changed, values: () => mirror.of(ref).map(({ value }) => value) };
}

/** As an answer to a write, which no watch has told yet. */
const written = (things: Things, value: number, version: number): Thing => ({
  metadata: { name: "a", namespace: "shop", labels: things.labels, resourceVersion: String(version) },
  value,
});

it("has the objects of a component, and tells of each change whose it was", async () => {
  const { things, mirror, values, changed } = await start();
  things.put("b", 2);
  await until(() => values().length === 2);
  things.remove("a");
  await until(() => values().length === 1);
  expect(values()).toEqual([2]);
  expect(changed.at(-1)).toEqual({ ...ref, namespace: "shop" });
  expect(mirror.of({ ...ref, component: "other" })).toEqual([]);
});

it("knows what was written here at once, and does not believe a watch that is behind it", async () => {
  const { things, mirror, values } = await start();
  mirror.wrote(written(things, 5, 110));
  expect(values()).toEqual([5]);
  things.put("a", 3);
  things.put("b", 4);
  await until(() => values().length === 2);
  expect(values()).toEqual([5, 4]);
  things.version = 110;
  things.put("a", 6);
  await until(() => values().includes(6));
});

it("does not take an older answer for the newest", async () => {
  const { things, mirror, values } = await start();
  things.version = 120;
  things.put("a", 7);
  await until(() => values().includes(7));
  mirror.wrote(written(things, 5, 110));
  expect(values()).toEqual([7]);
});

it("forgets what was removed here at once, and has what comes after it by that name", async () => {
  const { things, mirror, values } = await start();
  mirror.removed(ref, "shop", "a");
  expect(values()).toEqual([]);
  things.remove("a");
  things.put("a", 8);
  await until(() => values().includes(8));
});

it("does not believe a watch that tells of what was removed here before it tells of the end", async () => {
  const { things, mirror, values } = await start();
  mirror.removed(ref, "shop", "a");
  things.put("a", 3);
  things.put("b", 4);
  await until(() => values().includes(4));
  expect(values()).toEqual([4]);
  things.remove("a");
  things.put("a", 8);
  await until(() => values().length === 2);
  expect(values()).toEqual([4, 8]);
});

it("compares versions as numbers, however long they are", () => {
  expect(isNewer("10", "9")).toBe(true);
  expect(isNewer("9", "10")).toBe(false);
  expect(isNewer("12345678901234567891", "12345678901234567890")).toBe(true);
  expect(isNewer("7", "7")).toBe(false);
});
