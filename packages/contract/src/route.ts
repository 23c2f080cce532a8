// What a route is: one typed entry gives validation, OpenAPI, handler and client types. Every route declares who may call it.
import { Type, type Static, type TObject, type TProperties, type TSchema } from "typebox";
import type { ListFacts } from "./lists.ts";

/** `public`: no token; `signed-in`: any valid token; otherwise a permission (permissions.ts) asked at that scope. The service asks again with the object at hand. */
export type RouteAccess = "public" | "signed-in" | { readonly permission: string; readonly at: "installation" | "stack" };

/**
 * `json`: body and answer are JSON. `upload`: the body is a byte stream, the answer JSON. `events`: the answer is text/event-stream,
 * one `response` object per event's data, in the wire form of sse.ts (`event: end` when nothing will follow). `download`: the answer is a byte stream. `terminal`: a WebSocket that speaks terminal.ts; `port`: one that speaks port.ts.
 * `webhook`: the body is JSON of somebody else's making, taken as its bytes, which may be signed; who sends it is found out from it and its headers.
 */
export type RouteKind = "json" | "upload" | "events" | "download" | "terminal" | "port" | "webhook";

/** It begins with an upgrade of the connection, and has no answer in HTTP. */
export const isSocket = ({ kind }: { readonly kind: RouteKind }): boolean => kind === "terminal" || kind === "port";

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below /api/v1, with `:name` parameters. */
  readonly path: string;
  readonly summary: string;
  readonly kind: RouteKind;
  readonly access: RouteAccess;
  readonly params?: TObject;
  readonly query?: TObject;
  readonly body?: TSchema;
  readonly response: TSchema;
  readonly status?: 200 | 201 | 202 | 204;
  /** Accepts Idempotency-Key (creates). */
  readonly idempotent?: boolean;
  /** Answers with ETag and obeys If-Match. */
  readonly versioned?: boolean;
  /** A list: what it can be sorted by and searched in. */
  readonly list?: ListFacts;
  /** What this route does to which objects, as `Object.verb`: their `allowed` says whether it may be called. */
  readonly verbs?: readonly Verb[];
}

/** The $id of an object's schema, and a verb that its `allowed` speaks of. */
export type Verb = `${string}.${string}`;

type Schema<T> = T extends TSchema ? Static<T> : undefined;
type Field<R, K extends string> = K extends keyof R ? Schema<R[K]> : undefined;
type Part<K extends string, V> = [V] extends [undefined] ? unknown : { readonly [P in K]: V };
/** What a caller hands in: `params`, `query` and `body` where the route has them. */
export type Input<R> = Part<"params", Field<R, "params">> & Part<"query", Field<R, "query">> & Part<"body", Field<R, "body">>;
export type Output<R extends Route> = Static<R["response"]>;

/** No content. */
export const Empty = Type.Object({}, { additionalProperties: false });

/** A page of a list. `cursor` goes back as `?cursor=` for the next page; absent on the last. */
export function Page<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), cursor: Type.Optional(Type.String()) }, { additionalProperties: false });
}
/** What every list takes, and its own filters beside it. */
export function ListQuery<F extends TProperties>(facts: ListFacts, filters: F) {
  return Type.Object(
    {
      cursor: Type.Optional(Type.String({ maxLength: 4096, description: "Goes on where a page ended, in the same order." })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 50 })),
      search: Type.Optional(Type.String({ maxLength: 200, description: `Only items that contain this in ${facts.search.join(", ")}.` })),
      sort: Type.Optional(
        Type.String({
          enum: facts.sort.flatMap((field) => [field, `-${field}`]),
          description: `A field's name, \`-\` before it for descending; \`${facts.standard}\` when absent.`,
        }),
      ),
      ...filters,
    },
    { additionalProperties: false },
  );
}

/** Which verbs this caller may use now; where not, why: a code of `reasonsEn` with parameters. What is not ok is refused when it is called all the same, or changes nothing. */
export const Allowed = Type.Record(
  Type.String(),
  Type.Object(
    {
      ok: Type.Boolean(),
      reason: Type.Optional(
        Type.Object({ code: Type.String(), params: Type.Record(Type.String(), Type.String()) }, { additionalProperties: false }),
      ),
    },
    { additionalProperties: false },
  ),
);
export type Allowed = Static<typeof Allowed>;
export const reasonsEn: Record<string, string> = {
  no_permission: "You do not have the permission {permission} here.",
  already_stopped: "It is stopped already.",
  not_stopped: "It is not stopped.",
  never_released: "Nothing was released yet.",
  no_older_release: "There is no older release.",
  rollout_ended: "The rollout has ended.",
  rollout_running: "The rollout is still running.",
  rollout_under_way: "A rollout is under way.",
  rollout_succeeded: "The rollout succeeded.",
  rollout_superseded: "A newer rollout took over.",
  nothing_kept: "Neither its build nor its release is kept.",
  build_ended: "The build has ended.",
  build_not_ended: "The build has not ended.",
  build_succeeded: "The build succeeded.",
  task_ended: "The task has ended.",
  own_machine: "It is its server's own machine.",
  has_stacks: "It has stacks.",
  being_deleted: "It is being deleted.",
  volume_in_use: "A component uses it.",
  secret_in_use: "A component uses it.",
  is_autoscaled: "The autoscaler decides how many instances it has.",
  not_scalable: "Only web components and workers are scaled by what their instances use.",
  no_autoscaler: "Its cluster does not scale by what instances use.",
  not_placeable: "Only web components and workers run in several clusters.",
  is_cron: "A cron component has no instances of its own; its runs are tasks.",
  is_stopped: "It is stopped.",
  no_schedule: "Only a cron component has a schedule to run.",
  not_running: "It does not run.",
};
