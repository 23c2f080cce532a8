// OpenAPI 3.1 from the route table. TypeBox schemas are JSON Schema 2020-12, which OpenAPI 3.1 takes as they are; those with an $id become components.
import { apiPrefix, routes } from "@berth/contract/api.ts";
import { Problem, errors } from "@berth/contract/errors.ts";
import { isSocket, type Route } from "@berth/contract/route.ts";

type Json = Record<string, unknown>;

export function openapi(version: string): Json {
  const schemas: Json = {};
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    const path = `${apiPrefix}${route.path === "/" ? "" : route.path}`.replace(/:(\w+)/g, "{$1}");
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(name, route, schemas);
  }
  refer(Problem, schemas);
  return {
    openapi: "3.1.0",
    info: {
      title: "Berth",
      version,
      description: "A private container cloud: Stacks and Components.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => a.localeCompare(b))),
      responses: refusalComponents(),
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
    "x-error-codes": Object.fromEntries(Object.entries(errors).map(([code, entry]) => [code, entry.status])),
  };
}

/** One entity tag, or `*` (RFC 9110, section 13.1.1). */
const etagPattern = '^(?:\\*|(?:W/)?"[!#-~]*")$';

const contentTypes: Record<Route["kind"], string> = {
  json: "application/json",
  upload: "application/json",
  events: "text/event-stream",
  download: "application/octet-stream",
  terminal: "application/json",
  port: "application/json",
  webhook: "application/json",
};

function operation(name: string, route: Route, schemas: Json): Json {
  const status = isSocket(route) ? "101" : String(route.status ?? 200);
  const empty = status === "204" || status === "101";
  return {
    operationId: name,
    summary: route.summary,
    tags: [route.path.split("/").findLast((part) => part !== "" && !part.startsWith(":")) ?? "installation"],
    security: route.access === "public" ? [] : [{ token: [] }],
    "x-access": route.access,
    parameters: [...parameters("path", route.params, schemas), ...parameters("query", route.query, schemas), ...headers(route)],
    ...(route.kind === "upload"
      ? {
          requestBody: {
            required: true,
            content: {
              "application/x-tar": { schema: { type: "string", format: "binary" } },
              "application/gzip": { schema: { type: "string", format: "binary" } },
              "application/zstd": { schema: { type: "string", format: "binary" } },
            },
          },
        }
      : route.body === undefined
        ? {}
        : { requestBody: { required: true, content: { "application/json": { schema: refer(route.body, schemas) } } } }),
    responses: {
      [status]: {
        description: empty
          ? "Done."
          : route.kind === "events"
            ? "One object in each event's data; in one named `problem`, why it broke off."
            : "OK",
        ...(empty
          ? {}
          : {
              content: { [contentTypes[route.kind]]: { schema: answer(route, schemas) } },
              ...(route.versioned === true ? { headers: { ETag: { schema: { type: "string" } } } } : {}),
            }),
      },
      ...refusals(route),
    },
  };
}

/** An event stream that breaks off says why in its last event, named `problem`. */
function answer(route: Route, schemas: Json): unknown {
  const schema = refer(route.response, schemas);
  return route.kind === "events" ? { anyOf: [schema, { $ref: "#/components/schemas/Problem" }] } : schema;
}

/** What a refusal with this status means. */
const refusalTexts: Readonly<Record<number, string>> = {
  400: "The request is not valid.",
  401: "No valid token.",
  403: "Not allowed, or not by this host name.",
  404: "There is no such thing, or none that the caller may know of.",
  408: "The request did not arrive in time.",
  409: "Not possible in the state that it is in.",
  412: "It was changed meanwhile.",
  413: "More bytes than are taken.",
  415: "Another content type is wanted.",
  422: "Understood, and refused for what it says.",
  426: "Spoken over a WebSocket only.",
  429: "Too many requests.",
  431: "More headers than are taken.",
  500: "Berth failed.",
  503: "Something that is needed does not answer.",
  507: "The disk is full.",
};

function refusalComponents(): Json {
  const content = { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } };
  return Object.fromEntries(Object.entries(refusalTexts).map(([code, description]) => [`Problem${code}`, { description, content }]));
}

/** Every status with which the route can refuse. */
function refusals(route: Route): Json {
  const changes = route.method !== "GET";
  const left: Readonly<Record<number, boolean>> = {
    401: route.access === "public" && route.body === undefined,
    404: route.params === undefined && route.query === undefined && route.body === undefined,
    409: !changes,
    412: !changes || route.versioned !== true,
    413: !changes,
    415: !changes,
    422: !changes,
    426: !isSocket(route),
    507: !changes,
  };
  return Object.fromEntries(
    Object.keys(refusalTexts).flatMap((code) =>
      left[Number(code)] === true ? [] : [[code, { $ref: `#/components/responses/Problem${code}` }]],
    ),
  );
}

function parameters(where: "path" | "query", schema: Route["params"], schemas: Json): Json[] {
  if (schema === undefined) return [];
  const required = new Set((schema as { required?: string[] }).required ?? []);
  return Object.entries(schema.properties).map(([name, property]) => ({
    name,
    in: where,
    required: where === "path" || required.has(name),
    schema: refer(property, schemas),
  }));
}

function headers(route: Route): Json[] {
  const text = { type: "string" };
  return [
    ...(route.idempotent === true
      ? [
          {
            name: "Idempotency-Key",
            in: "header",
            required: false,
            schema: { ...text, pattern: "^[!-~]{1,255}$" },
            description: "The same key with the same request is answered once.",
          },
        ]
      : []),
    ...(route.versioned === true && route.method !== "GET"
      ? [
          {
            name: "If-Match",
            in: "header",
            required: false,
            schema: { ...text, pattern: etagPattern },
            description: "The ETag that the change is based on.",
          },
        ]
      : []),
    ...(route.kind === "events"
      ? [{ name: "Last-Event-ID", in: "header", required: false, schema: text, description: "Goes on after this event." }]
      : []),
  ];
}

/** The schema with every part that has an $id replaced by a reference to its component. */
function refer(schema: unknown, schemas: Json): unknown {
  if (Array.isArray(schema)) return schema.map((item) => refer(item, schemas));
  if (schema === null || typeof schema !== "object") return schema;
  const { $id, ...rest } = schema as Json;
  const plain = Object.fromEntries(
    Object.entries(rest)
      .filter(([key]) => !key.startsWith("~"))
      .map(([key, value]) => [key, refer(value, schemas)]),
  );
  if (typeof $id !== "string") return plain;
  schemas[$id] = plain;
  return { $ref: `#/components/schemas/${$id}` };
}
