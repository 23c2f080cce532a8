// Every list of the contract over HTTP and PostgreSQL: each order in both directions over page boundaries, search, filters, cursors. What a list answers is
// held against what it would be by sorting and filtering the whole list here. A new list without rows in list-seeds.ts fails.
import { routes, type RouteName } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import { beforeAll, describe, expect, test } from "vitest";
import { encodeCursor } from "../src/resources/page.ts";
import { useHttp } from "./http.ts";
import { listSeeds, seedLists, type ListSeed } from "./list-seeds.ts";
import { useServices } from "./services.ts";

type Item = Readonly<Record<string, unknown>>;
const services = useServices();
const http = useHttp(services);
beforeAll(async () => {
  const { db } = services().database;
  await seedLists(db);
  // A use is written down once a minute, which would change the list of tokens in the middle of a look at it.
  const ahead = new Date(Date.now() + 86_400_000);
  await db.updateTable("api_tokens").set({ last_used_at: ahead }).where("name", "like", "test of %").execute();
});

const table = Object.entries<Route>(routes) as [RouteName, Route][];
/** What a verb answers is told once, and no list. */
const hasItems = (route: Route): boolean =>
  route.method === "GET" && "properties" in route.response && "items" in (route.response.properties as object);
const lists = table.filter(([, route]) => route.list !== undefined);
const standardFields = ["cursor", "limit", "search", "sort"];
const filtersOf = (route: Route): string[] => Object.keys(route.query?.properties ?? {}).filter((field) => !standardFields.includes(field));

/** Answers with items that are no list of objects, and so take no query at all. */
const noLists: Readonly<Partial<Record<RouteName, string>>> = { showUsage: "figures of now, one entry for each component of one stack" };

async function page(seed: ListSeed, query: Readonly<Record<string, string | number>> = {}): Promise<{ items: Item[]; cursor?: string }> {
  const answer = await http().ask({
    path: `${seed.path}?${new URLSearchParams(Object.entries(query).map(([key, value]): [string, string] => [key, String(value)])).toString()}`,
  });
  expect(answer.status, `${seed.path} ${JSON.stringify(query)}: ${answer.body}`).toBe(200);
  return answer.json() as { items: Item[]; cursor?: string };
}

/** All pages of `limit`, each as long as it may be. */
async function walk(seed: ListSeed, query: Readonly<Record<string, string | number>>, limit: number): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const next = await page(seed, { ...query, limit, ...(cursor === undefined ? {} : { cursor }) });
    if (next.cursor !== undefined) expect(next.items).toHaveLength(limit);
    items.push(...next.items);
    cursor = next.cursor;
    expect(items.length, "a list without end").toBeLessThan(2000);
  } while (cursor !== undefined);
  return items;
}
const whole = async (seed: ListSeed): Promise<Item[]> => (await page(seed, { limit: 500 })).items;
const texts = (items: readonly Item[]): string[] => items.map((item) => JSON.stringify(item));
const same = (found: readonly Item[], expected: readonly Item[]): void => {
  expect(texts(found).toSorted()).toEqual(texts(expected).toSorted());
};

/** Less than 0 when a comes first in ascending order; what is absent comes last. */
function compare(a: unknown, b: unknown): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : Number(String(a) > String(b));
}

/** What a person would find an item by in that field. */
function wordsOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(wordsOf);
  if (typeof value !== "object") return [String(value)];
  const { exec, shell } = value as { exec?: string[]; shell?: string };
  return exec !== undefined ? [exec.join(" ")] : shell !== undefined ? [shell] : Object.values(value).flatMap(wordsOf);
}
const contains = (item: Item, fields: readonly string[], search: string): boolean =>
  fields.some((field) => wordsOf(item[field]).some((word) => word.toLowerCase().includes(search.toLowerCase())));

describe("every list", () => {
  test("is declared as one, and has rows here", () => {
    expect(lists.length).toBeGreaterThan(20);
    expect(
      lists.map(([name]) => name).filter((name) => listSeeds[name] === undefined),
      "lists without rows in list-seeds.ts",
    ).toEqual([]);
    expect(
      Object.keys(listSeeds).filter((name) => !lists.some(([known]) => known === name)),
      "rows for lists that are none",
    ).toEqual([]);
    const undeclared = table
      .filter(([name, route]) => hasItems(route) && route.list === undefined && noLists[name] === undefined)
      .map(([name]) => name);
    expect(undeclared, "routes that answer items without saying how they are sorted and searched").toEqual([]);
    for (const [name, route] of table) if (/^list[A-Z]/.test(name)) expect(route.list, name).toBeDefined();
  });

  test("offers in its query what it declares", () => {
    for (const [name, route] of lists) {
      const { sort, standard } = route.list ?? { sort: [], standard: "" };
      expect((route.query?.properties["sort"] as { enum?: string[] } | undefined)?.enum, name).toEqual(
        sort.flatMap((field) => [field, `-${field}`]),
      );
      expect(sort, name).toContain(standard.replace("-", ""));
      expect(
        standardFields.filter((field) => !(field in (route.query?.properties ?? {}))),
        name,
      ).toEqual([]);
    }
  });
});

test.each(Object.keys(noLists) as RouteName[])("%s is no list and refuses to be asked like one", async (name) => {
  const route: Route = routes[name];
  for (const query of ["search=x", "sort=name", "limit=1"])
    expect((await http().ask({ path: `${route.path.replace(":stack", "lists")}?${query}` })).json()).toMatchObject({
      status: 400,
      code: "invalid_request",
    });
});

describe.each(lists.filter(([name]) => listSeeds[name] !== undefined))("%s", (name, route) => {
  const seed = listSeeds[name] ?? { path: "", filters: {} };
  const facts = route.list ?? { sort: [""], standard: "", search: [""] };

  test.each(facts.sort)(
    "sorted by %s: in order over every page boundary in both directions, nothing left out, nothing twice",
    async (field) => {
      const all = await whole(seed);
      expect(all.length).toBeGreaterThanOrEqual(4);
      expect(new Set(all.map((item) => item[field])).size, `all rows have the same ${field}`).toBeGreaterThan(1);
      const rising = await walk(seed, { sort: field }, 2);
      same(rising, all);
      const wrong = rising.slice(1).findIndex((item, index) => compare(rising[index]?.[field], item[field]) > 0);
      expect(
        wrong === -1 ? "in order" : `${JSON.stringify(rising[wrong]?.[field])} before ${JSON.stringify(rising[wrong + 1]?.[field])}`,
      ).toBe("in order");
      // The exact opposite, whatever the size of the pages: what is equal has one order too.
      expect(texts((await walk(seed, { sort: `-${field}` }, 3)).toReversed())).toEqual(texts(rising));
    },
  );

  test("comes in its standard order when nothing is asked for", async () => {
    expect(texts(await walk(seed, {}, 2))).toEqual(texts(await walk(seed, { sort: facts.standard }, 500)));
  });

  test("names the fields that it can be sorted by when it is asked for another", async () => {
    const problem = (await http().ask({ path: `${seed.path}?sort=colour` })).json();
    expect(problem).toMatchObject({ status: 400, code: "invalid_request" });
    for (const field of facts.sort) expect(problem["detail"]).toContain(field);
  });

  test.each(facts.search)("finds by %s, and leaves out what does not have it", async (field) => {
    const all = await whole(seed);
    const candidates = all.flatMap((item) => wordsOf(item[field])).filter((word) => word !== "");
    const search = candidates.find((word) => all.some((item) => !contains(item, facts.search, word)));
    expect(search, `no row is told from another by ${field}`).toBeDefined();
    // A part of it, in another case, is enough.
    for (const asked of [search ?? "", (search ?? "").toUpperCase(), (search ?? "").slice(1)]) {
      const expected = all.filter((item) => contains(item, facts.search, asked));
      expect(expected.length).toBeGreaterThan(0);
      same(await walk(seed, { search: asked }, 2), expected);
    }
  });

  test("takes the wildcards of SQL for what they are", async () => {
    const all = await whole(seed);
    for (const search of ["%", "_", "\\", "a%", "' or true --"])
      same(
        await walk(seed, { search }, 50),
        all.filter((item) => contains(item, facts.search, search)),
      );
  });

  const filters = filtersOf(route);
  test("has a value here for each of its filters", () => {
    expect(Object.keys(seed.filters).toSorted()).toEqual(filters.toSorted());
  });
  test.each(Object.entries(seed.filters))("filters by %s", async (filter, { value, holds }) => {
    const all = await whole(seed);
    const expected = all.filter(holds);
    expect({ some: expected.length > 0, notAll: expected.length < all.length }).toEqual({ some: true, notAll: true });
    same(await walk(seed, { [filter]: value }, 2), expected);
  });

  test("refuses cursors that it did not make, or made for another order, and never fails on one", async () => {
    const { cursor } = await page(seed, { limit: 1 });
    expect(cursor).toBeDefined();
    const [made, ...values] = JSON.parse(Buffer.from(cursor ?? "", "base64url").toString()) as [string, ...unknown[]];
    const otherOrder = facts.sort.flatMap((field) => [field, `-${field}`]).find((sort) => sort !== facts.standard) ?? "";
    expect((await http().ask({ path: `${seed.path}?sort=${otherOrder}&cursor=${cursor ?? ""}` })).json()).toMatchObject({
      status: 400,
      code: "invalid_request",
    });
    const odd: unknown[] = [
      "",
      "\0",
      "\ud800",
      "x".repeat(3000),
      "99999999999999999999",
      "2026-02-30",
      "infinity",
      "-infinity",
      "NaN",
      -1,
      1e300,
      1.5,
      null,
      {},
      [],
      true,
    ];
    const forged = [
      "x",
      "",
      "bm90IGpzb24",
      encodeCursor(made, []),
      encodeCursor(made, [...values, ...values]),
      ...values.flatMap((_, at) =>
        odd.map((value) =>
          encodeCursor(
            made,
            values.map((old, index) => (index === at ? value : old)),
          ),
        ),
      ),
    ];
    for (const text of forged) {
      const answer = await http().ask({ path: `${seed.path}?cursor=${encodeURIComponent(text)}` });
      expect([200, 400], `${text}: ${answer.body}`).toContain(answer.status);
    }
  });
});

test("a page goes on where the last one ended, whatever came and went meanwhile", async () => {
  const seed = listSeeds.listBuilds ?? { path: "", filters: {} };
  const { db } = services().database;
  const before = await whole(seed);
  const first = await page(seed, { limit: 3 });
  const stack = await db.selectFrom("stacks").select("id").where("name", "=", "lists").executeTakeFirstOrThrow();
  await db.deleteFrom("builds").where("stack_id", "=", stack.id).where("number", "=", Number(first.items[2]?.["number"])).execute();
  const model = await db.selectFrom("builds").selectAll().where("stack_id", "=", stack.id).limit(1).executeTakeFirstOrThrow();
  await db
    .insertInto("builds")
    .values({
      ...model,
      id: "11111111-1111-4111-8111-111111111111",
      number: 99,
      options: "{}",
      plan: null,
      steps: "[]",
      cause: null,
      attesting: null,
    })
    .execute();
  expect(texts((await page(seed, { limit: 500, cursor: first.cursor ?? "" })).items)).toEqual(texts(before.slice(3)));
});
