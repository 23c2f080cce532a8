// The Docker engine conforms on a host elsewhere too: what is asked of its agent and its collector goes through the tunnel.
import { createReadStream } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { importImage } from "../../builders/bases/import.ts";
import { debianMissing, debianTar } from "../../builders/testing/debian.ts";
import { dockerdMissing } from "../../docker/testing/daemon.ts";
import { perlServer } from "../../edge/containers/testing/lab.ts";
import { describeEngine } from "../../engines/conformance.ts";
import { plainWorkload } from "../../engines/conformance/workload.ts";
import type { Workload } from "../../engines/engine.ts";
import { programs } from "../../engines/docker/testing/programs.ts";
import { HostLab } from "./testing/host-lab.ts";

/** What a program is that is not told otherwise. */
const serving: Pick<Workload, "kind" | "command"> = { kind: "web", command: { exec: ["perl", "-e", perlServer] } };
const missing = dockerdMissing() ?? debianMissing();

describe.skipIf(missing !== undefined)(`on a host elsewhere${missing === undefined ? "" : ` (${missing})`}`, () => {
  let lab: HostLab;
  let image: string;

  // Debian is made once for all tests of this machine, in minutes; Berth's image for each.
  beforeAll(async () => {
    await debianTar();
    lab = await HostLab.open("lab");
    image = await importImage(lab.api, createReadStream(await debianTar()), { reference: "berth-test/debian:lab" });
  }, 600_000);

  it("says why an edge cannot be kept there: its own words, not those of a tunnel to nobody", async () => {
    await expect(HostLab.open("lab", "nobody")).rejects.toThrow(/its edge ends again and again: TypeError: edge config\/errorDetails/);
  }, 300_000);

  describeEngine("docker", () =>
    Promise.resolve({
      engine: lab.engine,
      owners: "kept",
      workload: (does, over) =>
        Promise.resolve(
          plainWorkload(image, { ...serving, artifact: { kind: "image", reference: image } }, { ...programs[does], ...over }),
        ),
      [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
    }),
  );
});
