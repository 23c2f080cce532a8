// A workload as tests of engines need one: a worker of its own hash that starts again, with nothing else to it.
import { createHash } from "node:crypto";
import type { Workload } from "../engine.ts";

/** Different `about` or `over` gives a different releaseHash. */
export function plainWorkload(
  about: string,
  base: Pick<Workload, "artifact" | "command" | "kind"> & Partial<Workload>,
  over: Partial<Workload>,
): Workload {
  return {
    ref: { stack: "shop", component: "web" },
    stackId: "stack-1",
    releaseHash: `sha256:${createHash("sha256")
      .update(about + JSON.stringify(over))
      .digest("hex")}`,
    releaseNumber: 1,
    workdir: ".",
    artifactEnv: {},
    env: {},
    secretValues: [],
    ports: [],
    volumes: [],
    resources: {},
    probes: {},
    restart: "always",
    gracePeriod: 2_000,
    securityProfile: "restricted",
    tools: [],
    ...base,
    ...over,
  };
}
