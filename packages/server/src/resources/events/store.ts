// SQL of the audit log's list, and what the list of events is sorted by and searched in; db/events.ts reads the events themselves.
import { lists } from "@berth/contract/lists.ts";
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, number, uuid, type Keyed, type Slice } from "../page.ts";

/** What a person reads in the parameters: their values. */
const values = sql`(select string_agg(value, ' ') from jsonb_each_text(params))`;

export const eventList = defineList(lists.events, {
  sort: { at: instant("events.at") },
  unique: [number("events.id")],
  search: { code: sql.ref("code"), stack: sql.ref("stack"), component: sql.ref("component"), params: values },
});

export const auditList = defineList(lists.audit, {
  sort: { at: instant("at") },
  unique: [uuid("id")],
  search: { principal: sql.ref("principal"), action: sql.ref("action"), object: sql.ref("object"), params: values },
});
export interface AuditRow {
  readonly seq: number | null;
  readonly at: Date;
  readonly principal: string;
  readonly action: string;
  readonly object: string;
  readonly params: Record<string, unknown>;
  readonly request_id: string | null;
  readonly hash: string | null;
}
export interface AuditQuery {
  readonly object?: string | undefined;
  readonly principal?: string | undefined;
  readonly action?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
  readonly page: Slice;
}
export async function listAudit(trx: Db, { page, ...query }: AuditQuery): Promise<(AuditRow & Keyed)[]> {
  return trx
    .selectFrom("audit")
    .select(["seq", "at", "principal", "action", "object", "params", "request_id", "hash", page.keys.as("cursor_keys")])
    .$if(query.object !== undefined, (q) => q.where("object", "=", query.object ?? ""))
    .$if(query.principal !== undefined, (q) => q.where("principal", "=", query.principal ?? ""))
    .$if(query.action !== undefined, (q) => q.where("action", "=", query.action ?? ""))
    .$if(query.since !== undefined, (q) => q.where("at", ">=", query.since ?? new Date(0)))
    .$if(query.until !== undefined, (q) => q.where("at", "<", query.until ?? new Date(0)))
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}
