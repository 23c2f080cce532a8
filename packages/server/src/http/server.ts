// The HTTP server: the route table's entries become Fastify routes. It checks, calls the handler and renders; it decides nothing.
import type { IncomingMessage, Server } from "node:http";
import { Readable } from "node:stream";
import { apiPrefix, routes, type RouteName } from "@berth/contract/api.ts";
import { isSocket, type Route } from "@berth/contract/route.ts";
import { portProtocol } from "@berth/contract/port.ts";
import { terminalProtocol } from "@berth/contract/terminal.ts";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { BerthError } from "../core/errors.ts";
import { contentHash } from "../core/canonical.ts";
import { Rendered } from "../core/rendered.ts";
import type { Access, Principal } from "../db/permissions.ts";
import type { Sent } from "../core/sent.ts";
import type { Call, Handlers, Versioned } from "../resources/call.ts";
import { answerClientErrors, headerLimit } from "./clienterror.ts";
import { sendEvents } from "./events.ts";
import { acceptedRequestId, bearerToken, checkAddress, checkHost } from "./guard.ts";
import { parseJson } from "./json.ts";
import { refuseOtherMethods } from "./methods.ts";
import type { Once } from "./once.ts";
import { openapi } from "./openapi.ts";
import { bodyLimit, codedError, problemOf, retryAfter } from "./problem.ts";
import { serveSockets } from "./sockets.ts";
import { compileValidation, type Validate } from "./validate.ts";

export interface HttpDeps {
  readonly handlers: Handlers;
  /** Errors: `unauthenticated`, `token_expired`. */
  readonly authenticate: (token: string) => Promise<{ readonly principal: Principal; readonly by: string }>;
  readonly access: Access;
  /** Runs the work once for a principal and key; the kept answer otherwise. */
  readonly once: Once;
  readonly version: string;
  /** Host names (without port) by which this server may be addressed. */
  readonly allowedHosts: ReadonlySet<string>;
  readonly newRequestId: () => string;
  /** Prometheus text of the control plane. */
  readonly metrics: () => Promise<string>;
  /** Whether the server can do its work; a reason when not. */
  readonly ready: () => Promise<string | undefined>;
  readonly onRequest: (entry: { readonly route: string; readonly method: string; readonly status: number; readonly ms: number }) => void;
  readonly logError: (error: unknown, requestId: string) => void;
}

const anonymous: Principal = { kind: "user", id: "", scopes: [] };
const uploadTypes = ["application/x-tar", "application/gzip", "application/zstd", "application/octet-stream"];

export async function createHttpServer(deps: HttpDeps): Promise<FastifyInstance> {
  const fastify = Fastify({
    bodyLimit,
    genReqId: (request: IncomingMessage) => acceptedRequestId(request.headers) ?? deps.newRequestId(),
    forceCloseConnections: true,
    frameworkErrors: (error, request, reply) => {
      sendProblem(deps, error, request, reply.header("x-request-id", request.id));
    },
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: true },
    // A request without a Host is refused with words, by checkHost.
    http: { maxHeaderSize: headerLimit, requireHostHeader: false },
    clientErrorHandler: () => undefined,
  });
  answerClientErrors(fastify.server as Server, (error) => problemFor(deps, error, deps.newRequestId()));
  // Whoever expects something else than 100 (Continue) gets the answer all the same (RFC 9110, section 10.1.1).
  fastify.server.on("checkExpectation", (request: IncomingMessage, response) => fastify.server.emit("request", request, response));
  // The platform's own JSON.stringify answers faster than a compiled serializer, and validation is ours.
  fastify.setValidatorCompiler(() => () => true);
  fastify.setSerializerCompiler(() => (value) => JSON.stringify(value));
  fastify.addContentTypeParser(uploadTypes, (_request, payload, done) => {
    done(null, payload);
  });
  fastify.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJson(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  fastify.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    checkHost(request.headers, deps.allowedHosts);
    checkAddress(request.url);
  });
  fastify.addHook("onResponse", (request, reply, done) => {
    deps.onRequest({
      route: request.routeOptions.url ?? "unknown",
      method: request.method,
      status: reply.statusCode,
      ms: reply.elapsedTime,
    });
    done();
  });
  fastify.setErrorHandler((error, request, reply) => sendProblem(deps, error, request, reply));
  fastify.setNotFoundHandler((request, reply) =>
    sendProblem(
      deps,
      new BerthError("not_found", { kind: "page", name: request.url.split("?")[0] ?? "", hint: `The API is under ${apiPrefix}.` }),
      request,
      reply,
    ),
  );

  const document = JSON.stringify(openapi(deps.version));
  fastify.get(`${apiPrefix}/openapi.json`, (_request, reply) => reply.type("application/json").send(document));
  fastify.get("/healthz", (_request, reply) => reply.type("text/plain").send("ok\n"));
  fastify.get("/readyz", async (_request, reply) => {
    const reason = await deps.ready();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type("text/plain")
      .send(`${reason ?? "ok"}\n`);
  });
  fastify.get("/metrics", async (_request, reply) => reply.type("text/plain; version=0.0.4").send(await deps.metrics()));

  const validators = new Map<RouteName, Validate>();
  const methods = new Map<string, Set<string>>();
  for (const [name, route] of Object.entries(routes) as [RouteName, Route][]) {
    validators.set(name, compileValidation(route));
    if (route.kind === "webhook")
      await fastify.register((scope) => addWebhook(scope, deps, name, route, validators.get(name) ?? ((raw) => raw)));
    else addRoute(fastify, deps, name, route, validators.get(name) ?? ((raw) => raw));
    const url = urlOf(route);
    const known = methods.get(url) ?? new Set();
    methods.set(url, known.add(route.method));
    if (hasHead(route)) known.add("HEAD");
  }
  refuseOtherMethods(fastify, methods);
  serveSockets(fastify.server as Server, {
    validate: (name, raw) => (validators.get(name) ?? ((same) => same))(raw),
    handlers: deps.handlers,
    authorize: (request) => authorizeUpgrade(deps, request),
    problem: (error, requestId) => problemFor(deps, error, requestId),
  });
  await fastify.ready();
  return fastify;
}

async function authorizeUpgrade(
  deps: HttpDeps,
  request: IncomingMessage,
): Promise<{ principal: Principal; by: string; requestId: string }> {
  checkHost(request.headers, deps.allowedHosts);
  const token = bearerToken(request.headers);
  if (token === undefined) throw new BerthError("unauthenticated");
  return { ...(await deps.authenticate(token)), requestId: acceptedRequestId(request.headers) ?? deps.newRequestId() };
}

/** The head of an answer that streams would come with the stream. */
const hasHead = (route: Route): boolean => route.method === "GET" && route.kind === "json";
const urlOf = (route: Route): string => (route.path === "/" ? apiPrefix : `${apiPrefix}${route.path}`);

function addRoute(fastify: FastifyInstance, deps: HttpDeps, name: RouteName, route: Route, validate: Validate): void {
  fastify.route({
    method: route.method,
    url: urlOf(route),
    exposeHeadRoute: hasHead(route),
    // The body's size is bounded by what receives it.
    ...(route.kind === "upload" ? { bodyLimit: Number.MAX_SAFE_INTEGER } : {}),
    handler: async (request, reply) => {
      const call = await callOf(deps, route, request, reply);
      if (isSocket(route)) throw refuseWithoutUpgrade(route, reply);
      checkContentType(route, request);
      const input = validate({ params: request.params, query: request.query, body: request.body });
      const handler = deps.handlers[name] as (input: unknown, call: Call) => unknown;
      if (route.kind === "events") {
        const token = bearerToken(request.headers) ?? "";
        return sendEvents(reply, await (handler(input, call) as Promise<AsyncIterable<Sent<unknown>>>), call.signal, {
          problem: (error) => problemFor(deps, error, request.id),
          stillAllowed: async () => {
            await deps.authenticate(token);
          },
        });
      }
      const key = route.idempotent === true ? idempotencyKey(request) : undefined;
      if (route.kind === "download") {
        const bytes = (await handler(input, call)) as Readable;
        return reply.type("application/octet-stream").send(bytes);
      }
      if (key === undefined) return send(reply, route, await handler(input, call));
      const outcome = await deps.once(
        { principal: call.principal.id, key, hash: contentHash({ route: name, ...input }), status: route.status ?? 200 },
        async (keep) => handler(input, { ...call, keep }),
      );
      if (outcome.replayed) reply.header("idempotent-replayed", "true");
      return send(reply, route, outcome.response);
    },
  });
}

/** What registries send by themselves is small; bytes. */
const webhookLimit = 1024 * 1024;

/** Nothing is made of its body here: a signature is over the bytes as they came, and senders have media types of their own. */
async function addWebhook(fastify: FastifyInstance, deps: HttpDeps, name: RouteName, route: Route, validate: Validate): Promise<void> {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
    done(null, body);
  });
  fastify.setErrorHandler((error, request, reply) => {
    const large = (error as { code?: unknown }).code === "FST_ERR_CTP_BODY_TOO_LARGE";
    return sendProblem(
      deps,
      large ? new BerthError("payload_too_large", { limit: webhookLimit, hint: "Send fewer at a time." }) : error,
      request,
      reply,
    );
  });
  fastify.route({
    method: route.method,
    url: urlOf(route),
    bodyLimit: webhookLimit,
    handler: async (request, reply) => {
      const call = await callOf(deps, route, request, reply);
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const input = { ...validate({ params: request.params, query: request.query, body }), body, headers: request.headers };
      return send(reply, route, await (deps.handlers[name] as (input: unknown, call: Call) => unknown)(input, call));
    },
  });
  await Promise.resolve();
}

async function callOf(deps: HttpDeps, route: Route, request: FastifyRequest, reply: FastifyReply): Promise<Call> {
  // A token that is no longer valid must not keep its holder from signing in again.
  const token = route.access === "public" ? undefined : bearerToken(request.headers);
  const caller =
    route.access === "public"
      ? { principal: anonymous, by: "anonymous" }
      : token === undefined
        ? undefined
        : await deps.authenticate(token);
  if (caller === undefined) throw new BerthError("unauthenticated");
  // At stack scope the service asks, with the stack at hand; here only what concerns the whole installation.
  if (
    typeof route.access === "object" &&
    route.access.at === "installation" &&
    !(await deps.access.may(caller.principal, route.access.permission, {}))
  )
    throw new BerthError("forbidden", { action: route.access.permission, permission: route.access.permission });
  const gone = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) gone.abort(new BerthError("client_closed"));
  });
  const ifMatch = route.versioned === true ? etagValue(request.headers["if-match"]) : undefined;
  const lastEventId = request.headers["last-event-id"];
  return {
    ...caller,
    requestId: request.id,
    signal: gone.signal,
    ...(ifMatch === undefined ? {} : { ifMatch }),
    ...(typeof lastEventId === "string" && lastEventId !== "" ? { lastEventId } : {}),
  };
}

function refuseWithoutUpgrade(route: Route, reply: FastifyReply): BerthError {
  reply.header("upgrade", "websocket");
  return new BerthError("upgrade_required", { protocol: route.kind === "port" ? portProtocol : terminalProtocol });
}

function etagValue(header: string | undefined): string | undefined {
  if (header === undefined || header.trim() === "*") return undefined;
  const match = /^\s*(?:W\/)?"([\x21\x23-\x7e]*)"\s*$/.exec(header);
  if (match?.[1] === undefined) throw new BerthError("invalid_request", { reason: "If-Match is not an ETag" });
  return match[1];
}

function idempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key !== "string" || !/^[\x21-\x7e]{1,255}$/.test(key))
    throw new BerthError("invalid_request", { reason: "Idempotency-Key must be 1 to 255 printable characters" });
  return key;
}

function checkContentType(route: Route, request: FastifyRequest): void {
  if (route.kind === "upload" && !(request.body instanceof Readable))
    throw new BerthError("unsupported_media_type", { type: request.headers["content-type"] ?? "", wanted: uploadTypes.join(", ") });
  if (route.kind === "json" && request.body instanceof Readable) {
    request.body.resume();
    throw new BerthError("unsupported_media_type", { type: request.headers["content-type"] ?? "", wanted: "application/json" });
  }
}

function send(reply: FastifyReply, route: Route, answer: unknown): FastifyReply {
  const status = route.status ?? 200;
  if (status === 204) return reply.code(204).send();
  const versioned = route.versioned === true && status !== 202;
  if (versioned) reply.header("etag", `"${(answer as Versioned<unknown>).revision}"`);
  const body = versioned ? (answer as Versioned<unknown>).body : answer;
  return reply
    .code(status)
    .type("application/json")
    .send(body instanceof Rendered ? body.bytes : JSON.stringify(body));
}

function problemFor(deps: HttpDeps, error: unknown, requestId: string): ReturnType<typeof problemOf> {
  const coded = codedError(error);
  if (coded.code === "internal") deps.logError(error, requestId);
  return problemOf(coded, requestId);
}

function sendProblem(deps: HttpDeps, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemFor(deps, error, request.id);
  if (problem.status === 401) reply.header("www-authenticate", "Bearer");
  const seconds = retryAfter(problem);
  if (seconds !== undefined) reply.header("retry-after", String(seconds));
  return reply.code(problem.status).type("application/problem+json").send(JSON.stringify(problem));
}
