// A watch on bad days: too old a version, cut connections, silence, garbage. What it holds in the end has to be what the server holds, and it has to say since when it cannot know.
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { KubeApi } from "./api.ts";
import { BadServer, json, refusal, until } from "./testing/server.ts";
import { Things, type Thing } from "./testing/things.ts";
import { Watched, type WatchOptions } from "./watch.ts";

const made: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

async function start(): Promise<{ things: Things; api: KubeApi; server: BadServer }> {
  const things = new Things();
  const server = await BadServer.start(things.answer);
  const api = new KubeApi(server.access);
  made.push(
    () => server[Symbol.asyncDispose](),
    () => api.close(),
  );
  return { things, api, server };
}

type Change = readonly [key: string, now: number | undefined, before: number | undefined];

function watch(
  api: KubeApi,
  options: Partial<WatchOptions<number, Thing>> = {},
): { watched: Watched<number, Thing>; changes: Change[]; troubles: Error[] } {
  const changes: Change[] = [];
  const troubles: Error[] = [];
  const watched = new Watched<number, Thing>(api, "Pod", {
    project: (thing) => thing.value,
    onChange: (...change) => changes.push(change),
    onTrouble: (error) => troubles.push(error),
    patience: { first: 10, longest: 100 },
    ...options,
  });
  made.push(() => watched.close());
  return { watched, changes, troubles };
}

const heldBy = (things: Things): [string, number][] =>
  [...things.stored.values()].map((thing): [string, number] => [`shop/${thing.metadata.name}`, thing.value]).sort();
const held = (watched: Watched<number, Thing>): [string, number][] => [...watched.items].sort();

describe("a watch", () => {
  it("tells of what is there and of each change, and keeps only what is wanted of it", async () => {
    const { things, api } = await start();
    things.put("a", 1);
    things.put("b", -1);
    const { watched, changes } = watch(api, {
      project: (thing) => (thing.value < 0 ? undefined : thing.value),
      labels: "app=web",
      namespace: "shop",
    });
    await watched.synced;
    await until(() => things.watchers.size === 1);
    things.put("b", 2);
    things.put("a", 3);
    things.put("b", -1);
    things.remove("a");
    await until(() => changes.length === 5);
    expect(changes).toEqual([
      ["shop/a", 1, undefined],
      ["shop/b", 2, undefined],
      ["shop/a", 3, 1],
      ["shop/b", undefined, 2],
      ["shop/a", undefined, 3],
    ]);
    expect(watched.since).toBeUndefined();
    const query = things.watches[0]!;
    expect([query.get("labelSelector"), query.get("allowWatchBookmarks"), query.get("resourceVersion")]).toEqual([
      "app=web",
      "true",
      "102",
    ]);
    expect(Number(query.get("timeoutSeconds"))).toBeGreaterThanOrEqual(240);
  });

  it("goes on where it was cut, from the last change or bookmark, without a new list", async () => {
    const { things, api } = await start();
    things.put("a", 1);
    const { watched, troubles } = watch(api);
    await watched.synced;
    await until(() => things.watchers.size === 1);
    things.version = 200;
    things.bookmark();
    things.put("a", 2);
    await until(() => watched.items.get("shop/a") === 2);
    things.cut();
    things.put("b", 3);
    await until(() => watched.items.size === 2);
    expect(things.watches.at(-1)?.get("resourceVersion")).toBe("201");
    expect(watched.lists).toBe(1);
    expect(troubles[0]).toMatchObject({ code: "cut" });
    expect(watched.since).toBeUndefined();
  });

  it.each(["event", "status"] as const)(
    "lists again when its version is too old (told as %s), and tells only what changed",
    async (expiredAs) => {
      const { things, api } = await start();
      for (const name of ["a", "b", "c"]) things.put(name, 1);
      const { watched, changes } = watch(api);
      await watched.synced;
      await until(() => things.watchers.size === 1);
      things.expiredAs = expiredAs;
      things.oldest = 10_000;
      things.version = 10_000;
      things.cut();
      changes.length = 0;
      things.stored.delete("a");
      things.put("b", 2);
      things.put("d", 4);
      await until(() => watched.lists === 2);
      expect(changes.sort()).toEqual([
        ["shop/a", undefined, 1],
        ["shop/b", 2, 1],
        ["shop/d", 4, undefined],
      ]);
      expect(held(watched)).toEqual(heldBy(things));
    },
  );

  it("says since when it cannot know, and why, and asks a server that is away less and less often", async () => {
    const { things, api, server } = await start();
    things.put("a", 1);
    const { watched, troubles } = watch(api, { patience: { first: 20, longest: 160 } });
    await watched.synced;
    await until(() => things.watchers.size === 1);
    const before = Date.now();
    things.put("a", 2);
    await until(() => watched.items.get("shop/a") === 2);
    const heard = Date.now();
    things.instead = (_url, response) => (json(response, 500, refusal(500, "InternalError")), true);
    const asked = server.asked.length;
    things.cut();
    await until(() => troubles.length >= 3);
    const since = watched.since?.getTime() ?? 0;
    expect(since).toBeGreaterThanOrEqual(before);
    expect(since).toBeLessThanOrEqual(heard + 5);
    expect(watched.trouble).toMatchObject({ status: 500 });
    await until(() => troubles.length >= 8);
    // It stays what it was while nothing is heard, and what is known stays, too.
    expect(watched.since?.getTime()).toBe(since);
    expect(held(watched)).toEqual([["shop/a", 2]]);
    // Once its version is doubted it lists, and each list is asked for three times more.
    expect(server.asked.length - asked).toBeLessThan(12 + 3 * 3);
    things.instead = undefined;
    things.put("b", 3);
    await until(() => watched.items.size === 2);
    expect([watched.since, watched.trouble]).toEqual([undefined, undefined]);
  });

  it("takes silence for the end of a connection", async () => {
    const { things, api } = await start();
    const { watched, troubles } = watch(api, { patience: { first: 10, longest: 50, silence: 200 } });
    await watched.synced;
    await until(() => troubles.length > 0);
    expect(troubles[0]).toMatchObject({ code: "timed_out" });
    await until(() => things.watches.length > 1);
    things.put("a", 1);
    await until(() => watched.items.size === 1);
    expect(watched.lists).toBe(1);
  });

  it.each([
    ["garbage", "\u0000\u0001<html>\n"],
    ["an event without an object", '{"type":"ADDED"}\n'],
    ["an event without metadata", '{"type":"ADDED","object":{}}\n'],
    ["null", "null\n"],
    ["half an event", '{"type":"ADDED","obj'],
  ])("begins anew after %s", async (_what, text) => {
    const { things, api } = await start();
    things.put("a", 1);
    let isBad = true;
    things.instead = (url, response) => {
      if (!isBad || !url.searchParams.has("watch")) return false;
      isBad = false;
      response.writeHead(200).end(text);
      return true;
    };
    const { watched } = watch(api);
    await until(() => things.watchers.size === 1);
    things.put("b", 2);
    await until(() => watched.items.size === 2);
    expect(held(watched)).toEqual(heldBy(things));
    expect(watched.lists).toBe(2);
  });

  it("does not hurry after watches that end at once, again and again", async () => {
    const { things, api, server } = await start();
    things.instead = (url, response) => url.searchParams.has("watch") && (response.writeHead(200).end(), true);
    const { watched } = watch(api, { patience: { first: 50, longest: 400 } });
    await watched.synced;
    const began = performance.now();
    await until(() => performance.now() - began > 1_000 && server.asked.length > 2);
    expect(server.asked.length).toBeLessThan(14);
  });

  it("lists anew when the server refuses to go on from where it was", async () => {
    const { things, api } = await start();
    let isRefused = true;
    things.instead = (url, response) => {
      if (!isRefused || !url.searchParams.has("watch")) return false;
      // A database that was restored from a backup: our version lies in its future.
      if (Number(url.searchParams.get("resourceVersion")) < 150) return (json(response, 504, refusal(504, "Timeout")), true);
      return false;
    };
    const { watched } = watch(api);
    await watched.synced;
    await until(() => watched.lists > 1);
    things.version = 150;
    await until(() => things.watchers.size === 1);
    isRefused = false;
    things.put("a", 1);
    await until(() => watched.items.size === 1);
  });

  it("ends when it is closed: nothing is told afterwards, and no connection stays", async () => {
    const { things, api, server } = await start();
    things.put("a", 1);
    const { watched, changes } = watch(api);
    await watched.synced;
    await until(() => things.watchers.size === 1);
    await watched.close();
    things.put("a", 2);
    await until(() => things.watchers.size === 0);
    expect(changes).toHaveLength(1);
    await api.close();
    await until(() => server.sockets.size === 0);
  });

  it("tells who waits for its first list that it was closed", async () => {
    const { things, api } = await start();
    things.instead = () => true;
    const { watched } = watch(api);
    await watched.close();
    await expect(watched.synced).rejects.toThrow(/closed before its first list/);
  });

  it("holds what the server holds, whatever happens", async () => {
    const { things, api } = await start();
    const { watched, changes } = watch(api, { pageSize: 7, patience: { first: 1, longest: 5 } });
    const chance = (): number => randomBytes(4).readUInt32BE() / 2 ** 32;
    const end = performance.now() + 3_000;
    let rounds = 0;
    for (; performance.now() < end || rounds <= 500; rounds++) {
      const name = `pod-${String(Math.floor(chance() * 40))}`;
      const dice = chance();
      if (dice < 0.7) things.put(name, rounds);
      else if (dice < 0.9) things.remove(name);
      else if (dice < 0.95) things.bookmark();
      else if (dice < 0.98) things.cut();
      else {
        // What was forgotten includes removals that nobody was told of.
        things.cut();
        things.stored.delete(name);
        things.oldest = ++things.version;
      }
      if (chance() < 0.3) await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => [held(watched), watched.since], { timeout: 40_000 }).toEqual([heldBy(things), undefined]);
    expect(watched.lists).toBeGreaterThan(1);
    // Whoever goes by the changes alone holds the same, and each of them began where the one before it ended.
    const told = new Map<string, number>();
    for (const [key, now, before] of changes) {
      expect(told.get(key)).toBe(before);
      if (now === undefined) told.delete(key);
      else told.set(key, now);
    }
    expect([...told].sort()).toEqual(heldBy(things));
  });
});
