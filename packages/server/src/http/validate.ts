// Checks what a caller sent against the route's schemas. Query and path values are text and are converted; a body is taken as it is.
import type { Route } from "@berth/contract/route.ts";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { BerthError } from "../core/errors.ts";

export interface RawInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}
export type Validate = (raw: RawInput) => { readonly params: unknown; readonly query: unknown; readonly body: unknown };

/** Compiles a route's checks once. Errors: `invalid_request`, naming the first thing that is wrong. */
export function compileValidation(route: Route): Validate {
  const params = route.params === undefined ? undefined : checker(route.params, "path", fromText(route.params));
  const query = route.query === undefined ? checkEmpty : checker(route.query, "query", fromText(route.query));
  const body = route.body === undefined || route.kind === "upload" || route.kind === "webhook" ? undefined : checker(route.body, "body");
  return (raw) => {
    const checked = {
      params: params?.(raw.params),
      query: query(raw.query ?? {}),
      body: body === undefined ? raw.body : body(raw.body ?? undefined),
    };
    for (const [where, value] of Object.entries(checked)) if (!(where === "body" && body === undefined)) refuseUnstorable(value, where);
    return checked;
  };
}

/** Text that no database column can hold: a NUL, or half of a surrogate pair. */
function refuseUnstorable(value: unknown, where: string): void {
  if (typeof value === "string") {
    if (value.includes("\0") || !value.isWellFormed())
      throw new BerthError("invalid_request", { reason: `${where}: a text has a character that is none (NUL or half of a pair)` });
  } else if (value !== null && typeof value === "object") {
    for (const [key, part] of Object.entries(value)) {
      refuseUnstorable(key, where);
      refuseUnstorable(part, where);
    }
  }
}

function checkEmpty(value: unknown): unknown {
  const [unknown] = Object.keys(value as object);
  if (unknown !== undefined) throw new BerthError("invalid_request", { reason: `query: ${unknown} is not known here` });
  return value;
}

/** Numbers and truth values from their text: as JSON writes them, and in no other way, so that a slip (`limit=true`) is refused and not guessed at. */
function fromText(schema: TSchema): (value: unknown) => unknown {
  const properties = Object.entries("properties" in schema ? (schema.properties as Record<string, { readonly type?: unknown }>) : {});
  const numbers = properties.flatMap(([name, { type }]) => (type === "integer" ? [name] : []));
  const truths = properties.flatMap(([name, { type }]) => (type === "boolean" ? [name] : []));
  return (value) => {
    const taken = { ...(value as Record<string, unknown>) };
    for (const name of numbers) {
      const text = taken[name];
      if (typeof text === "string" && /^-?(?:0|[1-9]\d*)$/.test(text)) taken[name] = Number(text);
    }
    for (const name of truths) {
      const text = taken[name];
      if (text === "true" || text === "false") taken[name] = text === "true";
    }
    return taken;
  };
}

function checker(schema: TSchema, where: string, read: (value: unknown) => unknown = (value) => value): (value: unknown) => unknown {
  const compiled = Compile(schema);
  return (value) => {
    const taken = read(value);
    if (compiled.Check(taken)) return taken;
    throw new BerthError("invalid_request", { reason: firstError(compiled.Errors(taken), where) });
  };
}

interface Mistake {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params?: unknown;
}

function firstError(found: Mistake[], where: string): string {
  const [first] = found.toSorted((a, b) => b.instancePath.length - a.instancePath.length);
  if (first === undefined) return `${where} is not valid`;
  const path = first.instancePath.replaceAll("/", ".").replace(/^\./, "");
  return `${where}${path === "" ? "" : ` ${path}`}: ${whatIsWrong(first)}`;
}

function whatIsWrong({ keyword, message, params }: Mistake): string {
  const { additionalProperties, allowedValues } = (params ?? {}) as { additionalProperties?: unknown; allowedValues?: unknown };
  if (Array.isArray(additionalProperties)) return `${additionalProperties.join(", ")} is not known here`;
  if (keyword === "enum" && Array.isArray(allowedValues)) return `must be one of ${allowedValues.join(", ")}`;
  return message;
}
