// Certificates that Berth gets by itself (RFC 8555): for which hosts, when again, and what an authority's refusal means. Pure.
import { isIP } from "node:net";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { covers } from "./certificates.ts";
import { contentHash } from "./canonical.ts";

/** What the operator set. Certificates are asked for only with it. */
export interface AcmeSettings {
  /** URL of the authority's directory. */
  readonly directory: string;
  /** Where the authority writes to, `mailto:` left out; empty: nowhere. */
  readonly contact: string;
  /** External account binding; the key in base64url, as the authority gave it. */
  readonly binding?: { readonly kid: string; readonly key: string };
  readonly proof: AcmeProof;
  /** PEM file of authorities that are trusted for the connection to the directory, beside those of the system. */
  readonly trust?: string;
}
/** How a host is proved: by an answer on the router's plain door, or by a record in its zone that a program of the operator sets. */
export type AcmeProof = { readonly type: "http-01" } | { readonly type: "dns-01"; readonly hook: string; readonly deadline: number };

const minute = 60_000;
const hour = 60 * minute;
/** ms after the first, second, ... failure in a row; Let's Encrypt for one allows 5 failed proofs of a host in an hour. */
const pauses = [minute, 5 * minute, 15 * minute, hour, 4 * hour, 12 * hour, 24 * hour] as const;
/** Requests for a certificate that a crash may repeat without a pause. */
const quickRepeats = 3;
/** Certificates that one server asks for in an hour; Let's Encrypt allows 300 in three. */
export const mostInHour = 100;

/** ms to wait after so many failures in a row; spread, so that hosts that failed together do not come back together. `random`: 0 to 1. */
export function pauseAfter(failures: number, random: number): number {
  const pause = pauses[Math.min(Math.max(failures, 1), pauses.length) - 1] ?? minute;
  return Math.round(pause * (0.9 + random * 0.2));
}

/** ms before a request that repeats one whose outcome a crash hid: `attempts` were begun since the last success, this one not counted. */
export function pauseBefore(attempts: number, failures: number, random: number): number {
  const hidden = attempts - failures;
  return hidden < quickRepeats ? 0 : pauseAfter(hidden - quickRepeats + 1, random);
}

/** At two thirds of its life, and up to a twentieth of it sooner. */
export function renewalOf(notBefore: Date, notAfter: Date, random: number): Date {
  const life = notAfter.getTime() - notBefore.getTime();
  return new Date(notBefore.getTime() + Math.round(life * (2 / 3 - random / 20)));
}

/** Whether an authority could give a certificate for it at all: a name in the domain name system, one with a star only where a zone is proved. */
export function mayBeProved(host: string, proof: AcmeProof["type"]): boolean {
  if (!host.includes(".") || isIP(host) !== 0 || host.endsWith(".localhost")) return false;
  return !host.startsWith("*.") || proof === "dns-01";
}

/** Of these hosts those that Berth gets certificates for; those that an operator's own certificate covers are left alone. */
export function hostsToKeep(routed: readonly string[], given: readonly (readonly string[])[], proof: AcmeProof["type"]): string[] {
  return [...new Set(routed)].filter((host) => mayBeProved(host, proof) && !given.some((names) => covers(names, host))).toSorted();
}

/** A name like every other: what is readable of the host, and a hash that tells two of the same look apart. */
export function certificateNameOf(host: string): string {
  const words = host.replaceAll("*", "star").replaceAll(/[^a-z0-9]+/g, "-");
  return `auto-${words.slice(0, 26).replace(/-+$/, "")}-${contentHash(host).slice(-8)}`;
}

/** What an authority says of a refusal (RFC 7807, RFC 8555, 6.7). */
export interface Problem {
  readonly type?: string;
  readonly detail?: string;
  readonly status?: number;
  readonly subproblems?: readonly (Problem & { readonly identifier?: { readonly value?: string } })[];
}

const kindOf = ({ type = "" }: Problem): string => type.replace("urn:ietf:params:acme:error:", "");
const most = 4_000;

/** The problem as it came, cut to what a line of evidence may have. */
export function evidenceOf(problem: Problem): Evidence[] {
  return [{ kind: "probe", text: JSON.stringify(problem).slice(0, most) }];
}

/** A host could not be proved: what the authority met when it looked. */
export function unprovedCause(authority: string, host: string, problem: Problem): Cause {
  const params = { authority, host, reason: sentenceOf(problem) };
  switch (kindOf(problem)) {
    case "connection":
    case "tls":
      return cause("proof_unreachable", params, evidenceOf(problem));
    case "dns":
      return cause("proof_name_unknown", params, evidenceOf(problem));
    case "unauthorized":
    case "incorrectResponse":
      return cause("proof_wrong", params, evidenceOf(problem));
    default:
      return refusalCause(authority, host, problem);
  }
}

/** The authority refused a request of ours. */
export function refusalCause(authority: string, host: string, problem: Problem): Cause {
  const params = { authority, host, reason: sentenceOf(problem) };
  return cause(kindOf(problem) === "rateLimited" ? "authority_rate_limited" : "authority_refused", params, evidenceOf(problem));
}

/** What it says of each name, when it says so; without its full stop. */
function sentenceOf(problem: Problem): string {
  const parts = (problem.subproblems ?? []).map(({ identifier, detail = "" }) => `${identifier?.value ?? ""}: ${detail}`);
  const text = [problem.detail ?? problem.type ?? "it gave no reason", ...parts].join("; ");
  return text.replaceAll(/\s+/g, " ").slice(0, 500).replace(/\.$/, "");
}
