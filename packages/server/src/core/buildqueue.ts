// Which queued builds start next: fair between stacks, bounded for the machine and for each stack. Must never look at a clock.

export interface QueuedBuild {
  readonly id: string;
  readonly stackId: string;
  /** Any rising number: a time or a sequence. */ readonly queuedAt: number;
}
export interface RunningBuild {
  readonly stackId: string;
}
export interface BuildLimits {
  readonly total: number;
  readonly perStack: number;
}

/** Whether all that a build was to do has ended well; one with nothing to do never is told so. */
export function areStepsDone(steps: readonly { readonly state: string }[], planned: number): boolean {
  return planned > 0 && steps.length === planned && steps.every(({ state }) => state === "finished" || state === "cached");
}

/**
 * The builds to start now, in order. A stack with fewer running builds goes first; among equals the one whose turn was longest ago (`served`: when a build of
 * the stack was last started, in any rising number; absent: never), so that stacks with many builds each take turns; then the build that waits longest (then the
 * smaller id). No stack passes `perStack`, all together never pass `total`, and nothing that could start is left waiting.
 */
export function chooseNextBuilds<Queued extends QueuedBuild>(
  queued: readonly Queued[],
  running: readonly RunningBuild[],
  limits: BuildLimits,
  served: ReadonlyMap<string, number> = new Map(),
): Queued[] {
  const turns = new Map(served);
  let turn = Math.max(0, ...turns.values());
  const active = new Map<string, number>();
  for (const build of running) active.set(build.stackId, (active.get(build.stackId) ?? 0) + 1);
  const waiting = new Map<string, Queued[]>();
  for (const build of [...queued].sort(byAge)) {
    const line = waiting.get(build.stackId);
    if (line === undefined) waiting.set(build.stackId, [build]);
    else line.push(build);
  }
  const chosen: Queued[] = [];
  while (running.length + chosen.length < limits.total) {
    const next = headOfFairestLine(waiting, active, turns, limits.perStack);
    if (next === undefined) break;
    waiting.get(next.stackId)?.shift();
    active.set(next.stackId, (active.get(next.stackId) ?? 0) + 1);
    turns.set(next.stackId, (turn += 1));
    chosen.push(next);
  }
  return chosen;
}

function headOfFairestLine<Queued extends QueuedBuild>(
  waiting: ReadonlyMap<string, readonly Queued[]>,
  active: ReadonlyMap<string, number>,
  turns: ReadonlyMap<string, number>,
  perStack: number,
): Queued | undefined {
  const turnOf = (build: Queued): number => turns.get(build.stackId) ?? Number.NEGATIVE_INFINITY;
  let best: Queued | undefined;
  let fewest = perStack;
  for (const [stackId, line] of waiting) {
    const head = line[0];
    const count = active.get(stackId) ?? 0;
    if (head === undefined || count >= perStack || count > fewest) continue;
    const sooner = best === undefined || count < fewest || turnOf(head) < turnOf(best);
    if (sooner || (best !== undefined && turnOf(head) === turnOf(best) && byAge(head, best) < 0)) {
      best = head;
      fewest = count;
    }
  }
  return best;
}

function byAge(a: QueuedBuild, b: QueuedBuild): number {
  if (a.queuedAt !== b.queuedAt) return a.queuedAt - b.queuedAt;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
