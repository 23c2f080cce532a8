// The typed client: one function per route of the table, over fetch. Browser-safe: no Node import may enter here.
import type { Static, TSchema } from "typebox";
import { apiPrefix, routes, type RouteName, type Routes } from "./api.ts";
import { ApiError, ConnectionError, answerError, connectionError } from "./client-errors.ts";
import { rememberEtag } from "./client-etag.ts";
import { pause, readEvents, type EventOptions, type Received } from "./client-events.ts";
import type { Output, Route } from "./route.ts";

export interface ClientOptions {
  /** Where the server answers, e.g. `http://127.0.0.1:7420`. */
  readonly baseUrl: string;
  readonly token?: string | undefined;
  readonly fetch?: typeof fetch;
  /** Told of every attempt, before it is made. */
  readonly onRequest?: (request: {
    readonly route: RouteName;
    readonly method: string;
    readonly url: string;
    readonly attempt: number;
  }) => void;
}

type Loose<T> = { readonly [K in keyof T]: T[K] | undefined };
type ParamsPart<R> = R extends { readonly params: infer P extends TSchema } ? { readonly params: Static<P> } : unknown;
type QueryPart<R> = R extends { readonly query: infer Q extends TSchema }
  ? Record<never, never> extends Static<Q>
    ? { readonly query?: Loose<Static<Q>> }
    : { readonly query: Loose<Static<Q>> }
  : unknown;
type BodyPart<R> = R extends { readonly kind: "upload" }
  ? Upload
  : R extends { readonly body: infer B extends TSchema }
    ? { readonly body: Static<B> }
    : unknown;
/** A body that can be opened again when the first attempt fails on the way. */
export interface Upload {
  readonly body: () => ReadableStream<Uint8Array>;
  readonly contentType: string;
}

/** What a call hands in: `params`, `query` and `body` as the route has them; a query's fields may be undefined. */
export type ClientInput<R> = ParamsPart<R> & QueryPart<R> & BodyPart<R>;
type Arguments<R, O> =
  Record<never, never> extends ClientInput<R> ? [input?: ClientInput<R>, options?: O] : [input: ClientInput<R>, options?: O];

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** As etagOf (client-etag.ts) gave it; the call fails with `precondition_failed` when the object changed since. */
  readonly ifMatch?: string | undefined;
  /** Made by the client when absent. */
  readonly idempotencyKey?: string | undefined;
}
export type ClientCall<R extends Route> = R["kind"] extends "events"
  ? (...args: Arguments<R, EventOptions>) => AsyncIterable<Received<Output<R>>>
  : R["kind"] extends "terminal" | "port"
    ? (...args: Arguments<R, CallOptions>) => { readonly url: string; readonly headers: Readonly<Record<string, string>> }
    : R["kind"] extends "download"
      ? (...args: Arguments<R, CallOptions>) => Promise<ReadableStream<Uint8Array>>
      : (...args: Arguments<R, CallOptions>) => Promise<Output<R>>;
export type Client = { readonly [N in RouteName]: ClientCall<Routes[N]> };

/**
 * A function per route. Reads, uploads and calls with an Idempotency-Key (made here for creates, and the same at every attempt) are tried again
 * when the connection breaks or the server says that it did not begin; anything else is sent once.
 * Every function fails with ApiError (the server's problem details) or ConnectionError.
 */
export function createClient(options: ClientOptions): Client {
  const names = Object.keys(routes) as RouteName[];
  return Object.fromEntries(names.map((name) => [name, callOf(name, routes[name], options)])) as unknown as Client;
}

interface AnyInput {
  readonly params?: Record<string, unknown>;
  readonly query?: Record<string, unknown>;
  readonly body?: unknown;
  readonly contentType?: string;
}

function callOf(name: RouteName, route: Route, client: ClientOptions): (input?: AnyInput, options?: CallOptions & EventOptions) => unknown {
  switch (route.kind) {
    case "events":
      return (input = {}, options = {}) =>
        readEvents(
          {
            url: urlOf(client.baseUrl, route, input),
            follows: followsAfter(route, input),
            open: (lastEventId, signal) =>
              attempt(client, name, route, input, 1, {
                signal,
                headers: { accept: "text/event-stream", ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }) },
              }),
          },
          options,
        );
    case "terminal":
    case "port":
      return (input = {}) => ({ url: urlOf(client.baseUrl, route, input).replace(/^http/, "ws"), headers: authorization(client) });
    case "download":
      return async (input = {}, options = {}) =>
        (await send(client, name, route, input, options)).body ??
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            controller.close();
          },
        });
    case "json":
    case "upload":
    case "webhook":
      return async (input = {}, options = {}) =>
        readJson(await send(client, name, route, input, options), urlOf(client.baseUrl, route, input));
    default:
      return route.kind satisfies never;
  }
}

async function readJson(answer: Response, url: string): Promise<object> {
  const body = answer.status === 204 ? {} : await jsonOf(answer, url);
  const etag = answer.headers.get("etag");
  if (etag !== null) rememberEtag(body, etag);
  return body;
}

async function jsonOf(answer: Response, url: string): Promise<object> {
  const type = answer.headers.get("content-type") ?? "";
  if (!type.includes("json"))
    throw new ConnectionError("not_berth", url, `HTTP ${answer.status}, ${type === "" ? "no content type" : type}`);
  try {
    return (await answer.json()) as object;
  } catch (error) {
    throw connectionError(error, url);
  }
}

const mostAttempts = 4;
/** Codes with which the server says that it did not begin. */
const notBegun = new Set(["shutting_down", "too_many_requests", "database_unavailable", "idempotency_in_progress"]);

async function send(client: ClientOptions, name: RouteName, route: Route, input: AnyInput, options: CallOptions): Promise<Response> {
  const url = urlOf(client.baseUrl, route, input);
  const key = route.idempotent === true ? (options.idempotencyKey ?? crypto.randomUUID()) : undefined;
  const headers = {
    ...(key === undefined ? {} : { "idempotency-key": key }),
    ...(options.ifMatch === undefined ? {} : { "if-match": options.ifMatch }),
  };
  const repeatable =
    key !== undefined || route.kind === "upload" || route.method === "GET" || (route.method === "PUT" && options.ifMatch === undefined);
  for (let number = 1; ; number += 1) {
    let failure: unknown;
    let wait = 200 * 2 ** (number - 1);
    try {
      const answer = await attempt(client, name, route, input, number, { signal: options.signal, headers });
      if (answer.ok) return answer;
      wait = Math.max(wait, Math.min(10, Number(answer.headers.get("retry-after") ?? 0)) * 1000 || 0);
      failure = await answerError(answer, url);
    } catch (error) {
      failure = connectionError(error, url);
    }
    if (number === mostAttempts || !worthAnother(failure, repeatable)) throw failure;
    await pause(wait, options.signal);
  }
}

function worthAnother(failure: unknown, repeatable: boolean): boolean {
  if (failure instanceof ApiError) return notBegun.has(failure.code);
  return failure instanceof ConnectionError && failure.code === "connection_lost" && repeatable;
}

function attempt(
  client: ClientOptions,
  name: RouteName,
  route: Route,
  input: AnyInput,
  number: number,
  how: { readonly signal: AbortSignal | undefined; readonly headers: Record<string, string> },
): Promise<Response> {
  const url = urlOf(client.baseUrl, route, input);
  client.onRequest?.({ route: name, method: route.method, url, attempt: number });
  const body = bodyOf(route, input);
  return (client.fetch ?? fetch)(url, {
    method: route.method,
    redirect: "error",
    headers: { accept: "application/json", ...authorization(client), ...body.headers, ...how.headers },
    ...(how.signal === undefined ? {} : { signal: how.signal }),
    ...body.init,
  });
}

function bodyOf(route: Route, input: AnyInput): { readonly headers: Record<string, string>; readonly init: RequestInit } {
  if (route.kind === "upload") {
    const { body, contentType } = input as unknown as Upload;
    // A streamed body may be sent in one direction at a time only.
    return { headers: { "content-type": contentType }, init: { body: body(), duplex: "half" } };
  }
  return input.body === undefined
    ? { headers: {}, init: {} }
    : { headers: { "content-type": "application/json" }, init: { body: JSON.stringify(input.body) } };
}

function authorization(client: ClientOptions): Record<string, string> {
  return client.token === undefined ? {} : { authorization: `Bearer ${client.token}` };
}

function urlOf(baseUrl: string, route: Route, input: AnyInput): string {
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(input.params?.[name] ?? "")));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(input.query ?? {})) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return `${baseUrl.replace(/\/+$/, "")}${apiPrefix}${path}${text === "" ? "" : `?${text}`}`;
}

/** A route that has a `follow` field follows when it says so; one without it, like `watch`, always does. */
function followsAfter(route: Route, input: AnyInput): boolean {
  const fields = route.query?.properties ?? {};
  return "follow" in fields ? input.query?.["follow"] === true : true;
}
