// The Docker engine conforms: over a real daemon, an agent of containers and a collector.
import { beforeAll, describe } from "vitest";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { dockerdMissing, podmanMissing } from "../../docker/testing/daemon.ts";
import { ContainersLab } from "../../edge/containers/testing/lab.ts";
import { describeEngine } from "../conformance.ts";
import { programs } from "./testing/programs.ts";

for (const [kind, missing] of [
  ["docker", dockerdMissing() ?? debianMissing()],
  ["podman", podmanMissing() ?? debianMissing()],
] as const)
  describe.skipIf(missing !== undefined)(`on ${kind}${missing === undefined ? "" : ` (${missing})`}`, () => {
    // Made once for all tests of this machine, in minutes.
    beforeAll(() => debianTar(), 600_000);
    describeEngine("docker", async () => {
      const lab = await ContainersLab.open(kind);
      return {
        engine: lab.engine,
        owners: "kept",
        workload: (does, over) => Promise.resolve(lab.workload({ ...programs[does], ...over })),
        [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
      };
    });
  });
