// Collections that are read page by page, from a server that forgets.
import { afterEach, describe, expect, it } from "vitest";
import { KubeApi } from "./api.ts";
import { KubeError } from "./errors.ts";
import { listAll, listPages } from "./list.ts";
import { BadServer, collect } from "./testing/server.ts";
import { Things, type Thing } from "./testing/things.ts";

const made: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

async function start(): Promise<{ things: Things; api: KubeApi }> {
  const things = new Things();
  const server = await BadServer.start(things.answer);
  const api = new KubeApi(server.access);
  made.push(
    () => server[Symbol.asyncDispose](),
    () => api.close(),
  );
  return { things, api };
}

describe("a list", () => {
  it("is read page by page, and begins anew when its token is too old", async () => {
    const { things, api } = await start();
    for (let index = 0; index < 10; index++) things.put(`pod-${String(index)}`, index);
    const pages = listPages<Thing>(api, "Pod", { pageSize: 4 });
    const seen: (readonly [number, boolean, string])[] = [];
    for await (const { items, anew, resourceVersion } of pages) {
      seen.push([items.length, anew, resourceVersion]);
      if (seen.length !== 2) continue;
      things.put("pod-0", 100);
      things.oldest = things.version;
    }
    expect(seen).toEqual([
      [4, true, "110"],
      [4, false, "110"],
      [4, true, "111"],
      [4, false, "111"],
      [2, false, "111"],
    ]);
  });

  it("gives each object once, and again only when it changed meanwhile", async () => {
    const { things, api } = await start();
    for (let index = 0; index < 6; index++) things.put(`pod-${String(index)}`, index);
    const values: number[] = [];
    const all = listAll<Thing>(api, "Pod", { pageSize: 2 });
    let next = await all.next();
    for (; next.done !== true; next = await all.next()) {
      values.push(next.value.value);
      if (values.length !== 2) continue;
      things.put("pod-1", 100);
      things.oldest = things.version;
    }
    expect(values).toEqual([0, 1, 100, 2, 3, 4, 5]);
    expect(next.value).toBe("107");
  });

  it("gives up on a server that forgets faster than it answers", async () => {
    const { things, api } = await start();
    for (let index = 0; index < 6; index++) things.put(`pod-${String(index)}`, index);
    things.instead = (url) => {
      if (url.searchParams.has("continue")) things.oldest = ++things.version;
      return false;
    };
    const error = await collect(listAll<Thing>(api, "Pod", { pageSize: 2 })).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({ status: 410 });
  });
});
