// A change of intent is one transaction: the rows, an event, an audit entry and a due row (promise 2). This is the only way services write the last three.
import type { EventCode } from "@berth/contract/resources/events.ts";
import type { Cause } from "@berth/contract/causes.ts";
import { appendAudit } from "../db/audit.ts";
import { appendEvent } from "../db/events.ts";
import type { Db } from "../db/pool.ts";
import { enqueue } from "../reconcile/queue.ts";
import type { Call } from "./call.ts";

export interface StackScope { readonly id: string; readonly name: string; readonly teamId: string; readonly cluster: string }

export interface EventParts {
  readonly code: EventCode;
  readonly params?: Record<string, unknown>;
  readonly component?: string;
  /** Beyond `stack:S` and `component:S/C`, which every event of them has. */
  readonly topics?: readonly string[];
  readonly cause?: Cause;
}

/** An event of a stack or one of its components. */
export async function stackEvent(trx: Db, stack: Pick<StackScope, "name" | "teamId">, event: EventParts): Promise<void> {
  await appendEvent(trx, {
    code: event.code,
    teamId: stack.teamId,
    stack: stack.name,
    ...(event.component === undefined ? {} : { component: event.component }),
    params: { stack: stack.name, ...(event.component === undefined ? {} : { component: event.component }), ...event.params },
    ...(event.cause === undefined ? {} : { cause: event.cause }),
    topics: [`stack:${stack.name}`, ...(event.component === undefined ? [] : [`component:${stack.name}/${event.component}`]), ...(event.topics ?? [])],
  });
}

/** Who did what; `object` is named like a topic. */
export async function audit(trx: Db, call: Pick<Call, "by" | "requestId">, action: string, object: string, params: Record<string, unknown> = {}): Promise<void> {
  await appendAudit(trx, { principal: call.by, action, object, params, requestId: call.requestId });
}

/** Puts a component on its loop's list. */
export async function wakeComponent(trx: Db, componentId: string, cluster: string): Promise<void> {
  await enqueue(trx, { kind: "component", key: componentId, cluster });
}
