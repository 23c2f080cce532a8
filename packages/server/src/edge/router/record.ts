// What is kept of a finished request or upgrade: counts and one line in the access log.
import type { Endpoint, PortTarget, Track } from "./component.ts";
import type { RouterContext } from "./context.ts";
import type { RefusalKind } from "./pages.ts";

export interface Outcome {
  readonly target: PortTarget | undefined;
  readonly track: Track | undefined;
  readonly endpoint: Endpoint | undefined;
  readonly requestId: string;
  readonly remote: string;
  readonly host: string;
  readonly method: string;
  /** As it was sent; its query is not kept, since it may hold secrets. */
  readonly path: string;
  readonly status: number;
  /** ms clock of the router. */
  readonly start: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly retried: number;
  /** Neither side broke off. */
  readonly whole: boolean;
  /** Of the router's own answer; "" for others. */
  readonly code: RefusalKind | "";
  /** As the access log has it; "" for HTTP/1.1. */
  readonly protocol?: "HTTP/2" | "";
}

export function record(ctx: RouterContext, outcome: Outcome): void {
  const { target, track, endpoint, status, bytesIn, bytesOut, whole, path } = outcome;
  const milliseconds = ctx.now() - outcome.start;
  if (ctx.keeps.metrics) {
    const stats = track?.stats ?? target?.component.noTrack;
    if (stats === undefined) ctx.stats.countUnrouted(status);
    else {
      stats.finish(status, milliseconds);
      stats.bytesIn += bytesIn;
      stats.bytesOut += bytesOut;
      if (!whole) stats.interrupted += 1;
    }
  }
  if (!ctx.keeps.accessLog) return;
  const query = path.indexOf("?");
  ctx.log.write({
    at: Date.now(),
    requestId: outcome.requestId,
    remote: outcome.remote,
    host: outcome.host,
    method: outcome.method,
    path: query < 0 ? path : path.slice(0, query),
    status,
    bytesIn,
    bytesOut,
    milliseconds,
    origin: endpoint?.origin ?? target?.component.origin ?? "",
    retried: outcome.retried,
    interrupted: !whole,
    code: outcome.code,
    protocol: outcome.protocol ?? "",
  });
}
