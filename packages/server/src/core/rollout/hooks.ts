// Which of several rollouts that bring the same artifact runs its release command: one of them, and never one that others of them wait to see live. Pure.
import type { ComponentKind } from "@berth/contract/spec.ts";

export interface HookCandidate {
  readonly id: string;
  readonly kind: ComponentKind;
  /** In the order in which they were accepted. */
  readonly order: number;
  /** Rollouts that have to succeed before this one may go on. */
  readonly waitsFor: readonly string[];
}

/**
 * The one of `among` that runs it. A web component is preferred, since its config is the one that people mean; one that waits for another of them is
 * passed over, because that one waits for the command: nobody would ever go on. `waits` tells what any rollout of the deployment waits for.
 */
export function releaseRunner(among: readonly HookCandidate[], waits: ReadonlyMap<string, readonly string[]>): string | undefined {
  const ids = new Set(among.map(({ id }) => id));
  const free = among.filter((candidate) => !waitsForAny(candidate, ids, waits));
  const [first] = (free.length > 0 ? free : among).toSorted(
    (a, b) => Number(b.kind === "web") - Number(a.kind === "web") || a.order - b.order,
  );
  return first?.id;
}

function waitsForAny(candidate: HookCandidate, ids: ReadonlySet<string>, waits: ReadonlyMap<string, readonly string[]>): boolean {
  const seen = new Set<string>();
  const left = [...candidate.waitsFor];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (seen.has(next)) continue;
    if (ids.has(next)) return true;
    seen.add(next);
    left.push(...(waits.get(next) ?? []));
  }
  return false;
}
