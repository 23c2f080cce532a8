// What instances and tasks have in common where they are processes of this machine.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Workload } from "../../engines/engine.ts";
import { removeTree } from "../../os/remove.ts";
import { Departures } from "./departures.ts";
import type { Supervised } from "./instance.ts";
import type { Machine } from "./machine.ts";
import { hasPipes } from "./pipes.ts";

/** Why such a workload is no process at all. */
export function refusalOf({ ref, artifact }: Workload): Cause | undefined {
  return artifact.kind === "image"
    ? cause("image_needs_container_engine", { component: ref.component, image: artifact.reference })
    : undefined;
}

/** A pipe's content dies with its last holder: the agent holds the pipes until the collector has read them empty, and only then removes the folder. */
export function processDepartures({ now, say, stacks }: Machine): Departures<Supervised> {
  return new Departures({
    now,
    say,
    // Where its folder was being removed already, nothing is left to read.
    hasLines: (one) => hasPipes(one.dir),
    onFailure: "forget",
    remove: async (one) => {
      await removeTree(join(stacks.open(one.spec.workload.stackId).tmp, one.id));
      // The order first: without it a folder is nobody's, and whoever finds one that a crash left half removed removes the rest.
      rmSync(join(one.dir, "spec.json"), { force: true });
      rmSync(one.dir, { recursive: true, force: true });
    },
  });
}
