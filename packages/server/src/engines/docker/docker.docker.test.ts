// The Docker engine conforms: over a real daemon, an agent of containers and a collector.
import { beforeAll, describe } from "vitest";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { dockerdMissing, podmanMissing } from "../../docker/testing/daemon.ts";
import { ContainersLab, perlServer } from "../../edge/containers/testing/lab.ts";
import { describeEngine } from "../conformance.ts";
import type { Does } from "../conformance/lab.ts";
import type { Workload } from "../engine.ts";

const programs: Readonly<Record<Does, Partial<Workload>>> = {
  serve: { kind: "web", command: { exec: ["perl", "-e", perlServer] }, ports: [{ name: "http", protocol: "http" }] },
  run: { kind: "worker", command: { shell: "echo hello; exec sleep 300" } },
  crash: { kind: "worker", command: { shell: "echo no; exit 3" } },
  end: { kind: "worker", command: { shell: "exit 0" } },
  stubborn: { kind: "worker", command: { shell: "trap '' TERM; while :; do sleep 0.05; done" } },
};

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
