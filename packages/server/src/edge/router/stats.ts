// Counters that requests touch: plain fields and one array per status class. Their number is bounded by known components and tracks, never by what clients send.
import { latencyBounds, type ClassMetrics, type ConnectionKind, type TrackMetrics } from "../ipc.ts";
import type { Ref } from "../../engines/engine.ts";

interface ClassStats {
  count: number;
  seconds: number;
  readonly buckets: number[];
}

export class TrackStats {
  readonly classes: (ClassStats | null)[] = [null, null, null, null, null, null];
  retries = 0;
  holds = 0;
  holdTimeouts = 0;
  interrupted = 0;
  overLimit = 0;
  bytesIn = 0;
  bytesOut = 0;

  /** One finished request. `milliseconds`: from its head to the end of its answer. */
  finish(status: number, milliseconds: number): void {
    const index = statusClass(status);
    let stats = this.classes[index];
    if (stats === null || stats === undefined) {
      stats = { count: 0, seconds: 0, buckets: new Array<number>(latencyBounds.length + 1).fill(0) };
      this.classes[index] = stats;
    }
    const seconds = milliseconds / 1000;
    stats.count += 1;
    stats.seconds += seconds;
    const bucket = bucketOf(seconds);
    stats.buckets[bucket] = (stats.buckets[bucket] ?? 0) + 1;
  }

  get touched(): boolean {
    return this.overLimit > 0 || this.holds > 0 || this.holdTimeouts > 0 || this.classes.some((stats) => stats !== null);
  }

  snapshot(ref: Ref, track: string, inFlight: number): TrackMetrics {
    const { classes, retries, holds, holdTimeouts, interrupted, overLimit, bytesIn, bytesOut } = this;
    return {
      stack: ref.stack,
      component: ref.component,
      track,
      classes: classes.map(copyClass),
      inFlight,
      retries,
      holds,
      holdTimeouts,
      interrupted,
      overLimit,
      bytesIn,
      bytesOut,
    };
  }
}

function copyClass(stats: ClassStats | null): ClassMetrics | null {
  return stats === null ? null : { count: stats.count, seconds: stats.seconds, buckets: [...stats.buckets] };
}

/** 1 to 5; what is not a status counts as 5. */
export function statusClass(status: number): number {
  const index = Math.trunc(status / 100);
  return index >= 1 && index <= 5 ? index : 5;
}

function bucketOf(seconds: number): number {
  for (let index = 0; index < latencyBounds.length; index += 1) if (seconds <= (latencyBounds[index] ?? Infinity)) return index;
  return latencyBounds.length;
}

/** Counts of the whole router that belong to no component. */
export class RouterStats {
  readonly unrouted = [0, 0, 0, 0, 0, 0];
  readonly connections: Record<ConnectionKind, { open: number; total: number }> = {
    public: { open: 0, total: 0 },
    secure: { open: 0, total: 0 },
    internal: { open: 0, total: 0 },
    tcp: { open: 0, total: 0 },
    upgraded: { open: 0, total: 0 },
  };

  refusedConnections = 0;

  countUnrouted(status: number): void {
    const index = statusClass(status);
    this.unrouted[index] = (this.unrouted[index] ?? 0) + 1;
  }

  opened(kind: ConnectionKind): void {
    this.connections[kind].open += 1;
    this.connections[kind].total += 1;
  }

  closed(kind: ConnectionKind): void {
    this.connections[kind].open -= 1;
  }
}
