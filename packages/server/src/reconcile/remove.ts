// The only place that takes anything away from a cluster: nothing goes without the word of a tombstone (design.md, section 3), which is an argument here, so
// that no caller can forget it.
import type { Grave, Tombstone } from "../db/tombstones.ts";
import type { Engine, Fence, Ref } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";

export interface RemovalPlaces {
  engine(cluster: string): Pick<Engine, "remove" | "forgetComponent">;
  traffic(cluster: string): Pick<Traffic, "remove">;
}

/** Users first, then what runs, then what is kept of it; absent = success. False: something of it is still ending, ask again. Errors: `stale_generation` when something newer was ordered for this ref. */
export async function removeObjects(
  places: RemovalPlaces,
  tombstone: Tombstone,
  ref: Ref,
  fence: Fence,
  signal: AbortSignal,
): Promise<boolean> {
  if (!speaksFor(tombstone.grave, ref)) throw new Error(`tombstone ${tombstone.id} does not speak for ${ref.stack}/${ref.component}`);
  await places.traffic(tombstone.cluster).remove(ref, fence, signal);
  const engine = places.engine(tombstone.cluster);
  await engine.remove(ref, fence, signal);
  return engine.forgetComponent(ref, signal);
}

/** The volume's content, for good. */
export async function removeVolume(
  places: { engine(cluster: string): Pick<Engine, "volumes"> },
  tombstone: Tombstone,
  signal: AbortSignal,
): Promise<void> {
  const { grave } = tombstone;
  if (grave.kind !== "volume") throw new Error(`tombstone ${tombstone.id} does not speak for a volume`);
  await places.engine(tombstone.cluster).volumes.remove(grave.stackId, grave.volume, signal);
}

/** What is left of a stack as a whole: on its own tombstone, or on that of the last volume that it had kept. False: something of it is still ending. */
export async function forgetStack(
  places: { engine(cluster: string): Pick<Engine, "forget"> },
  tombstone: Tombstone,
  stack: Parameters<Engine["forget"]>[0],
  signal: AbortSignal,
): Promise<boolean> {
  const { grave } = tombstone;
  const meant = grave.kind === "stack" ? grave.stack === stack.name : grave.kind === "volume" && grave.stackId === stack.id;
  if (!meant) throw new Error(`tombstone ${tombstone.id} does not speak for stack ${stack.name}`);
  return places.engine(tombstone.cluster).forget(stack, signal);
}

function speaksFor(grave: Grave, ref: Ref): boolean {
  switch (grave.kind) {
    case "component":
      return grave.stack === ref.stack && grave.component === ref.component;
    case "stack":
      return grave.stack === ref.stack;
    case "volume":
      return false;
    default:
      return grave satisfies never;
  }
}
