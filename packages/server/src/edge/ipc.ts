// Messages between the edge's primary and its routers: over IPC with its children, line by line over `routers.sock` with those of an earlier primary. They are
// trusted and only typed; during an upgrade two versions speak so, so a message may gain fields that may be absent, and never change its meaning.
import type { Fence, Ref } from "../engines/engine.ts";
import type { Applied, HostProof, TrafficEntry } from "../engines/traffic.ts";

/** An entry with the fence it was applied under; `entry` null is a tombstone that remembers the generation. */
export interface StoredEntry {
  readonly ref: Ref;
  readonly fence: Fence;
  readonly entry: TrafficEntry | null;
}

/** A certificate as it is shown to clients. */
export interface EdgeCertificate {
  readonly name: string;
  /** PEM, the host's own first. */
  readonly chain: string;
  /** PEM. */
  readonly key: string;
  /** Names that it covers. */
  readonly hosts: readonly string[];
  /** For clients that ask for no name, or for one that nothing covers; else it is the first. */
  readonly isDefault: boolean;
}
/** Everything about HTTPS, in place of what was said before. */
export interface TlsOrders {
  /** Where to listen while there is a certificate. */
  readonly address: { readonly host: string; readonly port: number };
  readonly certificates: readonly EdgeCertificate[];
}

/** Bounds against clients that take more than their share; 0 ms or connections: none. Durations in ms. */
export interface RouterLimits {
  /** Bytes of a request's head. */
  readonly headerBytes: number;
  /** Until a request's head is whole. */
  readonly headersTimeout: number;
  /** Without a byte of a body that is being sent, or without one being taken of an answer. */
  readonly clientTimeout: number;
  /** Between two requests on a connection. */
  readonly idleTimeout: number;
  /** Open connections of each router, from which on further ones rest between requests: less memory for each, some more CPU time for their requests. */
  readonly restFrom: number;
  /** Of each router. */
  readonly maxConnections: number;
  /** Of each router, from one address; this machine and trusted proxies excepted. */
  readonly maxConnectionsPerClient: number;
}
/** Who is told what is wrong behind an error page: `local` = clients on this machine that ask for a `.localhost` name. */
export type ErrorDetails = "local" | "always" | "never";

/** What a router needs of the config; it does not read the file itself, since checking one costs 30 MB of memory per process. */
export interface RouterSettings {
  readonly accessLog: string;
  readonly trustedProxies: readonly string[];
  readonly responseTimeout: number;
  readonly limits: RouterLimits;
  readonly errorDetails: ErrorDetails;
  /** Absent or 0: browsers are not told to stay with HTTPS. */
  readonly hstsSeconds?: number;
  readonly leaveOut: readonly ("accessLog" | "metrics" | "requestIds")[];
  readonly runDir: string;
  /** What to start when the primary dies; undefined: the router ends with it. */
  readonly successor: { readonly entry: string; readonly configFile: string } | undefined;
  /** Its place among the routers: the first one acts first when something has to be done once. */
  readonly place: number;
}

export type ToRouter =
  /** First message, after `hearing`: everything there is. The router answers `listening` (or `failed`) when it accepts. */
  | {
      readonly type: "init";
      readonly host: string;
      readonly port: number;
      readonly settings: RouterSettings;
      readonly probeKey: string;
      readonly entries: readonly StoredEntry[];
      readonly readiness: readonly (readonly [string, boolean])[];
      readonly tls?: TlsOrders;
      readonly proofs?: readonly HostProof[];
    }
  /** What other routers serve of components that have a limit, as they last told. */
  | { readonly type: "elsewhere"; readonly inFlight: readonly (Ref & { readonly inFlight: number })[] }
  | { readonly type: "tls"; readonly seq: number; readonly orders: TlsOrders }
  /** All there are, in place of those before. */
  | { readonly type: "proofs"; readonly seq: number; readonly proofs: readonly HostProof[] }
  | { readonly type: "entry"; readonly seq: number; readonly stored: StoredEntry }
  | { readonly type: "readiness"; readonly instances: readonly (readonly [string, boolean])[] }
  | { readonly type: "applied"; readonly seq: number; readonly ref: Ref }
  | { readonly type: "metrics"; readonly seq: number }
  | { readonly type: "retryListeners" }
  | { readonly type: "reopenLog" }
  /** The answer to `listen`: the socket comes along, or `code` says why there is none. */
  | { readonly type: "socket"; readonly seq: number; readonly code?: string }
  /** To a router of an earlier primary: everything there is, in place of what it knows. */
  | {
      readonly type: "sync";
      readonly seq: number;
      readonly entries: readonly StoredEntry[];
      readonly readiness: readonly (readonly [string, boolean])[];
    }
  /** This primary leaves and another one is there: its orders come over `routers.sock`. */
  | { readonly type: "leave" }
  /** Accept nothing new, let what is open finish, then exit by itself; whatever is left after `grace` ms is cut. */
  | { readonly type: "retire"; readonly grace: number };

export type FromRouter =
  /** It hears now; what was sent before is lost, so `init` is the answer to this. */
  | { readonly type: "hearing" }
  | { readonly type: "listening" }
  /** First message over `routers.sock`. */
  | { readonly type: "orphan"; readonly pid: number; readonly role: RouterRole }
  /** It wants a listening socket, or has no more use for one. */
  | { readonly type: "listen"; readonly seq: number; readonly host: string; readonly port: number }
  | { readonly type: "unlisten"; readonly host: string; readonly port: number }
  /** What it is serving; sent when it changed, a few times a second at most. Should it be killed, this much was interrupted. */
  | { readonly type: "inFlight"; readonly tracks: readonly InFlight[] }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** It refuses connections: so many are open. */
  | { readonly type: "crowded"; readonly open: number }
  /** Why HTTPS is not open here; null: it is, or nobody wants it. */
  | { readonly type: "secure"; readonly problem: string | null }
  /** The answer to `entry`, `sync`, `tls` or `proofs`: in force here, its listeners opened or reported as failing. */
  | { readonly type: "ack"; readonly seq: number }
  | { readonly type: "listeners"; readonly problems: readonly ListenerProblem[] }
  | { readonly type: "appliedAnswer"; readonly seq: number; readonly instances: readonly InstanceCounts[] }
  | { readonly type: "metricsAnswer"; readonly seq: number; readonly snapshot: MetricsSnapshot }
  /** An unexpected error was caught: it wants to be replaced in good order. */
  | { readonly type: "broken"; readonly reason: string };

/** `accepting`: it holds listening sockets. `leaving`: it only finishes what is open. */
export type RouterRole = "accepting" | "leaving";
export interface InFlight {
  readonly stack: string;
  readonly component: string;
  readonly track: string;
  readonly inFlight: number;
}
export interface ListenerProblem {
  readonly ref: Ref;
  readonly host: string;
  readonly port: number;
  readonly code: string;
  /** It is where the other components of the stack come. */
  readonly siblings?: boolean;
}
export interface InstanceCounts {
  readonly instance: string;
  readonly inFlight: number;
  readonly requests: number;
  readonly errors: number;
}

/** What one router counted. Every number is summed over routers. */
export interface MetricsSnapshot {
  readonly tracks: readonly TrackMetrics[];
  /** Requests that no component took, by status class index (1..5). */
  readonly unrouted: readonly number[];
  readonly connections: Readonly<Partial<Record<ConnectionKind, { readonly open: number; readonly total: number }>>>;
  readonly logDropped: number;
  /** Connections that were refused because too many were open. */
  readonly refusedConnections?: number;
  readonly residentBytes: number;
}
export type ConnectionKind = "public" | "secure" | "internal" | "tcp" | "upgraded";

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
  /** Requests beyond `maxConnections`. */
  readonly overLimit?: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}
export interface ClassMetrics {
  readonly count: number;
  readonly seconds: number;
  /** Not cumulative; one more than `latencyBounds`. */ readonly buckets: readonly number[];
}

/** Upper bounds of the latency histogram, seconds. */
export const latencyBounds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The socket's answers, shared with the control plane's client. */
export interface Hello {
  readonly protocol: number;
  readonly version: string;
  /** Of the program's files: the same version may be built anew. */
  readonly build?: string;
  readonly installation: string;
  /** The newest that it has seen; an edge of before does not say. */
  readonly epoch?: number;
  readonly pid: number;
  readonly startedAt: string;
  readonly workers: readonly number[];
  readonly agent: number | null;
  readonly collector: number | null;
  readonly router: { readonly host: string; readonly port: number };
  /** HTTPS; absent while no certificate is in force. `hosts`: those that are served. `problem`: why it is not open. */
  readonly https?: { readonly host: string; readonly port: number; readonly hosts: readonly string[]; readonly problem?: string };
}
/** Of the primary that is to take over: Node.js and the edge's entry file. */
export interface Program {
  readonly node: string;
  readonly entry: string;
}
export const edgeProtocol = 1;
export const protocolHeader = "x-berth-protocol";
/** What `Traffic` answers crosses the socket as it is. */
export type AppliedAnswer = Applied;
