// Events and audit entries: lists, and the one watch stream that carries many topics.
import type { Event } from "@berth/contract/resources/events.ts";
import { sql } from "kysely";
import type { EventBatch, EventReader, StoredEvent } from "../../db/events.ts";
import type { Page } from "../../core/page.ts";
import { sent, type Sent } from "../../core/sent.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { decodeCursor, defaultLimit, likePattern, toPage, type PageRequest } from "../page.ts";
import type { StackService } from "../stacks/service.ts";

export interface EventQuery { readonly topics?: string; readonly stack?: string; readonly component?: string; readonly code?: string }
interface AuditItem { seq?: number; at: string; principal: string; action: string; object: string; params: Record<string, unknown>; requestId?: string; hash?: string }
export type EventService = ReturnType<typeof createEventService>;

export function createEventService(deps: ResourceDeps & { readonly events: EventReader }, stacks: StackService) {
  async function filterFor(call: Call, query: EventQuery): Promise<{ teams: readonly string[] | "all"; topics?: string[]; stack?: string; component?: string; code?: string }> {
    const topics = query.topics?.split(",").map((topic) => topic.trim()).filter((topic) => topic !== "");
    return { teams: await stacks.visibleTeams(call), ...(topics === undefined || topics.length === 0 ? {} : { topics }), ...(query.stack === undefined ? {} : { stack: query.stack }), ...(query.component === undefined ? {} : { component: query.component }), ...(query.code === undefined ? {} : { code: query.code }) };
  }

  return {
    async list(call: Call, query: PageRequest & EventQuery): Promise<Page<Event>> {
      const limit = query.limit ?? defaultLimit;
      const rows = await deps.events.list(await filterFor(call, query), { limit: limit + 1, ...(query.cursor === undefined ? {} : { before: query.cursor }) });
      const kept = rows.slice(0, limit);
      const last = kept.at(-1);
      return { items: kept.map(present), ...(rows.length > limit && last !== undefined ? { cursor: last.cursor } : {}) };
    },

    async watch(call: Call, query: { topics?: string; after?: string }): Promise<AsyncIterable<Sent<Event>>> {
      const filter = await filterFor(call, query);
      return sent(each(deps.events.follow(call.lastEventId ?? query.after, filter, call.signal)), (event) => ({ id: event.cursor, data: present(event) }));
    },

    async audit(call: Call, query: PageRequest & { search?: string; object?: string; principal?: string }): Promise<Page<AuditItem>> {
      const limit = query.limit ?? defaultLimit;
      const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, 2);
      const rows = await deps.db.selectFrom("audit").select(["id", "seq", "at", "principal", "action", "object", "params", "request_id", "hash", sql<string>`at::text`.as("exact")])
        .$if(query.object !== undefined, (q) => q.where("object", "=", query.object ?? ""))
        .$if(query.principal !== undefined, (q) => q.where("principal", "=", query.principal ?? ""))
        .$if(query.search !== undefined, (q) => q.where((eb) => eb.or([eb("action", "ilike", likePattern(query.search ?? "")), eb("object", "ilike", likePattern(query.search ?? ""))])))
        .$if(cursor !== undefined, (q) => q.where(sql<boolean>`(at, id) < (${String(cursor?.[0])}::timestamptz, ${String(cursor?.[1])}::uuid)`))
        .orderBy("at", "desc").orderBy("id", "desc").limit(limit + 1).execute();
      return toPage(rows, limit, (row) => ({ ...(row.seq === null ? {} : { seq: row.seq }), at: row.at.toISOString(), principal: row.principal, action: row.action, object: row.object, params: row.params, ...(row.request_id === null ? {} : { requestId: row.request_id }), ...(row.hash === null ? {} : { hash: row.hash }) }), (row) => [row.exact, row.id]);
    },
  };
}

async function* each(batches: AsyncIterable<EventBatch>): AsyncGenerator<StoredEvent> {
  for await (const batch of batches) yield* batch.events;
}

function present(event: StoredEvent): Event {
  return { id: event.cursor, at: event.at.toISOString(), code: event.code, params: event.params, topics: event.topics, ...(event.stack === null ? {} : { stack: event.stack }), ...(event.component === null ? {} : { component: event.component }), ...(event.cause === null ? {} : { cause: event.cause }) };
}
