// Images built by BuildKit, through the whole product: what only it can do, and a secret that no image ever holds.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "../../packages/server/src/builders/testing/buildkit.ts";
import { exported, filesIn } from "../../packages/server/src/builders/testing/imagelab.ts";
import type { Contents, Files } from "../harness.ts";
import { DockerPlace, missing as dockerLacks, until } from "./place.ts";

const missing = dockerLacks ?? buildkitMissing();
const secret = "hunter2-hunter2";

/** A shell and little more, with the libraries that these programs load: an image begins with it, without a registry. */
function smallRoot(): Buffer {
  const programs = ["/bin/sh", "/bin/cat", "/bin/sleep"];
  const libraries = programs.flatMap((program) => [...execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)]);
  return execFileSync(
    "tar",
    ["-ch", "-C", "/", ...new Set([...programs, ...libraries.map(([, path = ""]) => path)].map((path) => path.slice(1)))],
    { maxBuffer: 64 * 1024 * 1024 },
  );
}

describe.skipIf(missing !== undefined)(`images by BuildKit${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: DockerPlace;
  let buildkitd: TestBuildkit;
  const root = missing === undefined ? smallRoot() : Buffer.alloc(0);

  beforeAll(async () => {
    buildkitd = await startBuildkitd();
    const { address, program } = buildkitd.buildkit;
    place = await DockerPlace.open({}, { BERTH_BUILDKIT: address, BERTH_BUILDCTL: program });
  }, 900_000);
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await buildkitd?.[Symbol.asyncDispose]();
  });

  const compose: Files = {
    "compose.yaml": `services:
  jobs:
    build: {context: ., secrets: [{source: token, target: npm_token}]}
    x-berth: {kind: worker}
    stop_grace_period: 1s
secrets:
  token: {external: true}
`,
  };
  const source = (line: string, more = ""): Readonly<Record<string, Contents>> => ({
    ".": {
      "root.tar": root,
      Dockerfile: `FROM scratch
ADD root.tar /
RUN --mount=type=secret,id=npm_token,required ${line}
CMD ["/bin/sh", "-c", "while :; do sleep 1; done"]
${more}`,
    },
  });
  const imageNow = async (): Promise<string> => {
    const label = ["berth.stack=shop", "berth.role=instance"];
    const [one] = await place.api.json<{ ImageID: string }[]>("GET", "/containers/json", { query: { filters: JSON.stringify({ label }) } });
    return one?.ImageID ?? "";
  };
  const logOf = async (build: number): Promise<string> => {
    const { code, said } = await place.berth.cli(["builds", "logs", String(build), "--stack", "shop"]);
    expect(code, said).toBe(0);
    return said;
  };

  test("a build asks for a secret that is not set: it is refused before anything begins", async () => {
    await place.berth.client.createStack({ body: { name: "shop" } });
    await expect(place.berth.up("shop", compose, source("true"))).rejects.toMatchObject({
      code: "secret_not_found",
      params: { secret: "token" },
    });
  });

  test("shows a secret of the stack to the step that asks for it, and to nobody else", async () => {
    await place.berth.client.setSecret({ params: { stack: "shop", secret: "token" }, body: { value: secret } });
    await place.berth.deployed("shop", compose, source("x=$(cat /run/secrets/npm_token) && echo got $x && echo ${#x} > /length"));
    const image = await imageNow();
    expect(await filesIn(place.api, image, "/length")).toEqual({ length: `${String(secret.length)}\n` });
    expect((await exported(place.api, image)).includes(secret)).toBe(false);
    const said = await logOf(1);
    expect(said).toMatch(/got \*+/);
    expect(said).not.toContain(secret);
    const used = await place.berth.client.listSecrets({ params: { stack: "shop" }, query: {} });
    expect(used.items.find((one) => one.name === "token")?.usedBy).toEqual(["jobs"]);
  });

  test("says what is in the image and where it comes from, by a command that names no secret's value", async () => {
    // It comes after the build was told as succeeded.
    const read = (verb: "sbom" | "provenance"): Promise<string> => {
      let last = "";
      return until(
        async () => {
          const { code, said } = await place.berth.cli(["builds", verb, "1", "--stack", "shop"]);
          expect(said).not.toContain(secret);
          last = said;
          return code === 0 ? said : undefined;
        },
        `the build's ${verb}`,
        undefined,
        () => last,
      );
    };
    const release = await place.berth.client.showRelease({ params: { stack: "shop", component: "jobs", release: 1 } });
    const origin = JSON.parse(await read("provenance")) as unknown;
    expect(origin).toMatchObject({
      _type: "https://in-toto.io/Statement/v1",
      predicateType: "https://slsa.dev/provenance/v1",
      subject: [{ digest: { sha256: release.artifact.slice("sha256:".length) } }],
      predicate: {
        buildDefinition: { externalParameters: { dockerfile: "Dockerfile", secrets: ["npm_token"] } },
        runDetails: { builder: { id: expect.stringMatching(/^urn:berth:builder:buildkit:/) as string } },
      },
    });
    // An image from nothing: without packages, and said to be the same one.
    const bill = JSON.parse(await read("sbom")) as unknown;
    expect(bill).toMatchObject({ spdxVersion: "SPDX-2.3", packages: [{ checksums: [{ checksumValue: release.artifact.slice(7) }] }] });
    expect((await place.berth.cli(["builds", "show", "1", "--stack", "shop"])).said).toContain("berth builds sbom");
  });

  test("a step that fails is told with its line, and a here-document is understood", async () => {
    const made = await place.berth.up("shop", compose, source("true", "RUN <<EOF\necho begun\nexit 3\nEOF\n"));
    const [rollout] = made.rollouts;
    const ended = await place.berth.ended("shop", "jobs", rollout?.number ?? 0);
    expect(ended.cause).toMatchObject({
      code: "dockerfile_step_failed",
      params: { line: 5, reason: expect.stringContaining("exit code 3") as string },
    });
  });

  test("doctor tells when nobody builds any more, and the build waits for its return", async () => {
    const doctor = async (): Promise<string> => (await place.berth.cli(["doctor"])).said;
    await until(async () => (/image builder: BuildKit answers/.test(await doctor()) ? true : undefined), "doctor to find it");
    await buildkitd.down();
    await until(async () => (/image builder.*cannot be reached/s.test(await doctor()) ? true : undefined), "doctor to tell");
    const made = await place.berth.up("shop", compose, source("echo again"));
    await buildkitd.up();
    expect(await place.berth.ended("shop", "jobs", made.rollouts[0]?.number ?? 0, 180_000)).toMatchObject({ phase: "succeeded" });
  });
});
