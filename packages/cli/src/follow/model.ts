// What is known of the work that is followed: rollouts, their builds, and what each build last said. Pure.
import { renderCause } from "@berth/contract/causes.ts";
import { stepText } from "@berth/contract/rolloutstep.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";

/** What was accepted and is followed until its end; a Deployment is one. */
export interface Followed {
  readonly stack: string;
  readonly rollouts: readonly { readonly component: string; readonly number: number }[];
  readonly builds: readonly { readonly number: number; readonly components: readonly string[] }[];
}

export interface Model {
  readonly stack: string;
  /** By `rolloutKey`, in the order in which they were accepted. */
  readonly rollouts: ReadonlyMap<string, Rollout>;
  readonly builds: ReadonlyMap<number, Build>;
  /** The last line that each build printed. */
  readonly lastLines: ReadonlyMap<number, string>;
}

/** A component has a rollout for each of its clusters. */
export const rolloutKey = ({ component, number }: { readonly component: string; readonly number: number }): string =>
  `${component} ${String(number)}`;

/** What the work was meant to come to. */
export type Outcome = "released" | "restarted" | "rolled back" | "aborted";

export type Look = "working" | "good" | "bad";
export interface Row {
  readonly component: string;
  readonly look: Look;
  /** One word or two: `building`, `rolling`, `live`. */
  readonly phase: string;
  readonly detail: string;
  /** ms since it was accepted, or that it took. */
  readonly elapsed: number;
}

/** A row per component and cluster, in the order in which they were accepted. */
export function rowsOf(model: Model, now: Date): Row[] {
  return [...model.rollouts.values()].map((rollout) => ({
    component: labelOf(rollout),
    look: lookOf(rollout),
    phase: phaseWord(rollout),
    detail: detailOf(rollout, model),
    elapsed: Math.max(0, (rollout.endedAt === undefined ? now.getTime() : Date.parse(rollout.endedAt)) - Date.parse(rollout.createdAt)),
  }));
}

/** `web`, or `web (west)` where it runs in several clusters. */
export const labelOf = ({ component, cluster }: { readonly component: string; readonly cluster?: string | undefined }): string =>
  cluster === undefined ? component : `${component} (${cluster})`;

export function isEnded(rollout: Rollout): boolean {
  return rollout.endedAt !== undefined || ["succeeded", "failed", "aborted", "superseded"].includes(rollout.phase);
}

function lookOf(rollout: Rollout): Look {
  if (rollout.phase === "succeeded") return "good";
  return isEnded(rollout) || rollout.phase === "reverting" ? "bad" : "working";
}

function phaseWord(rollout: Rollout): string {
  return rollout.phase === "succeeded" ? "live" : rollout.phase;
}

function detailOf(rollout: Rollout, model: Model): string {
  const ready = `${rollout.ready} of ${rollout.wanted} ready`;
  switch (rollout.phase) {
    case "building":
      return buildDetail(rollout, model);
    case "waiting":
      return stepOf(rollout) ?? (rollout.waitsFor.length === 0 ? "" : `for ${rollout.waitsFor.join(", ")}`);
    case "releasing":
      return stepOf(rollout) ?? "waits for its release command";
    case "preparing":
      return stepOf(rollout) ?? "";
    case "rolling":
      return rollout.wanted === 0 ? "" : rollout.cause === undefined ? ready : `${ready}: ${renderCause(rollout.cause).sentence}`;
    case "verifying":
      return rollout.wanted === 0
        ? ""
        : rollout.cause === undefined
          ? `${ready}, asking through the router`
          : `${ready}: ${renderCause(rollout.cause).sentence}`;
    case "reverting":
      return rollout.from === undefined ? "taking the new instances away" : `back to v${rollout.from}`;
    case "succeeded":
      return [
        ...(rollout.release === undefined ? [] : [`v${rollout.release}`]),
        ...(rollout.wanted === 0 ? [] : [ready]),
        ...(rollout.verified ?? []).slice(0, 1).map((check) => `${check.url} answered ${check.status}`),
      ].join(", ");
    // The way back may be over before anybody looked.
    case "failed":
    case "aborted":
      return rollout.from === undefined ? "" : `v${rollout.from} stays`;
    case "superseded":
      return "";
    default:
      return rollout.phase satisfies never;
  }
}

const stepOf = ({ step }: Rollout): string | undefined => (step === undefined ? undefined : stepText(step));

function buildDetail(rollout: Rollout, model: Model): string {
  if (rollout.build === undefined) return stepOf(rollout) ?? "";
  const build = model.builds.get(rollout.build);
  if (build === undefined || build.phase === "queued") return `build #${rollout.build} is queued`;
  const step = build.steps.findLast((candidate) => candidate.state === "running") ?? build.steps.at(-1);
  const line = model.lastLines.get(rollout.build);
  return [step?.name, line].filter((part) => part !== undefined && part !== "").join(": ");
}
