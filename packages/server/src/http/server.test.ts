// The HTTP server over real connections, real tokens and a real database: who gets in, what is refused, and what streams promise.
import { request as httpRequest } from "node:http";
import { routes } from "@berth/contract/api.ts";
import { errors } from "@berth/contract/errors.ts";
import { isSocket, type Route } from "@berth/contract/route.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import { SseParser } from "@berth/contract/sse.ts";
import { sql } from "kysely";
import { beforeAll, describe, expect, test } from "vitest";
import { useHttp, type Answer, type Ask } from "../../test/http.ts";
import { useServices } from "../../test/services.ts";
import { createToken, revokeToken } from "../db/tokens.ts";

const services = useServices();
const api = useHttp(services);
const ask = (request: Ask): Promise<Answer> => api().ask(request);

beforeAll(async () => {
  await ask({ method: "POST", path: "/stacks", body: { name: "known" } });
});

const fillPath = (path: string, stack: string): string =>
  path
    .replace(":stack", stack)
    .replace(/:(build|release|rollout|task)\b/g, "1")
    .replace(/:plan\b|:token\b/g, "00000000-0000-0000-0000-000000000000")
    .replace(/:\w+/g, "web");
/** A body that passes the checks of most routes, so that what is asked is who may call. */
const bodies: Record<string, unknown> = {
  createStack: { name: "other" },
  updateStack: {},
  createPlan: {
    files: {},
    absent: ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"],
    composeFiles: [],
    variables: {},
    profiles: [],
    sources: {},
  },
  applyPlan: {},
  explainSource: { source: `sha256:${"0".repeat(64)}` },
  fetchSource: { url: "https://example.com/x.git" },
  setCredential: { kind: "token", token: "x" },
  addKnownHost: { line: "example.com ssh-ed25519 AAAA" },
  createWebhook: { name: "x", registry: "registry.example" },
  setRegistry: { username: "x", password: "x" },
  setCertificate: { chain: "x", key: "x" },
  scaleComponent: { replicas: 1 },
  autoscaleComponent: {},
  placeComponent: {},
  setQuota: { instances: 1 },
  deployComponent: {},
  rollbackComponent: {},
  createTask: { command: { exec: ["true"] } },
  updateStackConfig: { values: {} },
  updateConfig: { values: {} },
  setSecret: { value: "x" },
  createToken: { name: "x" },
  setComponent: defaultSpec("worker"),
};

describe("who may call", () => {
  const table = Object.entries<Route>(routes).filter(([, route]) => !isSocket(route));

  test("nothing but the public routes answers without a token", async () => {
    for (const [name, route] of table) {
      if (route.access === "public") continue;
      const answer = await ask({
        method: route.method,
        path: fillPath(route.path, "known"),
        token: "",
        ...(name in bodies ? { body: bodies[name] } : {}),
      });
      expect(answer.status, `${name} ${answer.body}`).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
    }
  });

  test("a stack that a caller may not know is answered exactly as one that does not exist", async () => {
    for (const [name, route] of table) {
      if (!route.path.includes(":stack") || route.kind === "upload") continue;
      const answers = await Promise.all(
        ["known", "never-was"].map((stack) =>
          ask({
            method: route.method,
            path: fillPath(route.path, stack),
            token: api().outsider,
            ...(name in bodies ? { body: bodies[name] } : {}),
          }),
        ),
      );
      const [real, missing] = answers.map((answer) =>
        JSON.stringify({ status: answer.status, ...answer.json(), requestId: "" }).replaceAll("never-was", "known"),
      );
      expect(real, name).toBe(missing);
      expect(answers[0]?.status, `${name} ${answers[0]?.body}`).toBe(404);
    }
  });

  test("a token with fewer permissions than its user may do less, and is told which it lacks", async () => {
    const { database } = services();
    const user = await database.db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
    const reader = (await createToken(database.db, { userId: user.id, name: "reader", scopes: ["stacks.read"] })).text;
    expect((await ask({ path: "/stacks/known", token: reader })).status).toBe(200);
    const refused = await ask({ method: "PATCH", path: "/stacks/known", token: reader, body: { runEnv: "x" } });
    expect(refused.json()).toMatchObject({ status: 403, code: "forbidden", params: { permission: "stacks.write" } });
    expect((await ask({ path: "/audit", token: reader })).status).toBe(403);
  });

  test("a page elsewhere cannot talk to this server", async () => {
    expect((await ask({ path: "/stacks", headers: { host: "evil.example.com" } })).json()).toMatchObject({
      status: 403,
      code: "host_not_allowed",
    });
    expect((await ask({ path: "/stacks", headers: { origin: "https://evil.example.com" } })).json()).toMatchObject({
      status: 403,
      code: "host_not_allowed",
    });
    expect((await ask({ path: "/stacks", headers: { origin: "http://localhost:7420" } })).status).toBe(200);
  });
});

describe("bad input", () => {
  const cases: [string, Ask, number, string][] = [
    ["an unknown field", { method: "POST", path: "/stacks", body: { name: "x", colour: 1 } }, 400, "colour"],
    ["a wrong type", { method: "POST", path: "/stacks", body: { name: 7 } }, 400, "name"],
    ["a bad name", { method: "POST", path: "/stacks", body: { name: "Not_A_Name" } }, 400, "name"],
    ["a name with two dashes", { method: "POST", path: "/stacks", body: { name: "a--b" } }, 400, "name"],
    ["no body", { method: "POST", path: "/stacks" }, 400, "body"],
    ["what is not JSON", { method: "POST", path: "/stacks", raw: "{" }, 400, "JSON"],
    [
      "another content type",
      { method: "POST", path: "/stacks", raw: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } },
      415,
      "",
    ],
    ["an unknown query field", { path: "/stacks?colour=red" }, 400, "colour"],
    ["a limit that is too high", { path: "/stacks?limit=100000" }, 400, "limit"],
    ["a cursor from elsewhere", { path: "/stacks?cursor=abc" }, 400, "cursor"],
    ["an event cursor from elsewhere", { path: "/watch?after=abc" }, 400, "cursor"],
    ["a last event that is none", { path: "/watch", headers: { "last-event-id": "abc" } }, 400, "cursor"],
    ["a name with a NUL", { path: "/stacks/a%00b" }, 400, "stack"],
    ["broken percent encoding", { path: "/stacks/%E0%A4%A" }, 400, ""],
    ["an unknown page", { path: "/nowhere" }, 404, ""],
    ["a body beyond the limit", { method: "POST", path: "/stacks", raw: `"${"x".repeat(17 * 1024 * 1024)}"` }, 413, ""],
    ["an ETag that is none", { method: "PATCH", path: "/stacks/known", body: {}, headers: { "if-match": "abc" } }, 400, "If-Match"],
  ];
  test.each(cases)("%s is a coded 4xx with words", async (_what, given, status, word) => {
    const answer = await ask(given);
    const problem = answer.json();
    expect({ status: answer.status, type: answer.headers["content-type"]?.split(";")[0] }).toEqual({
      status,
      type: "application/problem+json",
    });
    expect(Object.keys(errors)).toContain(problem["code"]);
    expect(problem["detail"]).toContain(word);
    expect(problem["requestId"]).toBe(answer.headers["x-request-id"]);
  });

  const head = (line: string, ...more: string[]): string => [line, "host: localhost", ...more, "", ""].join("\r\n");
  const raw: [string, string, number, string][] = [
    ["what is not HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400, "invalid_request"],
    ["a header with a NUL", head("GET /api/v1 HTTP/1.1", "x-a: b\0c"), 400, "invalid_request"],
    ["headers beyond the limit", head("GET /api/v1 HTTP/1.1", `x-a: ${"x".repeat(70_000)}`), 431, "headers_too_large"],
    ["an address beyond the limit", head(`GET /api/v1?a=${"x".repeat(70_000)} HTTP/1.1`), 431, "headers_too_large"],
    ["no host", "GET /api/v1 HTTP/1.1\r\nconnection: close\r\n\r\n", 403, "host_not_allowed"],
    ["two lengths", head("POST /api/v1/login HTTP/1.1", "content-length: 2", "content-length: 3") + "{}", 400, "invalid_request"],
    [
      "a length and chunks",
      head("POST /api/v1/login HTTP/1.1", "content-length: 2", "transfer-encoding: chunked") + "0\r\n\r\n",
      400,
      "invalid_request",
    ],
    ["a negative length", head("POST /api/v1/login HTTP/1.1", "content-length: -1"), 400, "invalid_request"],
    [
      "chunks that are none",
      head("POST /api/v1/login HTTP/1.1", "content-type: application/json", "transfer-encoding: chunked") + "zz\r\n{}\r\n0\r\n\r\n",
      400,
      "invalid_request",
    ],
    ["an unknown method", head("BREW /api/v1 HTTP/1.1"), 400, "invalid_request"],
    ["a method that the path has not", head("PUT /api/v1 HTTP/1.1", "connection: close"), 405, "method_not_allowed"],
    ["a terminal without an upgrade", "", 426, "upgrade_required"],
  ];
  test.each(raw)("%s on the wire is a coded 4xx", async (_what, bytes, status, code) => {
    const line = "GET /api/v1/stacks/known/components/web/exec?command=x HTTP/1.1";
    const answer = await api().send(bytes === "" ? head(line, `authorization: Bearer ${api().admin}`, "connection: close") : bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.toLowerCase()).toContain("content-type: application/problem+json");
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toMatchObject({ status, code });
  });

  test("of another method names those that there are", async () => {
    const answer = await ask({ method: "POST", path: "/stacks/known" });
    expect({ status: answer.status, allow: answer.headers.allow }).toEqual({ status: 405, allow: "DELETE, GET, HEAD, PATCH" });
  });

  test("is never an internal error", () => {
    expect(api().failures).toEqual([]);
  });
});

describe("changes", () => {
  test("are made on the ETag that the caller saw, or refused", async () => {
    const seen = await ask({ path: "/stacks/known" });
    const etag = String(seen.headers["etag"]);
    expect((await ask({ method: "PATCH", path: "/stacks/known", body: { runEnv: "staging" }, headers: { "if-match": etag } })).status).toBe(
      200,
    );
    expect(
      (await ask({ method: "PATCH", path: "/stacks/known", body: { runEnv: "dev" }, headers: { "if-match": etag } })).json(),
    ).toMatchObject({ status: 412, code: "precondition_failed" });
  });

  test("with an Idempotency-Key happen once", async () => {
    const create = (name: string, key: string): Promise<Answer> =>
      ask({ method: "POST", path: "/stacks", body: { name }, headers: { "idempotency-key": key } });
    const first = await create("once", "key-1");
    const again = await create("once", "key-1");
    expect([first.status, again.status, again.headers["idempotent-replayed"]]).toEqual([201, 201, "true"]);
    expect(again.json()).toEqual(first.json());
    expect((await create("twice", "key-1")).json()).toMatchObject({ status: 409, code: "idempotency_mismatch" });
    const crowd = await Promise.all(Array.from({ length: 6 }, () => create("crowd", "key-2")));
    expect(crowd.every((answer) => answer.status === 201 || answer.json()["code"] === "idempotency_in_progress")).toBe(true);
    expect(crowd.some((answer) => answer.status === 201)).toBe(true);
    expect((await create("known", "key-3")).json()).toMatchObject({ code: "conflict" });
    expect((await create("known", "key-3")).json()).toMatchObject({ code: "conflict" });
  });
});

describe("the watch stream", () => {
  /** Reads events until `count` came or the stream ended. */
  function watch(options: {
    readonly token?: string;
    readonly topics?: string;
    readonly lastEventId?: string;
    readonly count: number;
    readonly ready?: () => void;
  }): Promise<{ events: { id?: string; event: string; data: Record<string, unknown> }[]; ended: boolean }> {
    return new Promise((resolve, reject) => {
      const parser = new SseParser();
      const events: { id?: string; event: string; data: Record<string, unknown> }[] = [];
      const request = httpRequest(
        {
          host: "127.0.0.1",
          port: api().port,
          path: `/api/v1/watch?topics=${encodeURIComponent(options.topics ?? "stack:*")}`,
          headers: {
            authorization: `Bearer ${options.token ?? api().admin}`,
            ...(options.lastEventId === undefined ? {} : { "last-event-id": options.lastEventId }),
          },
        },
        (response) => {
          options.ready?.();
          response.setEncoding("utf8");
          response.on("data", (text: string) => {
            for (const message of parser.push(text))
              events.push({
                event: message.event,
                data: JSON.parse(message.data) as Record<string, unknown>,
                ...(message.id === undefined ? {} : { id: message.id }),
              });
            if (events.length >= options.count) {
              resolve({ events, ended: false });
              request.destroy();
            }
          });
          response.on("end", () => {
            resolve({ events, ended: true });
          });
        },
      );
      request
        .on("error", (error) => {
          if (events.length < options.count) reject(error);
        })
        .end();
    });
  }
  const change = (runEnv: string): Promise<Answer> => ask({ method: "PATCH", path: "/stacks/known", body: { runEnv } });

  test("carries what happens, and after a pause exactly what was missed", async () => {
    // What happened before is behind whoever follows from now on, once no transaction that began earlier is open in any database.
    const unsettled = async () =>
      (await sql`select from events where xid >= pg_snapshot_xmin(pg_current_snapshot())`.execute(services().database.db)).rows.length;
    await expect.poll(unsettled).toBe(0);
    const { promise: open, resolve: opened } = Promise.withResolvers<void>();
    const live = watch({ topics: "stack:known", count: 1, ready: opened });
    await open;
    await change("one");
    const [first] = (await live).events;
    expect(first).toMatchObject({ event: "message", data: { code: "stack_updated", stack: "known" } });
    await change("two");
    await change("three");
    await ask({ method: "POST", path: "/stacks", body: { name: "unwatched" } });
    const missed = await watch({ topics: "stack:known", lastEventId: first?.id ?? "", count: 2 });
    expect(missed.events.map((event) => event.data["code"])).toEqual(["stack_updated", "stack_updated"]);
  });

  test("ends with words when the caller's token expires in its middle", async () => {
    const { db } = services().database;
    const user = await db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
    const token = await createToken(db, { userId: user.id, name: "brief", expiresAt: new Date(Date.now() + 3_600_000) });
    const { promise: open, resolve: opened } = Promise.withResolvers<void>();
    const watching = watch({ token: token.text, topics: "stack:nobody", count: 1, ready: opened });
    await open;
    await db
      .updateTable("api_tokens")
      .set({ expires_at: new Date(Date.now() - 1) })
      .where("id", "=", token.id)
      .execute();
    const { events, ended } = await watching;
    expect({ events, ended }).toMatchObject({ ended: false, events: [{ event: "problem", data: { status: 401, code: "token_expired" } }] });
  });

  test("shows a caller only what he may see", async () => {
    const { promise: open, resolve: opened } = Promise.withResolvers<void>();
    const { database } = services();
    const user = await database.db.selectFrom("users").select("id").where("name", "=", "outsider").executeTakeFirstOrThrow();
    const token = await createToken(database.db, { userId: user.id, name: "short" });
    const seen = watch({ token: token.text, topics: "stack:*", count: 1, ready: opened });
    await open;
    await change("secret");
    // A token that is revoked ends its streams; what came before that is all that the caller ever saw.
    await revokeToken(database.db, { id: token.id });
    const { events } = await seen;
    expect(events.map((event) => event.event)).toEqual(["problem"]);
    expect(events[0]?.data).toMatchObject({ code: "token_revoked" });
  });
});
