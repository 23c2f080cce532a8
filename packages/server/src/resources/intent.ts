// A change of intent is one transaction: the rows, an event, an audit entry and a due row (promise 2). This is the only way services write the last three.
import type { EventCode } from "@berth/contract/resources/events.ts";
import type { Cause } from "@berth/contract/causes.ts";
import { appendAudit } from "../db/audit.ts";
import { appendEvents } from "../db/events.ts";
import type { Db } from "../db/pool.ts";
import { bury } from "../db/tombstones.ts";
import { enqueue } from "../reconcile/queue.ts";
import type { Call } from "./call.ts";

export interface StackScope {
  readonly id: string;
  readonly name: string;
  readonly teamId: string;
  readonly cluster: string;
}

export interface EventParts {
  readonly code: EventCode;
  readonly params?: Record<string, unknown>;
  readonly component?: string;
  /** Beyond `stack:S` and `component:S/C`, which every event of them has. */
  readonly topics?: readonly string[];
  readonly cause?: Cause;
}

/** Events of a stack or of its components, in their order. */
export async function stackEvents(trx: Db, stack: Pick<StackScope, "name" | "teamId">, events: readonly EventParts[]): Promise<void> {
  await appendEvents(
    trx,
    events.map((event) => ({
      code: event.code,
      teamId: stack.teamId,
      stack: stack.name,
      ...(event.component === undefined ? {} : { component: event.component }),
      params: { stack: stack.name, ...(event.component === undefined ? {} : { component: event.component }), ...event.params },
      ...(event.cause === undefined ? {} : { cause: event.cause }),
      topics: [
        `stack:${stack.name}`,
        ...(event.component === undefined ? [] : [`component:${stack.name}/${event.component}`]),
        ...(event.topics ?? []),
      ],
    })),
  );
}

export const stackEvent = (trx: Db, stack: Pick<StackScope, "name" | "teamId">, event: EventParts): Promise<void> =>
  stackEvents(trx, stack, [event]);

/** Who did what; `object` is named like a topic. */
export async function audit(
  trx: Db,
  call: Pick<Call, "by" | "requestId">,
  action: string,
  object: string,
  params: Record<string, unknown> = {},
): Promise<void> {
  await appendAudit(trx, { principal: call.by, action, object, params, requestId: call.requestId });
}

/**
 * Keeps what a call with an Idempotency-Key will be answered, in the same transaction as its work: a process that dies between the work and the answer must
 * not have done what a repetition would do again (promise 2). Every route that is `idempotent` does this.
 */
export async function keepAnswer<T>(trx: Db, call: Pick<Call, "keep">, answer: T): Promise<T> {
  await call.keep?.(trx, answer);
  return answer;
}

/** Decides that a component is to go: what is taken off its cluster goes on the word of this. */
export async function buryComponent(trx: Db, stack: StackScope, component: { readonly id: string; readonly name: string }): Promise<void> {
  await bury(trx, { kind: "component", stack: stack.name, component: component.name }, stack);
  await wakeComponent(trx, component.id, stack.cluster);
}

/** Puts the looks at a stack's followed images on their loop's list. */
export async function wakeLooks(trx: Db, stackId: string, cluster: string): Promise<void> {
  await enqueue(trx, { kind: "image-look", key: stackId, cluster });
}

/** Puts a component on its loop's list. */
export async function wakeComponent(trx: Db, componentId: string, cluster: string): Promise<void> {
  await enqueue(trx, { kind: "component", key: componentId, cluster });
}

/** All of a stack. */
export async function wakeComponents(trx: Db, { id, cluster }: Pick<StackScope, "id" | "cluster">): Promise<void> {
  const rows = await trx
    .selectFrom("components as c")
    .leftJoin("clusters as k", "k.id", "c.cluster_id")
    .select(["c.id", "k.name as elsewhere"])
    .where("c.stack_id", "=", id)
    .orderBy("c.id")
    .execute();
  for (const row of rows) await wakeComponent(trx, row.id, row.elsewhere ?? cluster);
}
