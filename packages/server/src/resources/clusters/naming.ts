// The one place where names of clusters that people say become those of the rows, and the other way round: around every handler, by what the contract marks as such a name.
import { routes, type RouteName } from "@berth/contract/api.ts";
import type { Route } from "@berth/contract/route.ts";
import { clusterNamesIn, renameFacts, type Rewrite } from "../../core/cluster-names.ts";
import { BerthError } from "../../core/errors.ts";
import { Rendered } from "../../core/rendered.ts";
import type { Sent } from "../../core/sent.ts";
import type { Db } from "../../db/pool.ts";
import type { Views } from "../../db/views.ts";
import { EngineFailure } from "../../engines/engine.ts";
import type { Call, Handlers, Versioned } from "../call.ts";
import { clusterNames, type ClusterNames } from "./names.ts";

interface Deps {
  readonly db: Db;
  readonly views: Views;
}
type AnyHandler = (input: Readonly<Record<string, unknown>>, call: Call) => Promise<unknown>;

/** The same handlers, to which a cluster may be called by any of its names, and which answer with the one that it has now. */
export function withClusterNames(handlers: Handlers, deps: Deps): Handlers {
  const told = new Map<string, AnyHandler>();
  for (const [name, handler] of Object.entries(handlers) as [RouteName, AnyHandler][]) told.set(name, named(handler, routes[name], deps));
  return Object.fromEntries(told) as unknown as Handlers;
}

function named(handler: AnyHandler, route: Route, deps: Deps): AnyHandler {
  const parts = (["params", "query", ...(route.kind === "json" ? (["body"] as const) : [])] as const).flatMap((part) => {
    const rewrite = clusterNamesIn(route[part]);
    return rewrite === undefined ? [] : [{ part, rewrite }];
  });
  const answer = clusterNamesIn(route.response);
  const isReading = route.method === "GET";
  return async (input, call) => {
    try {
      const taken = await incoming(input, call, parts, deps);
      const keep = call.keep;
      const told = await handler(
        taken,
        keep === undefined || answer === undefined
          ? call
          : { ...call, keep: async (trx, kept) => keep(trx, answered(kept, answer, await clusterNames(deps, {}))) },
      );
      if (answer === undefined || told === undefined) return told;
      if (route.kind === "events") return streamed(told as AsyncIterable<Sent<unknown>>, answer, deps);
      // What a call has changed itself is newer than its question.
      return answered(told, answer, await clusterNames(deps, isReading ? call : {}));
    } catch (error) {
      throw await renamedError(deps, error);
    }
  };
}

async function incoming(
  input: Readonly<Record<string, unknown>>,
  call: Call,
  parts: readonly { readonly part: string; readonly rewrite: Rewrite }[],
  deps: Deps,
): Promise<Readonly<Record<string, unknown>>> {
  let says = false;
  for (const { part, rewrite } of parts)
    rewrite(input[part], (name) => {
      says = true;
      return name;
    });
  if (!says) return input;
  const { rows } = await clusterNames(deps, call);
  if (rows.size === 0) return input;
  return {
    ...input,
    ...Object.fromEntries(parts.map(({ part, rewrite }) => [part, rewrite(input[part], (name) => rows.get(name) ?? name)])),
  };
}

/** What is kept as words is put into others once, for as long as the names are the same. */
const rendered = new WeakMap<Rendered<unknown>, { readonly names: ClusterNames; readonly told: Rendered<unknown> }>();

function answered(told: unknown, rewrite: Rewrite, names: ClusterNames): unknown {
  if (names.called.size === 0) return told;
  const change = (value: unknown): unknown => rewrite(value, (name) => names.called.get(name) ?? name);
  if (told instanceof Rendered) {
    const known = rendered.get(told);
    if (known?.names === names) return known.told;
    const again = new Rendered(change(JSON.parse(told.bytes.toString()) as unknown));
    rendered.set(told, { names, told: again });
    return again;
  }
  const { revision, body } = (told ?? {}) as Partial<Versioned<unknown>>;
  return revision === undefined || body === undefined ? change(told) : { revision, body: answered(body, rewrite, names) };
}

async function* streamed(events: AsyncIterable<Sent<unknown>>, rewrite: Rewrite, deps: Deps): AsyncGenerator<Sent<unknown>> {
  for await (const event of events) {
    let says = false;
    rewrite(event.data, (name) => {
      says = true;
      return name;
    });
    yield says ? { ...event, data: answered(event.data, rewrite, await clusterNames(deps, {})) } : event;
  }
}

/** What went wrong is told with the name that the cluster has. A database that cannot be asked for it is no reason to tell something else. */
async function renamedError(deps: Deps, error: unknown): Promise<unknown> {
  const params = error instanceof BerthError ? error.params : error instanceof EngineFailure ? error.failure.params : {};
  const isCluster = params["kind"] === "cluster" && typeof params["name"] === "string";
  if (typeof params["cluster"] !== "string" && !isCluster) return error;
  const names = await clusterNames(deps, {}).catch(() => undefined);
  if (names === undefined || names.called.size === 0) return error;
  const of = (name: string): string => names.called.get(name) ?? name;
  if (error instanceof EngineFailure)
    return new EngineFailure(
      { ...error.failure, params: renameFacts(error.failure.params, of) },
      { retryable: error.retryable, cause: error },
    );
  if (!(error instanceof BerthError)) return error;
  const told = { ...renameFacts(error.params, of), ...(isCluster ? { name: of(String(params["name"])) } : {}) };
  return new BerthError(error.code, told, { cause: error, ...(error.details === undefined ? {} : { details: error.details }) });
}
