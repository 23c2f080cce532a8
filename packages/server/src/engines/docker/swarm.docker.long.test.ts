// The Docker engine conforms on a Swarm too: instances are services, made through a real manager.
import { beforeAll, describe } from "vitest";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { dockerdMissing } from "../../docker/testing/daemon.ts";
import { openSwarmLab } from "../../edge/containers/testing/swarm-lab.ts";
import { describeEngine } from "../conformance.ts";
import { programs } from "./testing/programs.ts";

const missing = dockerdMissing() ?? debianMissing();

describe.skipIf(missing !== undefined)(`on a swarm${missing === undefined ? "" : ` (${missing})`}`, () => {
  // Made once for all tests of this machine, in minutes.
  beforeAll(() => debianTar(), 600_000);
  describeEngine("docker", async () => {
    const { lab } = await openSwarmLab(1);
    return {
      engine: lab.engine,
      owners: "kept",
      workload: (does, over) => Promise.resolve(lab.workload({ ...programs[does], ...over })),
      [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
    };
  });
});
