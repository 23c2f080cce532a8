// Whatever anybody sends to any route: an answer below 500 with a code of the catalogue, and what was refused has changed nothing.
// The tests of that, for two files: a short one and a long one.
import { routes } from "@berth/contract/api.ts";
import { errors } from "@berth/contract/errors.ts";
import { isSocket, type Route } from "@berth/contract/route.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import fc from "fast-check";
import { sql } from "kysely";
import { beforeAll, describe, expect, test } from "vitest";
import type { Db } from "../src/db/pool.ts";
import { useHttp, type Answer, type Ask, type TestHttp } from "./http.ts";
import { requestsOf, spoil, strangeValues } from "./requests.ts";
import { useServices } from "./services.ts";

const table = Object.entries<Route>(routes);
/** These would take away what the other requests need, or answer until the caller leaves. */
const apart = new Set(["logout", "deleteToken"]);
const known: Record<string, string> = { stack: "known", component: "web", secret: "one", credential: "one", build: "1", release: "1" };
const seed = Number(process.env["BERTH_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

type Sent = Pick<Ask, "path" | "raw" | "headers"> & { readonly method: string };

function fill(route: Route, params: Readonly<Record<string, string>>, query: Readonly<Record<string, string>>): string {
  const path = route.path.replace(/:(\w+)/g, (_all, key: string) => encodeURIComponent((params[key] ?? "x").toWellFormed()) || "%20");
  const search = Object.entries(query)
    .map(([key, value]) => `${encodeURIComponent(key.toWellFormed())}=${encodeURIComponent(value.toWellFormed())}`)
    .join("&");
  return `${path}${search === "" ? "" : `?${search}`}`;
}

/** An answer that any caller may get; says what is wrong with another one. */
function flaw(answer: Pick<Answer, "status" | "headers" | "body">): string | undefined {
  const type = answer.headers["content-type"] ?? "";
  if (answer.status < 300) return undefined;
  if (!type.startsWith("application/problem+json")) return `content type ${type}`;
  const problem = JSON.parse(answer.body) as { code: string; status: number; detail: string; requestId: string };
  const entry = (errors as Record<string, { status: number } | undefined>)[problem.code];
  if (entry?.status !== answer.status || problem.status !== answer.status) return `code ${problem.code} with status ${answer.status}`;
  if (/\{[a-z]{3,}\}/.test(problem.detail)) return `a sentence with holes: ${problem.detail}`;
  if (answer.headers["x-request-id"] !== problem.requestId) return "another request id in header and body";
  // There is no engine in these tests.
  return answer.status >= 500 && problem.code !== "engine_unavailable" ? `status ${answer.status}` : undefined;
}

async function expectSane(api: TestHttp, sent: Sent): Promise<Answer> {
  const answer = await api.ask(sent);
  const wrong = flaw(answer);
  const shown = (sent.raw ?? "").toString().slice(0, 400);
  expect(wrong, `seed ${seed}: ${sent.method} ${sent.path.slice(0, 400)} ${shown}\n${answer.status} ${answer.body.slice(0, 600)}`).toBe(
    undefined,
  );
  return answer;
}

/** Everything in the database, but for when a token was last used. */
async function everything(db: Db): Promise<string> {
  const { rows } = await sql<{ name: string }>`select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`.execute(db);
  const parts = await Promise.all(
    rows.map(async ({ name }) => {
      const { rows: found } = await sql<{
        sum: string | null;
      }>`select count(*) || ' ' || coalesce(md5(string_agg(row, ',' order by row)), '')
        as sum from (select (to_jsonb(t) - 'last_used_at')::text as row from ${sql.table(name)} t) rows`.execute(db);
      return `${name} ${found[0]?.sum}`;
    }),
  );
  return parts.join("\n");
}

/** `runs`: random requests for each route. */
export function describeHostileInput(runs: number): void {
  const services = useServices();
  const api = useHttp(services);
  beforeAll(async () => {
    await api().ask({ method: "POST", path: "/stacks", body: { name: "known" } });
    await api().ask({ method: "PUT", path: "/stacks/known/components/web", body: defaultSpec("worker") });
    await api().ask({ method: "PUT", path: "/stacks/known/secrets/one", body: { value: "the value of one" } });
  });

  describe("every route", () => {
    const cases = table.filter(([name, route]) => (route.kind === "json" || isSocket(route)) && !apart.has(name));

    test("answers with a code whatever is in body, path and query", { timeout: 60_000 + runs * 40_000 }, async () => {
      for (const [, route] of cases) {
        const hostile = fc.tuple(
          requestsOf(route, known),
          fc.nat(),
          fc.constantFrom(...strangeValues),
          fc.constantFrom("replace", "replace", "remove", "add", "twice"),
          fc.option(fc.tuple(fc.nat(), fc.string({ unit: "binary", maxLength: 60 })), { freq: 3 }),
          fc.option(fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), { maxKeys: 2 }), { freq: 3 }),
        );
        await fc.assert(
          fc.asyncProperty(hostile, async ([made, at, by, how, path, query]) => {
            const names = Object.keys(made.params);
            const changed = path === null ? undefined : names[path[0] % Math.max(1, names.length)];
            const params = changed === undefined ? made.params : { ...made.params, [changed]: path?.[1] ?? "" };
            const raw = route.body === undefined ? (at % 7 === 0 ? by : undefined) : spoil(made.body, at, by, how as "replace");
            await expectSane(api(), {
              method: route.method,
              path: fill(route, params, { ...made.query, ...query }),
              ...(raw === undefined ? {} : { raw }),
            });
          }),
          { numRuns: runs, seed, endOnFailure: true },
        );
      }
      expect(({} as Record<string, unknown>)["polluted"]).toBe(undefined);
      expect(api().failures).toEqual([]);
    });

    test("refuses what cannot be right, and nothing has changed", { timeout: 60_000 + runs * 40_000 }, async () => {
      const before = await everything(services().database.db);
      const random = fc.sample(fc.nat(), { seed, numRuns: cases.length });
      for (const [index, [name, route]] of cases.entries()) {
        const [made] = fc.sample(requestsOf(route, known), { seed: random[index] ?? 0, numRuns: 1 });
        const path = fill(route, { ...made?.params, ...known, plan: "00000000-0000-4000-8000-000000000000" }, {});
        const join = path.includes("?") ? "&" : "?";
        const withBody: Sent["raw"][] = [
          "{",
          '{"a":1}{',
          '"a text"',
          "[]",
          "7",
          '{"nobody knows this":1}',
          '{"__proto__":{"x":1}}',
          '{"name":"\\ud800"}',
          Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
          "[".repeat(100_000),
          `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
        ];
        const wrong: (Sent & { readonly what: string })[] = [
          { what: "an unknown query field", method: route.method, path: `${path}${join}nobody-knows-this=1` },
          { what: "a query that is not UTF-8", method: route.method, path: `${path}${join}limit=%ff%fe` },
          { what: "half a percent-encoding", method: route.method, path: `${path}${join}limit=%` },
          ...(route.path === "/" ? [] : [{ what: "a path that is not UTF-8", method: route.method, path: `${path}%c3%28` }]),
          { what: "a header with another host", method: route.method, path, headers: { host: "evil.example.com" } },
          { what: "another method", method: route.method === "PUT" ? "POST" : "OPTIONS", path },
          ...(route.body === undefined
            ? []
            : [
                ...withBody.map((raw, at) => ({ what: `body ${at}`, method: route.method, path, raw: raw ?? "" })),
                { what: "no body", method: route.method, path },
                ...["text/plain", "multipart/form-data; boundary=x", "application/x-tar"].map((type) => ({
                  what: `content type ${type}`,
                  method: route.method,
                  path,
                  raw: "{}",
                  headers: { "content-type": type },
                })),
              ]),
          ...(route.versioned === true && route.method !== "GET"
            ? ["abc", '"', 'W/"', '"a" "b"', '"a","b"', "\t", '"é"'].map((etag) => ({
                what: `If-Match ${etag}`,
                method: route.method,
                path,
                raw: "{}",
                headers: { "if-match": Buffer.from(etag).toString("latin1") },
              }))
            : []),
          ...(route.idempotent === true
            ? ["", "x".repeat(256), "a b", "é"].map((key) => ({
                what: `Idempotency-Key ${key.slice(0, 9)}`,
                method: route.method,
                path,
                raw: JSON.stringify(made?.body) ?? "",
                headers: { "idempotency-key": Buffer.from(key).toString("latin1") },
              }))
            : []),
          ...(route.list === undefined
            ? []
            : [
                "cursor=x",
                "cursor=%00",
                "limit=0",
                "limit=501",
                "limit=true",
                "limit=1e1",
                "limit=0x10",
                "limit=%201",
                "limit=",
                "limit=1&limit=2",
                "sort=--name",
                "sort=name%00",
                `search=${"x".repeat(201)}`,
                `cursor=${"x".repeat(4097)}`,
                `cursor=${Buffer.from('["a",1,null]').toString("base64url")}`,
              ].map((query) => ({ what: query, method: route.method, path: `${path}?${query}` }))),
        ];
        const answers = await Promise.all(wrong.map(async (sent) => ({ what: sent.what, answer: await expectSane(api(), sent) })));
        for (const { what, answer } of answers)
          expect(answer.status, `${name}: ${what}: ${answer.body.slice(0, 300)}`).toBeGreaterThanOrEqual(400);
      }
      expect(await everything(services().database.db)).toBe(before);
      expect(api().failures).toEqual([]);
    });
  });
}
