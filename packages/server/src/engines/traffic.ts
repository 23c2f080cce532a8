// The Traffic port: one numbered entry per component tells the edge (or a gateway) which hosts lead to which instances, in which shares.
import type { Cause } from "@berth/contract/causes.ts";
import type { Overlays } from "@berth/contract/overlay.ts";
import type { Difference, Epoch, Fence, Ref, Rendered } from "./engine.ts";

/** A header or cookie condition; all conditions of a rule must hold. */
export interface MatchCondition {
  readonly in: "header" | "cookie";
  readonly name: string;
  readonly match: "exact" | "prefix" | "regex" | "present";
  readonly value: string;
}
/** The first rule whose conditions all hold sends the request to its track; without one, weights decide. */
export interface MatchRule {
  readonly conditions: readonly MatchCondition[];
  readonly track: string;
}

export interface TrafficEndpoint {
  readonly instance: string;
  readonly releaseHash: string;
  readonly host: string;
  readonly port: number;
  /** `draining`: no new requests; the ones in flight finish. */
  readonly state: "active" | "draining";
  /** It is spoken to in HTTP/2 without TLS (h2c); HTTP/1.1 otherwise. */
  readonly http2?: boolean;
}
export interface TrafficTrack {
  readonly name: string;
  /** 0 to 100; shares among tracks with a ready endpoint. */ readonly weight: number;
  readonly endpoints: readonly TrafficEndpoint[];
}

export interface TrafficPort {
  readonly name: string;
  readonly protocol: "http" | "tcp";
  /** Host and path prefix that lead here from outside (http only). */
  readonly hosts: readonly {
    readonly host: string;
    readonly path: string;
    /** `redirect`: plain requests are sent to HTTPS, as soon as a certificate covers the host. */
    readonly https?: "redirect";
  }[];
  /** Public TCP port on the edge. */
  readonly published?: number;
  /** Stable loopback port at which siblings reach this port. */
  readonly internal: number;
  /** Where siblings reach it on a network of their stack's own. */
  readonly inside?: { readonly host: string; readonly port: number };
  readonly tracks: readonly TrafficTrack[];
}

export interface TrafficEntry {
  readonly ref: Ref;
  readonly ports: readonly TrafficPort[];
  readonly rules: readonly MatchRule[];
  /** Keeps a client on the track it met first, for so many ms. */
  readonly sticky?: { readonly cookie: string; readonly maxAge: number };
  /** ms that requests wait for a ready endpoint before they are refused with 503. */
  readonly holdFor: number;
  readonly drainTimeout: number;
  /** What the router refuses for the component's sake; `maxBody` in bytes, `maxConnections` of requests, upgraded and TCP connections together. */
  readonly limits?: { readonly maxBody?: number; readonly maxConnections?: number };
  /** What is merged over the objects that a gateway's routes are made of; an edge makes nothing of it. */
  readonly kubernetes?: Pick<Overlays, "Service" | "HTTPRoute">;
  /** Set when the component is meant to be down, so that the edge's error page can say so. */
  readonly stopped: boolean;
}

export interface Applied {
  /** The entry's generation in force in every router worker; 0 = no such entry. */
  readonly generation: number;
  /** `contentHash` (core/canonical.ts) of that entry as it was applied; empty = no such entry. Tells what is in force even when the answer to `apply` was lost. */
  readonly digest: string;
  readonly endpoints: readonly {
    readonly instance: string;
    readonly ready: boolean;
    readonly inFlight: number;
    /** Whoever routes may still be told to lead there, although the entry in force says not to. Absent: no. */
    readonly listed?: boolean;
    readonly requests: number;
    readonly errors: number;
  }[];
  /** All of an entry is there, and somebody else changed some of it: what it would be otherwise. Absent: nobody did. */
  readonly changed?: { readonly generation: number; readonly digest: string };
  /** Addresses that could not be listened on, e.g. a published port that is taken. */
  readonly problems: readonly Cause[];
}

export interface ProbeAnswer {
  readonly status: number;
  readonly releaseHash?: string;
  readonly error?: string;
  readonly url: string;
  readonly took: number;
}

/** `chain` and `key` in PEM. Of two that cover a name the first has it; the default is for clients that ask for no name, or one that nothing covers.
 * Without a key (empty) it is the one of that name and chain that is in force; when there is none, it is left out. */
export interface GivenCertificate {
  readonly name: string;
  readonly chain: string;
  readonly key: string;
  readonly isDefault: boolean;
}

/** What proves to a certificate authority that a host leads here (RFC 8555, 8.3): asked for on the plain door at `/.well-known/acme-challenge/<token>`. */
export interface HostProof {
  readonly host: string;
  readonly token: string;
  readonly answer: string;
  /** Unix ms after which it is forgotten, whoever forgot to take it back. */
  readonly until: number;
}

export interface Traffic {
  /**
   * Puts the entry in force; returns after every router worker has it. Refuses an older epoch or generation with `stale_generation`. `leaves`: what somebody changed
   * by hand stays, as long as what it is to be is what it was before.
   */
  apply(entry: TrafficEntry, fence: Fence, signal: AbortSignal, options?: { readonly leaves?: boolean }): Promise<void>;
  remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void>;
  applied(ref: Ref, signal: AbortSignal): Promise<Applied>;
  /** All refs with an entry, with the generation in force: for resync. */
  list(signal: AbortSignal): Promise<readonly { readonly ref: Ref; readonly generation: number }[]>;
  /** The entry as it was applied; undefined = there is none. */
  readEntry(ref: Ref, signal: AbortSignal): Promise<TrafficEntry | undefined>;
  /** The objects that the entry in force consists of, for people to read and diff; none where there is no entry. Absent: it consists of none. */
  manifests?(ref: Ref, signal: AbortSignal): Promise<Rendered[]>;
  /** What of the entry in force somebody else made otherwise. Asks its place only when something was changed. Absent: nobody can. */
  drift?(ref: Ref, signal: AbortSignal): Promise<readonly Difference[]>;
  /** From now on refuses every change of an older epoch. Errors: `stale_generation` when a newer epoch was seen already. */
  raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void>;
  /** What HTTPS is served with, in place of all before; in force in every router when it resolves. Errors: `stale_generation`, `certificate_refused`. */
  setCertificates(certificates: readonly GivenCertificate[], fence: Fence, signal: AbortSignal): Promise<void>;
  /** Every router answers with it when it resolves, before any component is asked. Errors: `stale_generation`, `wrong_state` (another installation). */
  setProof(proof: HostProof, epoch: Epoch, signal: AbortSignal): Promise<void>;
  /** One that is not there is no error. */
  removeProof(token: string, epoch: Epoch, signal: AbortSignal): Promise<void>;
  /** Fetches `path` at this host and port through the door that users go through, pinned to a release by a short-lived signed header. */
  probe(
    target: { readonly ref: Ref; readonly port: string; readonly host: string; readonly path: string; readonly releaseHash: string },
    signal: AbortSignal,
  ): Promise<ProbeAnswer>;
  /** Where users reach a host and path: over HTTPS when a certificate covers the host. */
  readonly publicUrl: (host: string, path: string) => string;
}
