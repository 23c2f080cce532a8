// One spelling for each JSON value, so that equal content has an equal hash whatever order its keys were written in.
import { createHash } from "node:crypto";

/** JSON with object keys sorted and undefined left out; alone or in a list, undefined is `null`. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? "null";
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  // As JSON.stringify does it: a Date is its instant, not an empty object like every other Date.
  if (writesItself(value)) return sorted(value.toJSON());
  return Object.fromEntries(
    Object.entries(value as Record<string, unknown>)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, item]) => [key, sorted(item)]),
  );
}

function writesItself(value: object): value is { toJSON: () => unknown } {
  return "toJSON" in value && typeof value.toJSON === "function";
}

/** `sha256:<hex>` of the value's canonical JSON. */
export function contentHash(value: unknown): string {
  return `sha256:${createHash("sha256").update(canonicalJson(value)).digest("hex")}`;
}
