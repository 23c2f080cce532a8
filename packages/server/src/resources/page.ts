// Keyset pages: a cursor names the last row by its sort value and id, so that a page costs the same wherever it is and rows that come or go shift nothing.
import { BerthError } from "../core/errors.ts";

export interface PageRequest { readonly cursor?: string; readonly limit?: number }
export const defaultLimit = 50;

/** Opaque text of the row that a page ended with. */
export function encodeCursor(parts: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** The parts back; `invalid_request` for anything that this server did not make. */
export function decodeCursor(cursor: string, length: number): (string | number)[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Array.isArray(parts) && parts.length === length && parts.every((part) => typeof part === "string" || typeof part === "number")) return parts as (string | number)[];
  } catch (error) {
    throw new BerthError("invalid_request", { reason: "the cursor is not one of this list's" }, { cause: error });
  }
  throw new BerthError("invalid_request", { reason: "the cursor is not one of this list's" });
}

/** Cuts one row too many into a page with a cursor. Ask the store for `limit + 1` rows. */
export function toPage<Row, Item>(rows: readonly Row[], limit: number, item: (row: Row) => Item, key: (row: Row) => readonly (string | number)[]): { items: Item[]; cursor?: string } {
  const kept = rows.slice(0, limit);
  const last = kept.at(-1);
  return { items: kept.map(item), ...(rows.length > limit && last !== undefined ? { cursor: encodeCursor(key(last)) } : {}) };
}

/** `sort` as field and direction; `invalid_request` for a field that cannot be sorted by. */
export function parseSort<F extends string>(sort: string | undefined, fields: readonly F[], fallback: { field: F; descending: boolean }): { field: F; descending: boolean } {
  if (sort === undefined) return fallback;
  const descending = sort.startsWith("-");
  const name = descending ? sort.slice(1) : sort;
  const field = fields.find((candidate) => candidate === name);
  if (field === undefined) throw new BerthError("invalid_request", { reason: `cannot sort by ${name}; possible: ${fields.join(", ")}` });
  return { field, descending };
}

/** Text for `ILIKE`, with its wildcards taken literally. */
export function likePattern(search: string): string {
  return `%${search.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;
}
