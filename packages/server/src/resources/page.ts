// Lists in SQL: search, order and keyset pages of every list of the contract. A cursor names the last row by what the list is sorted by and by what makes
// it unique, so that a page costs the same wherever it is, rows that come or go shift nothing, and no row is left out or told twice.
import type { ListFacts } from "@berth/contract/lists.ts";
import { sql, type RawBuilder } from "kysely";
import { BerthError } from "../core/errors.ts";
import type { Page } from "../core/page.ts";

export interface PageRequest {
  readonly cursor?: string;
  readonly limit?: number;
}
export interface ListRequest extends PageRequest {
  readonly search?: string;
  readonly sort?: string;
}
export const defaultLimit = 50;

/** A column, or an expression that is never null: use `orLast` for one that may be. */
export interface SortKey {
  readonly by: RawBuilder<unknown>;
  readonly type: "text" | "number" | "instant" | "uuid";
}

export const text = (reference: string): SortKey => ({ by: sql.ref(reference), type: "text" });
export const number = (reference: string): SortKey => ({ by: sql.ref(reference), type: "number" });
export const instant = (reference: string): SortKey => ({ by: sql.ref(reference), type: "instant" });
export const uuid = (reference: string): SortKey => ({ by: sql.ref(reference), type: "uuid" });
/** An instant that may be absent: it counts as later than any. */
export const instantOrLast = (reference: string): SortKey => ({ by: sql`coalesce(${sql.ref(reference)}, 'infinity')`, type: "instant" });

/** One list of the contract in SQL: every field that it may be sorted by or searched in has its expression. */
export interface List {
  readonly facts: ListFacts;
  readonly sort: Readonly<Record<string, SortKey>>;
  /** What makes a row unique among the list's. */
  readonly unique: readonly SortKey[];
  readonly search: readonly RawBuilder<unknown>[];
}

/** The types demand an expression for exactly the fields that the contract names. `search` gives text, or a condition over the pattern for what is no single text. */
export function defineList<F extends ListFacts>(
  facts: F,
  columns: {
    readonly sort: Readonly<Record<F["sort"][number], SortKey>>;
    readonly unique: readonly SortKey[];
    readonly search: Readonly<Record<F["search"][number], RawBuilder<unknown>>>;
  },
): List {
  return {
    facts,
    sort: columns.sort,
    unique: columns.unique,
    search: facts.search.map((field) => (columns.search as Readonly<Record<string, RawBuilder<unknown>>>)[field] ?? sql`''`),
  };
}

type KeyValue = string | number;
/** What a row has beside its own columns: the values that a cursor is made of. */
export interface Keyed {
  readonly cursor_keys: unknown[];
}

/** A request as parts of a query: `where`, the order, and `keys` to select as `cursor_keys`. Ask for `limit + 1` rows and cut them with `toPage`. */
export interface Slice {
  readonly where: RawBuilder<boolean>;
  readonly order: RawBuilder<unknown>;
  readonly keys: RawBuilder<unknown[]>;
  readonly limit: number;
  readonly sort: string;
  readonly types: readonly SortKey["type"][];
}

/** Errors: `invalid_request` for a field that the list has not, and for a cursor that is not of this list in this order. */
export function slice(list: List, request: ListRequest): Slice {
  const sort = request.sort ?? list.facts.standard;
  const descending = sort.startsWith("-");
  const first = list.facts.sort.includes(descending ? sort.slice(1) : sort) ? list.sort[descending ? sort.slice(1) : sort] : undefined;
  if (first === undefined)
    throw new BerthError("invalid_request", { reason: `cannot sort by ${sort.slice(0, 40)}; possible: ${list.facts.sort.join(", ")}` });
  const keys = [first, ...list.unique];
  const conditions: RawBuilder<unknown>[] = [];
  if (request.search !== undefined && request.search !== "") conditions.push(found(list, request.search));
  if (request.cursor !== undefined) conditions.push(after(keys, decodeCursor(request.cursor, sort, keys), descending));
  const direction = descending ? sql`desc` : sql`asc`;
  return {
    sort,
    limit: request.limit ?? defaultLimit,
    types: keys.map((key) => key.type),
    where: conditions.length === 0 ? sql<boolean>`true` : sql<boolean>`${sql.join(conditions, sql` and `)}`,
    order: sql`${sql.join(keys.map((key) => sql`${key.by} ${direction}`))}`,
    keys: sql<unknown[]>`jsonb_build_array(${sql.join(keys.map(cursorValue))})`,
  };
}

function found(list: List, search: string): RawBuilder<unknown> {
  const pattern = likePattern(search);
  return sql`(${sql.join(
    list.search.map((expression) => sql`${expression} ilike ${pattern}`),
    sql` or `,
  )})`;
}

/** Instants as milliseconds, which is how exact every column is; `infinity` has none. */
function cursorValue(key: SortKey): RawBuilder<unknown> {
  if (key.type !== "instant") return key.by;
  return sql`case when ${key.by} = 'infinity' then 'infinity'::text else round(extract(epoch from ${key.by}) * 1000)::bigint::text end`;
}

function after(keys: readonly SortKey[], values: readonly KeyValue[], descending: boolean): RawBuilder<unknown> {
  const row = sql`(${sql.join(keys.map((key) => key.by))})`;
  const last = sql`(${sql.join(keys.map((key, index) => typed(key, values[index] ?? "")))})`;
  return descending ? sql`${row} < ${last}` : sql`${row} > ${last}`;
}

function typed(key: SortKey, value: KeyValue): RawBuilder<unknown> {
  switch (key.type) {
    case "text":
      return sql`${value}::text`;
    case "number":
      return sql`${value}::bigint`;
    case "uuid":
      return sql`${value}::uuid`;
    case "instant":
      return value === "infinity" ? sql`'infinity'::timestamptz` : sql`${new Date(Number(value))}::timestamptz`;
    default:
      return key.type satisfies never;
  }
}

const shapes: Readonly<Record<SortKey["type"], (value: unknown) => boolean>> = {
  text: (value) => typeof value === "string" && !value.includes("\0"),
  number: (value) => Number.isSafeInteger(value),
  uuid: (value) => typeof value === "string" && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
  instant: (value) => value === "infinity" || (typeof value === "string" && /^\d{1,14}$/.test(value)),
};

/** Opaque text of the row that a page ended with, and of the order that it means. */
export function encodeCursor(sort: string, values: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([sort, ...values])).toString("base64url");
}

function decodeCursor(cursor: string, sort: string, keys: readonly SortKey[]): KeyValue[] {
  const [of, ...values] = parsed(cursor);
  const fits = of === sort && values.length === keys.length && keys.every((key, index) => shapes[key.type](values[index]));
  if (!fits)
    throw new BerthError("invalid_request", {
      reason:
        typeof of === "string" && of !== sort && values.length > 0
          ? "the cursor belongs to another order of this list"
          : "the cursor is not one of this list's",
    });
  return values as KeyValue[];
}

function parsed(cursor: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    return Array.isArray(parts) ? (parts as unknown[]) : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

/** Cuts one row too many into a page with a cursor. */
export function toPage<Row extends Keyed, Item>(
  rows: readonly Row[],
  { limit, sort }: Pick<Slice, "limit" | "sort">,
  item: (row: Row) => Item,
): Page<Item> {
  const kept = rows.slice(0, limit);
  const last = kept.at(-1);
  return { items: kept.map(item), ...(rows.length > limit && last !== undefined ? { cursor: encodeCursor(sort, last.cursor_keys) } : {}) };
}

/** The revision that an If-Match names; -1, which no row has, for what this server never gave out. */
export function revisionOf(given: string): number {
  return /^\d{1,15}$/.test(given) ? Number(given) : -1;
}

/** Text for `ILIKE`, with its wildcards taken literally. */
export function likePattern(search: string): string {
  return `%${search.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;
}
