// A small real server that implements routes of the table, for tests of the command line: it checks what it is sent and what it answers against the
// route's schemas, so that no test can pass with something that the contract does not allow.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { apiPrefix, routes, type RouteName, type Routes } from "@berth/contract/api.ts";
import { errors, type ErrorCode } from "@berth/contract/errors.ts";
import type { Output, Route } from "@berth/contract/route.ts";
import { sseData, sseEnd } from "@berth/contract/sse.ts";
import { Type, type Static, type TSchema } from "typebox";
import { Value } from "typebox/value";
import { WebSocketServer, type WebSocket } from "ws";

type Part<R, K extends string> = K extends keyof R ? (R[K] extends TSchema ? Static<R[K]> : undefined) : undefined;
export interface Asked<R extends Route> {
  readonly params: Part<R, "params">;
  readonly query: Part<R, "query">;
  readonly body: R["kind"] extends "upload" ? Buffer : Part<R, "body">;
  readonly headers: IncomingMessage["headers"];
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
}
type Answer<R extends Route> = R["kind"] extends "events"
  ? (asked: Asked<R>) => AsyncIterable<Output<R>>
  : R["kind"] extends "terminal" | "port"
    ? (asked: Asked<R>, socket: WebSocket) => void
    : (asked: Asked<R>) => Output<R> | Promise<Output<R>>;
export type Answers = { readonly [N in RouteName]?: Answer<Routes[N]> };

type OpenSocket = (asked: object, socket: WebSocket) => void;

/** Answered as problem details. */
export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly params: Record<string, string>;
  constructor(code: ErrorCode, params: Record<string, string> = {}) {
    super(code);
    this.code = code;
    this.params = params;
  }
}

export interface TestApi {
  readonly url: string;
  /** `METHOD /path?query` of every request, in order. */
  readonly requests: string[];
  close(): Promise<void>;
}

export async function startApi(answers: Answers, options: { readonly token?: string } = {}): Promise<TestApi> {
  const requests: string[] = [];
  const faults: unknown[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url?.slice(apiPrefix.length)}`);
    answer(request, response, answers, options.token).catch((error: unknown) => {
      faults.push(error);
      problem(response, new Refusal("internal"), String(error));
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    requests.push(`WS ${request.url?.slice(apiPrefix.length)}`);
    const found = match(request);
    const name = found?.name;
    const open = name === "openTerminal" || name === "openPort" ? (answers[name] as OpenSocket | undefined) : undefined;
    if (found === undefined || name === undefined || open === undefined)
      return socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n");
    const route: Route = routes[name];
    const asked = {
      params: check(route.params ?? Type.Object({}), found.params, "params"),
      query: check(route.query ?? Type.Object({}), found.query, "query"),
      body: undefined,
      headers: request.headers,
      signal: new AbortController().signal,
    };
    sockets.handleUpgrade(request, socket, head, (client) => {
      open(asked, client);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
      if (faults.length > 0) throw faults[0];
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, answers: Answers, token: string | undefined): Promise<void> {
  const found = match(request);
  if (found === undefined) throw new Error(`no route of the table fits ${request.method} ${request.url}`);
  const { name, params, query } = found;
  const route: Route = routes[name];
  const handler = answers[name] as ((asked: Asked<Route>) => unknown) | undefined;
  if (route.access !== "public" && token !== undefined && request.headers.authorization !== `Bearer ${token}`)
    return problem(response, new Refusal("unauthenticated"));
  if (handler === undefined) throw new Error(`this test answers no ${name}`);
  const bytes = await buffer(request);
  const gone = new AbortController();
  response.on("close", () => {
    gone.abort();
  });
  const asked = {
    params: route.params === undefined ? undefined : check(route.params, params, `${name} params`),
    query: route.query === undefined ? undefined : check(route.query, query, `${name} query`),
    body:
      route.kind === "upload"
        ? bytes
        : route.body === undefined
          ? undefined
          : check(route.body, JSON.parse(bytes.toString("utf8")), `${name} body`),
    headers: request.headers,
    signal: gone.signal,
  } as Asked<Route>;
  try {
    if (route.kind === "events") return await sendEvents(response, route, name, handler(asked) as AsyncIterable<unknown>);
    const body = check(route.response, await handler(asked), `${name} response`);
    response.writeHead(route.status ?? 200, { "content-type": "application/json", ...(route.versioned === true ? { etag: '"1"' } : {}) });
    response.end(route.status === 204 ? undefined : JSON.stringify(body));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problem(response, error);
  }
}

async function sendEvents(response: ServerResponse, route: Route, name: string, items: AsyncIterable<unknown>): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  let number = 0;
  for await (const item of items) {
    number += 1;
    response.write(sseData(check(route.response, item, `${name} event`), String(number)));
  }
  response.end(sseEnd);
}

function problem(response: ServerResponse, refusal: Refusal, why = ""): void {
  const entry = errors[refusal.code];
  const fill = (text: string): string => text.replace(/\{(\w+)\}/g, (hole, key: string) => refusal.params[key] ?? hole);
  if (response.headersSent) return void response.destroy();
  response.writeHead(entry.status, { "content-type": "application/problem+json" });
  response.end(
    JSON.stringify({
      type: `#${refusal.code}`,
      title: refusal.code,
      status: entry.status,
      code: refusal.code,
      detail: why === "" ? fill(entry.detail) : why,
      hint: fill(entry.hint),
      params: refusal.params,
      requestId: "test-request",
    }),
  );
}

interface Found {
  readonly name: RouteName;
  readonly params: Record<string, string>;
  readonly query: Record<string, string>;
}

function match(request: IncomingMessage): Found | undefined {
  const url = new URL(request.url ?? "/", "http://test");
  for (const name of Object.keys(routes) as RouteName[]) {
    const route: Route = routes[name];
    if (route.method !== request.method) continue;
    const found = new RegExp(`^${apiPrefix}${route.path.replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`).exec(url.pathname);
    if (found !== null)
      return {
        name,
        params: Object.fromEntries(Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)])),
        query: Object.fromEntries(url.searchParams),
      };
  }
  return undefined;
}

function check<S extends TSchema>(schema: S, value: unknown, where: string): Static<S> {
  const converted = Value.Convert(schema, structuredClone(value));
  const [first] = Value.Errors(schema, converted);
  if (first !== undefined) throw new Error(`${where}: ${first.instancePath} ${first.message} (${JSON.stringify(value)?.slice(0, 300)})`);
  return converted as Static<S>;
}
