// Messages between the edge's primary and its routers (node:cluster IPC). One process image on both sides, so they are trusted and only typed.
import type { Cause } from "@berth/contract/causes.ts";
import type { Fence, Ref } from "../engines/engine.ts";
import type { TrafficEntry } from "../engines/traffic.ts";

/** An entry with the fence it was applied under; `entry` null is a tombstone that remembers the generation. */
export interface StoredEntry { readonly ref: Ref; readonly fence: Fence; readonly entry: TrafficEntry | null }

/** What a router needs of the config; it does not read the file itself, since checking one costs 30 MB of memory per process. */
export interface RouterSettings { readonly accessLog: string; readonly trustedProxies: readonly string[]; readonly responseTimeout: number }

export type ToRouter =
  /** First message, after `hearing`: everything there is. The router answers `listening` (or `failed`) when it accepts. */
  | { readonly type: "init"; readonly host: string; readonly port: number; readonly settings: RouterSettings; readonly probeKey: string; readonly entries: readonly StoredEntry[]; readonly readiness: readonly (readonly [string, boolean])[] }
  | { readonly type: "entry"; readonly seq: number; readonly stored: StoredEntry }
  | { readonly type: "readiness"; readonly instances: readonly (readonly [string, boolean])[] }
  | { readonly type: "applied"; readonly seq: number; readonly ref: Ref }
  | { readonly type: "metrics"; readonly seq: number }
  | { readonly type: "retryListeners" }
  | { readonly type: "reopenLog" }
  /** Accept nothing new, let what is open finish, then exit by itself; whatever is left after `grace` ms is cut. */
  | { readonly type: "retire"; readonly grace: number };

export type FromRouter =
  /** It hears now; what was sent before is lost, so `init` is the answer to this. */
  | { readonly type: "hearing" }
  | { readonly type: "listening" }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** The answer to `entry`: in force here, its listeners opened or reported as failing. */
  | { readonly type: "ack"; readonly seq: number }
  | { readonly type: "listeners"; readonly problems: readonly ListenerProblem[] }
  | { readonly type: "appliedAnswer"; readonly seq: number; readonly instances: readonly InstanceCounts[] }
  | { readonly type: "metricsAnswer"; readonly seq: number; readonly snapshot: MetricsSnapshot }
  /** An unexpected error was caught: it wants to be replaced in good order. */
  | { readonly type: "broken"; readonly reason: string };

export interface ListenerProblem { readonly ref: Ref; readonly host: string; readonly port: number; readonly code: string }
export interface InstanceCounts { readonly instance: string; readonly inFlight: number; readonly requests: number; readonly errors: number }

/** What one router counted. Every number is summed over routers. */
export interface MetricsSnapshot {
  readonly tracks: readonly TrackMetrics[];
  /** Requests that no component took, by status class index (1..5). */
  readonly unrouted: readonly number[];
  readonly connections: Readonly<Record<ConnectionKind, { readonly open: number; readonly total: number }>>;
  readonly logDropped: number;
  readonly residentBytes: number;
}
export type ConnectionKind = "public" | "internal" | "tcp" | "upgraded";

export interface TrackMetrics {
  readonly stack: string;
  readonly component: string;
  readonly track: string;
  /** Index 1..5: status class; undefined where none was seen. */
  readonly classes: readonly (ClassMetrics | null)[];
  readonly inFlight: number;
  readonly retries: number;
  readonly holds: number;
  readonly holdTimeouts: number;
  readonly interrupted: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}
export interface ClassMetrics { readonly count: number; readonly seconds: number; /** Not cumulative; one more than `latencyBounds`. */ readonly buckets: readonly number[] }

/** Upper bounds of the latency histogram, seconds. */
export const latencyBounds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The socket's answers, shared with the control plane's client. */
export interface Hello {
  readonly protocol: number;
  readonly version: string;
  readonly installation: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly workers: readonly number[];
  readonly agent: number | null;
  readonly collector: number | null;
  readonly router: { readonly host: string; readonly port: number };
}
export const edgeProtocol = 1;
export const protocolHeader = "x-berth-protocol";
export interface AppliedAnswer { readonly generation: number; readonly digest: string; readonly endpoints: readonly { readonly instance: string; readonly ready: boolean; readonly inFlight: number; readonly requests: number; readonly errors: number }[]; readonly problems: readonly Cause[] }
