// How followed work failed, as one failure with the causes of all parts: what failed by itself before what failed because of it.
import type { Cause } from "@berth/contract/causes.ts";
import { renderCause } from "@berth/contract/causes.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { labelOf } from "./model.ts";
import { oneLine } from "../output/width.ts";
import { evidenceLines } from "../view/cause.ts";

interface Part {
  readonly names: readonly string[];
  readonly phase: string;
  readonly cause: Cause | undefined;
}

/** What did not come up, for programs: as API objects say it, and in words. */
export interface ToldFailure {
  /** Components; `build N` where only a build was followed. */
  readonly names: readonly string[];
  readonly phase: string;
  readonly cause?: Cause;
  readonly sentence: string;
  readonly next: string;
}

/** What failed by itself before what failed because of it; several that failed for one reason are one. */
export function toldFailures(rollouts: readonly Rollout[], builds: readonly Build[], stack: string): ToldFailure[] {
  return grouped(partsOf(rollouts, builds)).map((part) => ({
    names: part.names,
    phase: part.phase,
    ...(part.cause === undefined ? {} : { cause: part.cause }),
    ...told_(part, stack),
  }));
}

/** `of` is how many rollouts were followed. */
export function failureOf(
  rollouts: readonly Rollout[],
  builds: readonly Build[],
  of: number,
  stack: string,
  ctx: Pick<Context, "out">,
): Failure {
  const parts = grouped(partsOf(rollouts, builds));
  const paint = ctx.out.errPaint;
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) {
    const told = told_(only, stack);
    return new Failure(exitCodes.rolloutFailed, `${only.names.join(", ")}: ${told.sentence}`, {
      lines: only.cause === undefined ? [] : evidenceLines(only.cause, paint),
      next: told.next,
    });
  }
  const failed = parts.flatMap((part) => part.names);
  const lines = parts.flatMap((part) => {
    const told = told_(part, stack);
    return [
      "",
      `${paint.bold(part.names.join(", "))}: ${told.sentence}`,
      ...(part.cause === undefined ? [] : evidenceLines(part.cause, paint)).map((line) => `  ${line}`),
      ...(told.next === "" ? [] : [`  ${paint.bold("Next:")} ${told.next}`]),
    ];
  });
  return new Failure(exitCodes.rolloutFailed, `${failed.length} of ${Math.max(of, failed.length)} did not come up: ${failed.join(", ")}.`, {
    lines: [...lines, ""],
    next: `\`berth status -s ${stack}\` shows what runs now.`,
  });
}

function partsOf(rollouts: readonly Rollout[], builds: readonly Build[]): Part[] {
  return [
    ...rollouts.map((rollout) => ({ names: [labelOf(rollout)], phase: rollout.phase, cause: rollout.cause })),
    ...builds.map((build) => ({ names: [`build ${build.number}`], phase: build.phase, cause: build.cause })),
  ];
}

function told_(part: Part, stack: string): { readonly sentence: string; readonly next: string } {
  if (part.cause === undefined)
    return {
      sentence: `It ${part.phase === "aborted" ? "was aborted" : part.phase === "superseded" ? "was superseded" : part.phase}.`,
      next: `\`berth status -s ${stack}\` shows what runs now.`,
    };
  const { sentence, next } = renderCause(part.cause);
  return { sentence: oneLine(sentence), next: oneLine(next) };
}

/** Components that failed for the same reason (one build) are told once; consequences come last. */
function grouped(parts: readonly Part[]): Part[] {
  const byCause = new Map<string, Part>();
  for (const part of parts) {
    const key = part.cause === undefined ? part.names.join() : JSON.stringify([part.cause.code, part.cause.params, part.cause.evidence]);
    const known = byCause.get(key);
    byCause.set(key, known === undefined ? part : { ...known, names: [...known.names, ...part.names] });
  }
  const consequence = (part: Part): number => (part.cause?.code === "dependency_failed" ? 1 : 0);
  return [...byCause.values()].sort((a, b) => consequence(a) - consequence(b));
}
