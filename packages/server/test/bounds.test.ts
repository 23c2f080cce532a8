// Nothing that a caller sends is without a bound, and the most that is let in is never an internal error: the database could not hold it, the answer is a 4xx.
import { routes, type RouteName } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import { describe, expect, test } from "vitest";
import { useHttp } from "./http.ts";
import { useServices } from "./services.ts";

const services = useServices();
const http = useHttp(services);
const table = Object.entries<Route>(routes) as [RouteName, Route][];
type Schema = Readonly<Record<string, unknown>>;

/** Where a schema lets in what has no end; values that only the program makes are not asked for. */
function unbounded(schema: unknown, path: string): string[] {
  if (Array.isArray(schema)) return schema.flatMap((part, index) => unbounded(part, `${path}|${index}`));
  if (schema === null || typeof schema !== "object") return [];
  const one = schema as Schema;
  const parts = ["anyOf", "allOf", "oneOf"].flatMap((key) => unbounded(one[key], path));
  switch (one["type"]) {
    case "integer":
    case "number":
      return [
        ...parts,
        ...(["minimum", "maximum"].every((key) => typeof one[key] === "number" && Math.abs(one[key]) <= Number.MAX_SAFE_INTEGER)
          ? []
          : [path]),
      ];
    case "string":
      return [
        ...parts,
        ...(typeof one["maxLength"] === "number" || one["enum"] !== undefined || one["const"] !== undefined || hasEnd(one["pattern"])
          ? []
          : [path]),
      ];
    case "array":
      return [...parts, ...(typeof one["maxItems"] === "number" ? [] : [`${path}[]`]), ...unbounded(one["items"], `${path}[]`)];
    case "object":
      return [
        ...parts,
        ...Object.entries((one["properties"] as Schema | undefined) ?? {}).flatMap(([key, part]) => unbounded(part, `${path}.${key}`)),
        ...Object.values((one["patternProperties"] as Schema | undefined) ?? {}).flatMap((part) => unbounded(part, `${path}.*`)),
        ...(one["patternProperties"] !== undefined && typeof one["maxProperties"] !== "number" ? [`${path}.*`] : []),
      ];
    default:
      return parts;
  }
}

/** A pattern that repeats nothing for ever, looking ahead aside, is a bound too. */
function hasEnd(pattern: unknown): boolean {
  if (typeof pattern !== "string" || !pattern.startsWith("^") || !pattern.endsWith("$")) return false;
  return !/[*+]|\{\d+,\}/.test(
    pattern
      .replace(/\(\?[!=][^)]*\)/g, "")
      .replace(/\[[^\]]*\]/g, "c")
      .replace(/\\./g, "c"),
  );
}

test("every number, text, list and record that a caller may send has a bound", () => {
  expect(table.flatMap(([name, route]) => [route.params, route.query, route.body].flatMap((schema) => unbounded(schema, name)))).toEqual(
    [],
  );
});

test("the numbers of things fit the columns that they are compared with", () => {
  for (const [name, route] of table) {
    for (const [field, schema] of Object.entries(route.params?.properties ?? {}))
      if ((schema as Schema)["type"] === "integer")
        expect({ name, field, most: (schema as Schema)["maximum"] }).toEqual({ name, field, most: 2_147_483_647 });
  }
});

describe("what no column can hold", () => {
  const cases: [string, { method?: string; path: string; body?: unknown; headers?: Record<string, string> }, number][] = [
    ["a number beyond int4", { path: "/stacks/known/builds/99999999999" }, 400],
    ["the greatest int4", { path: "/stacks/known/builds/2147483647" }, 404],
    ["a number in a filter", { path: "/stacks/known/rollouts?version=99999999999" }, 400],
    ["a NUL in a search", { path: "/stacks?search=a%00b" }, 400],
    ["a NUL in a value", { method: "PATCH", path: "/stacks/known/config", body: { values: { A: "a\0b" } } }, 400],
    ["half a pair in a value", { method: "PATCH", path: "/stacks/known/config", body: { values: { A: "\ud800" } } }, 400],
    ["a NUL in a secret", { method: "PUT", path: "/stacks/known/secrets/key", body: { value: "\0" } }, 400],
    ["a whole pair", { method: "PATCH", path: "/stacks/known/config", body: { values: { A: "\u{1f600}" } } }, 200],
    [
      "an ETag that is no revision",
      { method: "PATCH", path: "/stacks/known", body: { runEnv: "x" }, headers: { "if-match": '"abc"' } },
      412,
    ],
    [
      "an ETag beyond int8",
      { method: "PATCH", path: "/stacks/known", body: { runEnv: "x" }, headers: { "if-match": `"${"9".repeat(30)}"` } },
      412,
    ],
    ["a token id that is none", { method: "DELETE", path: `/tokens/${"-".repeat(36)}` }, 404],
    ["a plan id that is none", { method: "POST", path: `/stacks/known/plans/${"-".repeat(36)}/apply`, body: {} }, 404],
    ["a year that is none", { path: "/events?since=0000-01-01T00:00:00Z" }, 400],
    ["a leap second", { path: "/audit?until=2016-12-31T23:59:60Z" }, 400],
    ["a far year", { path: "/events?since=9999-12-31T23:59:59Z" }, 200],
    ["a key that no index can hold", { method: "POST", path: "/known-hosts", body: { line: `host ${"x".repeat(5000)}` } }, 400],
    [
      "a schedule's deadline beyond a week",
      { method: "PUT", path: "/stacks/known/components/job", body: { kind: "cron", schedule: { cron: "0 * * * *", deadline: 1e12 } } },
      400,
    ],
  ];
  test.each(cases)("%s is refused in words", async (_what, asked, status) => {
    await http().ask({ method: "POST", path: "/stacks", body: { name: "known" } });
    const answer = await http().ask(asked);
    expect({ status: answer.status, body: answer.body.slice(0, 300) }).toMatchObject({ status });
  });
});
