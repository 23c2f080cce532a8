// What every `list` verb has in common: the options of a list, and a page as a table or as the API's object.
import type { ListFacts } from "@berth/contract/lists.ts";
import { flag, integer, text } from "../command.ts";
import type { Context } from "../context.ts";
import type { Column } from "../output/table.ts";

export const pageOptions = {
  limit: integer("--limit <n>", "at most this many items (500 at most)", 1),
  cursor: text("--cursor <cursor>", "go on where a page ended"),
  all: flag("--all", "every page"),
};
/** The options of one list of the API, which names the fields it can be sorted by and searched in. */
export function listOptions(facts: ListFacts) {
  return { ...pageOptions, ...findOptions(facts) };
}
export function findOptions(facts: ListFacts) {
  return {
    search: text("--search <text>", `only items that contain this in ${words(facts.search, "or")}`),
    sort: text(
      "--sort <field>",
      `by ${words(facts.sort, "or")}, \`-\` before it for descending; without it \`${facts.standard}\``,
      facts.sort.flatMap((field) => [field, `-${field}`]),
    ),
  };
}

function words(fields: readonly string[], last: string): string {
  return fields.length < 2 ? fields.join("") : `${fields.slice(0, -1).join(", ")} ${last} ${fields.at(-1) ?? ""}`;
}

export interface ListRequest {
  readonly limit: number | undefined;
  readonly cursor: string | undefined;
  readonly all: boolean;
  readonly search?: string | undefined;
  readonly sort?: string | undefined;
}
interface ListQuery {
  readonly cursor: string | undefined;
  readonly limit: number | undefined;
  readonly search: string | undefined;
  readonly sort: string | undefined;
}
interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

/** Prints one page, or with --all every one of them as one; `what` names the items when there are none. */
export async function showList<T>(
  ctx: Context,
  request: ListRequest,
  fetch: (query: ListQuery) => Promise<Page<T>>,
  columns: readonly Column<T>[],
  what: string,
): Promise<void> {
  const page = await read(request, fetch);
  showPage(ctx, page, columns, what);
}

export function showPage<T>(ctx: Context, page: Page<T>, columns: readonly Column<T>[], what: string): void {
  if (ctx.out.json) return ctx.out.object(page);
  if (page.items.length === 0) ctx.out.note(ctx.say("nothing", { what }));
  else ctx.out.table(columns, page.items);
  if (page.cursor !== undefined) ctx.out.note(ctx.say("more", { cursor: page.cursor }));
}

async function read<T>(request: ListRequest, fetch: (query: ListQuery) => Promise<Page<T>>): Promise<Page<T>> {
  const query = {
    cursor: request.cursor,
    limit: request.limit ?? (request.all ? 500 : undefined),
    search: request.search,
    sort: request.sort,
  };
  let page = await fetch(query);
  if (!request.all) return page;
  const items = [...page.items];
  while (page.cursor !== undefined) {
    page = await fetch({ ...query, cursor: page.cursor });
    items.push(...page.items);
  }
  return { items };
}
