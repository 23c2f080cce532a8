// Events and audit entries: lists, and the one watch stream that carries many topics.
import type { Event } from "@berth/contract/resources/events.ts";
import type { EventBatch, EventFilter, EventReader, StoredEvent } from "../../db/events.ts";
import type { Page } from "../../core/page.ts";
import { sent, type Sent } from "../../core/sent.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import type { StackService } from "../stacks/service.ts";
import * as store from "./store.ts";

export interface EventQuery {
  readonly topics?: string;
  readonly stack?: string;
  readonly component?: string;
  readonly code?: string;
  readonly since?: string;
  readonly until?: string;
}
export interface AuditListQuery extends ListRequest {
  readonly object?: string;
  readonly principal?: string;
  readonly action?: string;
  readonly since?: string;
  readonly until?: string;
}
interface AuditItem {
  seq?: number;
  at: string;
  principal: string;
  action: string;
  object: string;
  params: Record<string, unknown>;
  requestId?: string;
  hash?: string;
}
export type EventService = ReturnType<typeof createEventService>;

export function createEventService(deps: ResourceDeps & { readonly events: EventReader }, stacks: StackService) {
  async function filterFor(call: Call, query: EventQuery): Promise<EventFilter> {
    const topics = query.topics
      ?.split(",")
      .map((topic) => topic.trim())
      .filter((topic) => topic !== "");
    return {
      within: await stacks.visible(call),
      ...(topics === undefined || topics.length === 0 ? {} : { topics }),
      ...(query.stack === undefined ? {} : { stack: query.stack }),
      ...(query.component === undefined ? {} : { component: query.component }),
      ...(query.code === undefined ? {} : { code: query.code }),
      ...(query.since === undefined ? {} : { since: new Date(query.since) }),
      ...(query.until === undefined ? {} : { until: new Date(query.until) }),
    };
  }

  return {
    async list(call: Call, query: ListRequest & EventQuery): Promise<Page<Event>> {
      const page = slice(store.eventList, query);
      return toPage(await deps.events.list(await filterFor(call, query), page), page, present);
    },

    async watch(call: Call, query: { topics?: string; after?: string }): Promise<AsyncIterable<Sent<Event>>> {
      const filter = await filterFor(call, query);
      return sent(each(await deps.events.follow(call.lastEventId ?? query.after, filter, call.signal)), (event) => ({
        id: event.cursor,
        data: present(event),
      }));
    },

    async audit(query: AuditListQuery): Promise<Page<AuditItem>> {
      const page = slice(store.auditList, query);
      const { object, principal, action, since, until } = query;
      const rows = await store.listAudit(deps.db, {
        page,
        object,
        principal,
        action,
        ...(since === undefined ? {} : { since: new Date(since) }),
        ...(until === undefined ? {} : { until: new Date(until) }),
      });
      return toPage(rows, page, (row) => ({
        ...(row.seq === null ? {} : { seq: row.seq }),
        at: row.at.toISOString(),
        principal: row.principal,
        action: row.action,
        object: row.object,
        params: row.params,
        ...(row.request_id === null ? {} : { requestId: row.request_id }),
        ...(row.hash === null ? {} : { hash: row.hash }),
      }));
    },
  };
}

async function* each(batches: AsyncIterable<EventBatch>): AsyncGenerator<StoredEvent> {
  for await (const batch of batches) yield* batch.events;
}

function present(event: StoredEvent): Event {
  return {
    id: event.cursor,
    at: event.at.toISOString(),
    code: event.code,
    params: event.params,
    topics: event.topics,
    ...(event.stack === null ? {} : { stack: event.stack }),
    ...(event.component === null ? {} : { component: event.component }),
    ...(event.cause === null ? {} : { cause: event.cause }),
  };
}
