// Checks what a caller sent against the route's schemas. Query and path values are text and are converted; a body is taken as it is.
import type { Route } from "@berth/contract/route.ts";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { Value } from "typebox/value";
import { BerthError } from "../core/errors.ts";

export interface RawInput { readonly params: unknown; readonly query: unknown; readonly body: unknown }
export type Validate = (raw: RawInput) => { readonly params: unknown; readonly query: unknown; readonly body: unknown };

/** Compiles a route's checks once. Errors: `invalid_request`, naming the first thing that is wrong. */
export function compileValidation(route: Route): Validate {
  const params = route.params === undefined ? undefined : checker(route.params, "path", true);
  const query = route.query === undefined ? checkEmpty : checker(route.query, "query", true);
  const body = route.body === undefined || route.kind === "upload" ? undefined : checker(route.body, "body", false);
  return (raw) => ({ params: params?.(raw.params), query: query(raw.query ?? {}), body: body === undefined ? raw.body : body(raw.body ?? undefined) });
}

function checkEmpty(value: unknown): unknown {
  const [unknown] = Object.keys(value as object);
  if (unknown !== undefined) throw new BerthError("invalid_request", { reason: `query: ${unknown} is not known here` });
  return value;
}

function checker(schema: TSchema, where: string, convert: boolean): (value: unknown) => unknown {
  const compiled = Compile(schema);
  return (value) => {
    const taken = convert ? Value.Convert(schema, value) : value;
    if (compiled.Check(taken)) return taken;
    throw new BerthError("invalid_request", { reason: firstError(compiled.Errors(taken), where) });
  };
}

function firstError(found: { readonly instancePath: string; readonly message: string; readonly params?: unknown }[], where: string): string {
  const [first] = found.toSorted((a, b) => b.instancePath.length - a.instancePath.length);
  if (first === undefined) return `${where} is not valid`;
  const path = first.instancePath.replaceAll("/", ".").replace(/^\./, "");
  const extra = (first.params as { additionalProperties?: unknown } | undefined)?.additionalProperties;
  const what = Array.isArray(extra) ? `${extra.join(", ")} is not known here` : first.message;
  return `${where}${path === "" ? "" : ` ${path}`}: ${what}`;
}
