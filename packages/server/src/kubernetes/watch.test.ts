// A watch on bad days: too old a version, cut connections, silence, garbage. What it holds in the end has to be what the server holds, and it has to say since when it cannot know.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { testCertificate } from "../edge/testing/certificates.ts";
import { KubeApi } from "./api.ts";
import { KubeError } from "./errors.ts";
import { listAll, listPages } from "./list.ts";
import type { Listed } from "./objects.ts";
import { BadServer, collect, json, refusal, until } from "./testing/server.ts";
import { Watched, type WatchOptions } from "./watch.ts";

interface Thing extends Listed {
  readonly value: number;
}

/** As much of an API server as lists and watches need, and it does what it is told to. */
class Things {
  readonly stored = new Map<string, Thing>();
  readonly watchers = new Set<ServerResponse>();
  version = 100;
  /** Versions before it are forgotten: 410. */
  oldest = 0;
  lists = 0;
  watches: URLSearchParams[] = [];
  /** Answers instead of the server; true: it did. */
  instead: ((url: URL, response: ServerResponse) => boolean) | undefined;
  /** As event and in words: how a 410 is told. */
  expiredAs: "event" | "status" = "event";

  readonly answer = (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? "", "https://x");
    if (this.instead?.(url, response) === true) return;
    if (url.searchParams.get("watch") === "true") this.#watch(url.searchParams, response);
    else this.#list(url.searchParams, response);
  };

  put(name: string, value: number): void {
    const isNew = !this.stored.has(name);
    const thing = { metadata: { name, namespace: "shop", uid: name, resourceVersion: String(++this.version) }, value };
    this.stored.set(name, thing);
    this.tell(isNew ? "ADDED" : "MODIFIED", thing);
  }

  remove(name: string): void {
    const { value = 0 } = this.stored.get(name) ?? {};
    this.stored.delete(name);
    this.tell("DELETED", { metadata: { name, namespace: "shop", uid: name, resourceVersion: String(++this.version) }, value });
  }

  bookmark(): void {
    this.tell("BOOKMARK", { metadata: { resourceVersion: String(this.version) } });
  }

  tell(type: string, object: unknown): void {
    for (const watcher of this.watchers) watcher.write(`${JSON.stringify({ type, object })}\n`);
  }

  cut(): void {
    for (const watcher of this.watchers) watcher.destroy();
    this.watchers.clear();
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    this.watches.push(query);
    const from = Number(query.get("resourceVersion"));
    if (from < this.oldest && this.expiredAs === "status") return json(response, 410, refusal(410, "Expired"));
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.oldest) {
      response.end(`${JSON.stringify({ type: "ERROR", object: refusal(410, "Expired") })}\n`);
      return;
    }
    this.watchers.add(response);
    response.on("close", () => this.watchers.delete(response));
    for (const thing of this.stored.values())
      if (Number(thing.metadata.resourceVersion) > from) response.write(`${JSON.stringify({ type: "MODIFIED", object: thing })}\n`);
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const [version = String(this.version), start = "0"] = query.get("continue")?.split(":") ?? [];
    if (Number(version) < this.oldest) return json(response, 410, refusal(410, "Expired"));
    this.lists++;
    const limit = Number(query.get("limit"));
    const all = [...this.stored.values()];
    const next = Number(start) + limit;
    const metadata = { resourceVersion: version, ...(next < all.length ? { continue: `${version}:${String(next)}` } : {}) };
    json(response, 200, { metadata, items: all.slice(Number(start), next) });
  }
}

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
    expect(server.asked.length - asked).toBeLessThan(12);
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
    await until(() => performance.now() - began > 1_000);
    expect(server.asked.length).toBeLessThan(14);
    expect(server.asked.length).toBeGreaterThan(2);
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
    const { watched } = watch(api, { pageSize: 7, patience: { first: 1, longest: 5 } });
    const chance = (): number => randomBytes(4).readUInt32BE() / 2 ** 32;
    const changes = new Map<string, number | undefined>();
    const end = performance.now() + 3_000;
    let rounds = 0;
    for (; performance.now() < end; rounds++) {
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
    expect(rounds).toBeGreaterThan(500);
    await expect.poll(() => [held(watched), watched.since], { timeout: 10_000 }).toEqual([heldBy(things), undefined]);
    expect(watched.lists).toBeGreaterThan(1);
    expect(changes.size).toBe(0);
  });
});

/** Serves pages and then events from a thread of its own, so that only the watch works in this one. */
const pagesServer = `
const { workerData, parentPort } = require("node:worker_threads");
const { cert, key, filler } = workerData;
const page = (from) => JSON.stringify({
  metadata: { resourceVersion: "1", ...(from + 250 < 10000 ? { continue: String(from + 250) } : {}) },
  items: Array.from({ length: 250 }, (_, index) => thing(from + index, 1, from + index)),
});
const thing = (index, version, value) => ({ metadata: { name: "pod-" + index, namespace: "shop", uid: String(index), resourceVersion: String(version) }, value, spec: { env: filler } });
const server = require("node:https").createServer({ cert, key }, (request, response) => {
  const query = new URL(request.url, "https://x").searchParams;
  if (query.has("watch")) for (let index = 0; index < 2000; index++) response.write(JSON.stringify({ type: "MODIFIED", object: thing(index, 2, -1) }) + "\\n");
  else if (query.get("limit") === "250") response.end(page(Number(query.get("continue") ?? 0)));
});
server.listen(0, "localhost", () => parentPort.postMessage(server.address().port));
`;

describe("10,000 objects", () => {
  it("are read and watched in turns of less than 50 ms of work", async () => {
    const authority = testCertificate({ subject: "test authority", isAuthority: true });
    const { certificate: cert, key } = testCertificate({ hosts: ["localhost"], issuer: authority });
    // As large as pods are: 8 KiB each.
    const filler = Array.from({ length: 72 }, (_, index) => ({
      name: `variable-${String(index)}`,
      value: randomBytes(40).toString("hex"),
    }));
    expect(JSON.stringify(filler).length).toBeGreaterThan(8_000);
    const worker = new Worker(pagesServer, { eval: true, workerData: { cert, key, filler } });
    made.push(() => worker.terminate());
    const [port] = (await once(worker, "message")) as [number];
    const api = new KubeApi({
      server: `https://localhost:${String(port)}`,
      ca: authority.certificate,
      auth: { kind: "token", token: "t" },
    });
    made.push(() => api.close());
    const turns = longestTurn();
    const began = performance.now();
    const { watched } = watch(api);
    await watched.synced;
    const took = performance.now() - began;
    expect(watched.items.size).toBe(10_000);
    await until(() => watched.items.get("shop/pod-1999") === -1);
    const longest = turns();
    console.log(`10,000 objects and 2,000 changes: list ${took.toFixed(0)} ms, longest turn ${longest.toFixed(1)} ms of work`);
    expect(longest).toBeLessThan(50);
  });
});

/** ms of this thread's own work in the longest turn of the event loop: what other processes take of the machine does not count. */
function longestTurn(): () => number {
  let longest = 0;
  let isOver = false;
  const used = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1_000;
  };
  let before = used();
  const next = (): void => {
    const now = used();
    longest = Math.max(longest, now - before);
    before = now;
    if (!isOver) setImmediate(next);
  };
  setImmediate(next);
  return () => {
    isOver = true;
    return longest;
  };
}
