// What every request of one router shares. Made once per process; nothing in it belongs to a single request.
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { AccessLog } from "./accesslog.ts";
import type { ErrorDetails, RouterLimits } from "../ipc.ts";
import type { Certificates } from "./certificates.ts";
import type { PortTarget } from "./component.ts";
import type { Crowd } from "./crowd.ts";
import type { Doorkeeper } from "./doorkeeper.ts";
import type { Proofs } from "./proofs.ts";
import type { RouterStats } from "./stats.ts";
import type { RouteTable } from "./table.ts";
import type { Upload } from "./upload.ts";

/** A listener of one port alone. Siblings' X-Forwarded-* are believed: they pass on what they got. */
export interface Direct {
  readonly target: PortTarget;
  readonly sibling: boolean;
}

/** A connection on which a client speaks HTTP/2. */
export interface Http2Session {
  /** Takes no further requests, and ends with the last one. */
  leave(): void;
  /** Ends it, whatever it is doing. */
  destroy(): void;
  /** Called now and then: ends what takes too long. `now`: ms clock of the router. */
  check(now: number): void;
}

export interface RouterContext {
  readonly table: RouteTable;
  readonly stats: RouterStats;
  readonly log: AccessLog;
  readonly probeKey: Buffer;
  /** ms, never going back. */
  readonly now: () => number;
  readonly random: () => number;
  /** "" when requests get none. */
  readonly requestId: () => string;
  /** What is kept of finished requests. */
  readonly keeps: { readonly accessLog: boolean; readonly metrics: boolean };
  readonly limits: RouterLimits;
  readonly errorDetails: ErrorDetails;
  /** 0: none. */
  readonly hstsSeconds: number;
  /** Set before the first listener opens. */
  doorkeeper: Doorkeeper | undefined;
  /** Bodies that clients are sending: looked at now and then. */
  readonly uploads: Set<Upload>;
  readonly isTrusted: (address: string) => boolean;
  /** Client connections that left HTTP (upgrades, TCP): ended one by one when the router has to go. */
  readonly pipes: Set<Duplex>;
  /** Of each HTTP server the connections that rest between requests. */
  readonly crowds: Set<Crowd>;
  /** Connections on which clients speak HTTP/2. */
  readonly sessions: Set<Http2Session>;
  readonly certificates: Certificates;
  readonly proofs: Proofs;
  /** Of the HTTPS listener; 0: there is none. */
  securePort: number;
  /** Requests of which nothing is recorded yet. */
  exchanges: number;
  /** true: accepts nothing new and asks clients to connect anew. */
  retiring: boolean;
}

/** Request ids that are unique over routers and restarts, and cheap: a random part per process and a counter. */
export function requestIds(): () => string {
  const prefix = randomBytes(7).toString("hex");
  let count = 0;
  return () => {
    count += 1;
    return `${prefix}${count.toString(36).padStart(6, "0")}`;
  };
}
