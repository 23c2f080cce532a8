// What is told of a host that could not be given its certificate, and when it is tried again.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { pauseAfter, refusalCause } from "../../core/acme.ts";
import { BerthError } from "../../core/errors.ts";
import { AuthorityRefused, AuthorityUnreachable } from "./authority.ts";
import { HookFailed } from "./hook.ts";

/** It cannot go on with this order; `because` says why. */
export class Failed extends Error {
  readonly because: Cause;
  constructor(because: Cause) {
    super(because.code);
    this.name = "Failed";
    this.because = because;
  }
}

export interface Failure {
  readonly because: Cause;
  /** The order is as good as before: only what was asked for now did not come. */
  readonly keepsOrder: boolean;
  /** ms */
  readonly pause: number;
}
export interface Circumstances {
  readonly host: string;
  readonly cluster: string;
  /** The authority's host. */
  readonly authority: string;
  readonly hook: string;
  /** In a row, this one included. */
  readonly failures: number;
  readonly random: number;
}

/** Failures after which the pause grows no more while nobody answers: no limit of an authority counts what never reached it. */
const mostWithoutAnswer = 4;
/** ms that an authority may keep us away. */
const longestAway = 7 * 86_400_000;

/** undefined: no failure of this work, but of Berth itself; the queue keeps it. */
export function failureOf(error: unknown, { host, cluster, authority, hook, failures, random }: Circumstances): Failure | undefined {
  const pause = pauseAfter(failures, random);
  const without = pauseAfter(Math.min(failures, mostWithoutAnswer), random);
  if (error instanceof Failed) return { because: error.because, keepsOrder: false, pause };
  if (error instanceof AuthorityUnreachable)
    return { because: cause("authority_unreachable", { authority, host, reason: error.message }), keepsOrder: true, pause: without };
  if (error instanceof AuthorityRefused) {
    const because = refusalCause(authority, host, error.problem);
    const passing = because.code === "authority_rate_limited" || error.status >= 500 || error.problem.type?.endsWith(":badNonce") === true;
    return { because, keepsOrder: passing, pause: Math.max(pause, Math.min(error.retryAfter ?? 0, longestAway)) };
  }
  if (error instanceof HookFailed) {
    const evidence = error.said === "" ? [] : [{ kind: "log" as const, text: error.said }];
    return { because: cause("proof_hook_failed", { host, hook, reason: error.message }, evidence), keepsOrder: true, pause };
  }
  if (error instanceof BerthError && error.code === "certificate_refused")
    return {
      because: cause("certificate_unusable", { authority, host, reason: String(error.params["reason"] ?? "") }),
      keepsOrder: false,
      pause,
    };
  if (error instanceof BerthError && error.code === "engine_unavailable")
    return {
      because: cause("cluster_unreachable", { cluster, reason: String(error.params["reason"] ?? "") }),
      keepsOrder: true,
      pause: without,
    };
  return undefined;
}
