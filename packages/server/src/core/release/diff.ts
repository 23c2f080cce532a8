// What differs between two JSON values, field by field, for people to read. Secret values never get here: they are references by then.
import type { FieldChange } from "@berth/contract/resources/plans.ts";
import { canonicalJson } from "../canonical.ts";

/** Changes by dotted path, in order of keys; lists are compared as wholes. Absent and null are the same. */
export function diffFields(from: unknown, to: unknown, path = ""): FieldChange[] {
  if (canonicalJson(from ?? null) === canonicalJson(to ?? null)) return [];
  if (isRecord(from) && isRecord(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort();
    return keys.flatMap((key) => diffFields(from[key], to[key], path === "" ? key : `${path}.${key}`));
  }
  return [{ path, ...(from === undefined || from === null ? {} : { from }), ...(to === undefined || to === null ? {} : { to }) }];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
