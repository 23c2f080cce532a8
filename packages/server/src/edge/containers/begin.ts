// What instances and tasks have in common where they are containers of one daemon.
import { rmSync } from "node:fs";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { InstanceOrder } from "../../engines/agent/order.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import type { Workload } from "../../engines/engine.ts";
import { Departures } from "../agent/departures.ts";
import type { Fences } from "../agent/fences.ts";
import { Contained, type ContainedDeps } from "./contained.ts";
import type { Doors } from "./doors.ts";
import type { Networks } from "./networks.ts";

export interface ContainersDeps extends Pick<ContainedDeps, "daemon" | "stalls" | "now" | "say"> {
  readonly networks: Networks;
  readonly doors: Doors;
  readonly fences: Fences;
  readonly home: string;
  /** Errors of the daemon as the planner is told of them. */
  readonly failure: (error: unknown) => Error;
}

/** Why such a workload is no container at all. */
export function refusalOf({ artifact }: Workload): Cause | undefined {
  return artifact.kind === "image" ? undefined : cause("artifact_missing", { digest: artifact.digest });
}

/** Makes its container, with an address on its stack's network; the next look starts it. On an error the address is its own still. */
export async function makeContained(order: InstanceOrder, deps: ContainersDeps, its: ContainedDeps): Promise<Contained> {
  const { daemon, networks, doors } = deps;
  const { stackId } = order.workload;
  await networks.open(stackId, order.ref.stack);
  const addressed: ContainerOrder = { ...order, address: networks.take(stackId, order.id) };
  const container = await daemon.create(addressed, doors.hostsFile(stackId));
  return Contained.open(addressed, container, its);
}

/** What the daemon has of an earlier agent. */
export function adoptContained(order: ContainerOrder, container: string, deps: ContainersDeps, its: ContainedDeps): Contained {
  const one = Contained.open(order, container, its);
  deps.networks.keep(order.address, order.id);
  // The daemon needs it whenever it starts the container again.
  deps.doors.hostsFile(order.workload.stackId);
  return one;
}

/** The daemon may be away: what could not be removed is tried again. */
export function containerDepartures({ daemon, now, say }: ContainersDeps): Departures<Contained> {
  return new Departures({
    now,
    say,
    hasLines: () => true,
    onFailure: "retry",
    remove: async (one) => {
      await daemon.remove(one.container);
      rmSync(one.dir, { recursive: true, force: true });
    },
  });
}
