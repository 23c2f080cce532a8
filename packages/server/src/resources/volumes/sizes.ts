// How large volumes are, as it was measured last: measuring walks through all of their files, so that no list waits for it longer than a moment. A list
// shows a volume without a size rather than late.
import type { VolumePort } from "../../engines/engine.ts";

export interface SizesDeps {
  readonly volumes: (cluster: string) => Pick<VolumePort, "list">;
  /** Milliseconds that only go forward. */
  readonly now: () => number;
}
export interface VolumeSizes {
  /** Bytes by the volumes' ids; without those that are not known in time. */
  of(
    volumes: readonly { readonly id: string; readonly name: string; readonly stack_id: string; readonly cluster: string }[],
  ): Promise<Map<string, number>>;
}

interface Measured {
  readonly at: number;
  /** By name; undefined when it was never found out. */
  readonly bytes: ReadonlyMap<string, number> | undefined;
}

/** ms that a measurement is good for, and that a list waits for the first one. */
const fresh = 10_000;
const patience = 250;
/** ms that one measurement may take. */
const measuring = 60_000;
/** Stacks that are remembered, and that are measured at the same time. */
const most = 1_000;
const hands = 4;

export function createVolumeSizes(deps: SizesDeps): VolumeSizes {
  const known = new Map<string, Measured>();
  const wanted = new Map<string, string>();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  let busy = 0;

  async function work(): Promise<void> {
    busy += 1;
    for (const [stack, cluster] of wanted) {
      wanted.delete(stack);
      const found = await deps
        .volumes(cluster)
        .list(stack, AbortSignal.timeout(measuring))
        .catch(() => undefined);
      if (known.size >= most) known.clear();
      known.set(stack, {
        at: deps.now(),
        bytes: found === undefined ? known.get(stack)?.bytes : new Map(found.map(({ name, bytes }) => [name, bytes])),
      });
      waiting.get(stack)?.resolve();
      waiting.delete(stack);
    }
    busy -= 1;
  }

  /** Resolves when it was measured; one at work is joined. */
  function measure(stack: string, cluster: string): Promise<void> {
    const under = waiting.get(stack);
    if (under !== undefined) return under.promise;
    const order = Promise.withResolvers<void>();
    waiting.set(stack, order);
    wanted.set(stack, cluster);
    if (busy < hands) void work();
    return order.promise;
  }

  return {
    async of(volumes) {
      const first: Promise<void>[] = [];
      for (const [stack, cluster] of new Map(volumes.map((volume) => [volume.stack_id, volume.cluster]))) {
        const before = known.get(stack);
        if (before !== undefined && deps.now() - before.at < fresh) continue;
        const order = measure(stack, cluster);
        if (before === undefined) first.push(order);
      }
      if (first.length > 0) await within(patience, Promise.all(first));
      return new Map(
        volumes.flatMap(({ id, name, stack_id }): [string, number][] => {
          const sizes = known.get(stack_id)?.bytes;
          // One that nothing has used yet has no folder.
          return sizes === undefined ? [] : [[id, sizes.get(name) ?? 0]];
        }),
      );
    },
  };
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([work, late.promise]);
  clearTimeout(timer);
}
