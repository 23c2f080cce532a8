// What every service is told about a call, and the handler types that the route table demands.
import type { IncomingHttpHeaders } from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { Routes, RouteName } from "@berth/contract/api.ts";
import type { Input, Output, Route } from "@berth/contract/route.ts";
import type { Rendered } from "../core/rendered.ts";
import type { Sent } from "../core/sent.ts";
import type { Session } from "../engines/engine.ts";
import type { Principal } from "../db/permissions.ts";
import type { Db } from "../db/pool.ts";

export interface Call {
  readonly principal: Principal;
  /** Shown to people: a user's name. */
  readonly by: string;
  readonly requestId: string;
  readonly signal: AbortSignal;
  /** From If-Match, without quotes; undefined when the caller does not mind. */
  readonly ifMatch?: string;
  /** From Last-Event-ID. */
  readonly lastEventId?: string;
  /** Of a call with an Idempotency-Key: keeps its answer, in the transaction that does the work. Services call it by `keepAnswer` (intent.ts). */
  readonly keep?: (trx: Db, answer: unknown) => Promise<void>;
}

/** An answer with its revision, which becomes the ETag. */
export interface Versioned<T> {
  readonly body: T;
  readonly revision: string;
}

/** An answer, or its words. */
export type Told<T> = T | Rendered<T>;

/** An `events` handler resolves once the caller may have the stream, so that a refusal is a plain problem and not a stream that ends at once. */
export type Handler<R extends Route> = R["kind"] extends "events"
  ? (input: Input<R>, call: Call) => Promise<AsyncIterable<Sent<Output<R>>>>
  : R["kind"] extends "download"
    ? (input: Input<R>, call: Call) => Promise<Readable>
    : R["kind"] extends "upload"
      ? (input: Input<R> & { readonly body: Readable }, call: Call) => Promise<Output<R>>
      : R["kind"] extends "webhook"
        ? (
            input: Omit<Input<R>, "body"> & { readonly body: Buffer; readonly headers: IncomingHttpHeaders },
            call: Call,
          ) => Promise<Output<R>>
        : R["kind"] extends "terminal"
          ? (input: Input<R>, call: Call) => Promise<Session>
          : R["kind"] extends "port"
            ? (input: Input<R>, call: Call) => Promise<Duplex>
            : R extends { readonly versioned: true }
              ? R["status"] extends 202 | 204
                ? (input: Input<R>, call: Call) => Promise<Output<R>>
                : (input: Input<R>, call: Call) => Promise<Versioned<Told<Output<R>>>>
              : (input: Input<R>, call: Call) => Promise<Told<Output<R>>>;

export type Handlers = { readonly [N in RouteName]: Handler<Routes[N]> };
/** The handlers of one resource: `satisfies HandlersOf<typeof stackRoutes>` in its routes.ts. */
export type HandlersOf<T extends Record<string, Route>> = { readonly [N in keyof T]: Handler<T[N]> };
