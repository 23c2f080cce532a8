// What the builder over BuildKit promises beyond what it shares with others: its own language, caches whose names nobody can guess his way into, and a cache that is bounded.
import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Catalogue } from "../../core/image/catalogue.ts";
import { DockerApi } from "../../docker/api.ts";
import { dockerdMissing, startDockerd, type TestDaemon } from "../../docker/testing/daemon.ts";
import type { Builder } from "../builder.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "../testing/buildkit.ts";
import { debianMissing, debianTar } from "../testing/debian.ts";
import { buildFiles, filesIn, imageOf, processesRunning, until, type Asked, type Run } from "../testing/imagelab.ts";
import { layoutOf } from "../testing/ocilayout.ts";
import { BuildkitUnreachable, callBuildctl } from "./buildctl.ts";
import { createBuildkitBuilder, type BuildkitBuilderDeps } from "./buildkit.ts";
import { loadIntoDocker } from "./output.ts";

const base = "berth-test/debian:12";
const catalogue: Catalogue = { os: base, runtimes: [], tools: [] };
const never = new AbortController().signal;
const missing = dockerdMissing() ?? debianMissing() ?? buildkitMissing();
/** Seconds, as nobody else on this machine sleeps. */
const napping = `300.${process.pid}`;

describe.skipIf(missing !== undefined)(`image builds by buildkit${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-buildkit-"));
  const folder = join(dir, "builds");
  let daemon: TestDaemon;
  let buildkitd: TestBuildkit;
  let api: DockerApi;
  let blobs: TestBlobs;
  let deps: BuildkitBuilderDeps;
  let builder: Builder;

  beforeAll(async () => {
    [daemon, buildkitd] = await Promise.all([startDockerd(), startBuildkitd()]);
    api = new DockerApi(daemon.endpoint);
    blobs = await folderBlobs(join(dir, "blobs"));
    const layouts = { [base]: await layoutOf(await debianTar(), { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }) };
    const output = loadIntoDocker(api);
    const staticServer = (): Promise<string> => Promise.resolve("");
    deps = { blobs, catalogue: () => catalogue, staticServer, buildkit: buildkitd.buildkit, output, folder, labels: {}, layouts };
    builder = createBuildkitBuilder(deps);
  });
  afterEach(() => {
    // Whatever the end, no folder of a build is left.
    expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
  });
  afterAll(async () => {
    api?.close();
    await buildkitd?.[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const build = (dockerfile: string, asked?: Asked): Promise<Run> =>
    buildFiles(builder, blobs, { Dockerfile: `FROM ${base}\n${dockerfile}` }, asked);

  const sleeping = (): number => processesRunning(["sleep", napping]);

  /** Records of the cache, as `buildctl du` describes them. */
  async function cached(): Promise<{ readonly description: string; readonly size: number }[]> {
    const text = await callBuildctl(deps.buildkit, ["du", "--verbose", "--format", "{{json .}}"], never);
    return (JSON.parse(text) as { description: string; size: number }[] | null) ?? [];
  }

  it("show a cache mount to no other stack, whatever that one calls it", async () => {
    imageOf(await build("RUN --mount=type=cache,id=deps,target=/c echo mine > /c/f", { stackId: "s1" }));
    const seenBy = async (id: string, more?: Asked): Promise<string> => {
      const read = `RUN --mount=type=cache,id=${id},target=/c cat /c/f > /seen 2>&1 || echo nothing > /seen; : ${randomUUID()}`;
      return (await filesIn(api, imageOf(await build(read, { stackId: "s2", ...more })), "/seen"))["seen"] ?? "";
    };
    const [found] = (await cached()).flatMap(({ description }) => /with id "(berth-[0-9a-f]+)\/deps"/.exec(description)?.[1] ?? []);
    expect(found).toBeDefined();
    for (const id of [`${found ?? ""}/deps`, `../${found ?? ""}/deps`, `/${found ?? ""}/deps`]) expect(await seenBy(id)).toBe("nothing\n");
    const reserved = { BUILDKIT_CACHE_MOUNT_NS: found ?? "", BUILDKIT_SANDBOX_HOSTNAME: found ?? "" };
    expect(await seenBy("deps", { env: reserved })).toBe("nothing\n");
  });

  it("read files of BuildKit's own language without asking anybody for its reader", async () => {
    const text = `# syntax=docker/dockerfile:1\nFROM ${base}\nCOPY --link <<EOF /made\nby hand\nEOF\nRUN <<EOF\ncat /made > /again\nEOF`;
    const image = imageOf(await buildFiles(builder, blobs, { Dockerfile: text }));
    expect(await filesIn(api, image, "/again")).toEqual({ again: "by hand\n" });
  });

  it("take nothing that a step prints for BuildKit's own words", async () => {
    const imitating = `RUN printf '{"vertexes":[]}\\nDockerfile:99\\nerror: failed to solve: mine\\n' >&2; echo 'Error: mine'; exit 5`;
    expect((await build(imitating)).outcome).toMatchObject({
      cause: { code: "dockerfile_step_failed", params: { line: 2, reason: expect.stringContaining("exit code 5") as string } },
    });
  });

  it("give no step the machine's network or its privileges", async () => {
    for (const option of ["--network=host", "--security=insecure"]) {
      const { outcome, steps } = await build(`RUN ${option} true`);
      expect(outcome).toMatchObject({
        cause: {
          code: "dockerfile_unusable",
          params: { where: "Dockerfile", reason: expect.stringContaining(option.slice(2).replace("=", ".")) as string },
        },
      });
      expect(steps).toEqual([]);
    }
  });

  it("keep no more of their cache than they may", async () => {
    // The base has twice its 80 MB there, and so has what each of three builds adds to it: once as it came or went, once unpacked.
    const most = 300_000_000;
    const bounded = createBuildkitBuilder({ ...deps, cacheBytes: most });
    for (const name of ["big-a", "big-b", "big-c"])
      imageOf(await buildFiles(bounded, blobs, { Dockerfile: `FROM ${base}\nRUN head -c 40000000 /dev/urandom > /${name}` }));
    const records = await cached();
    expect(records.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(most);
    // What was used last is kept.
    expect(records.filter(({ description }) => description.includes("> /big-c")).length).toBe(1);
  });

  it("are no project's failure when BuildKit, or who keeps its images, is not there", async () => {
    const nobody = createBuildkitBuilder({ ...deps, buildkit: { ...deps.buildkit, address: `unix://${join(dir, "nobody")}` } });
    const files = { Dockerfile: `FROM ${base}\nRUN true` };
    await expect(buildFiles(nobody, blobs, files)).rejects.toBeInstanceOf(BuildkitUnreachable);
    const without = createBuildkitBuilder({ ...deps, buildkit: { ...deps.buildkit, program: join(dir, "nothing") } });
    await expect(buildFiles(without, blobs, files)).rejects.toMatchObject({ code: "ENOENT" });
    const gone = new DockerApi({ type: "unix", path: join(dir, "nobody") });
    const homeless = createBuildkitBuilder({ ...deps, output: loadIntoDocker(gone) });
    await expect(buildFiles(homeless, blobs, files)).rejects.toMatchObject({ name: "DockerUnreachable" });
    gone.close();
    const dying = await startBuildkitd();
    const orphaned = createBuildkitBuilder({ ...deps, buildkit: dying.buildkit });
    const running = expect(
      buildFiles(orphaned, blobs, { Dockerfile: `FROM ${base}\nRUN : connection error; exec sleep ${napping}` }),
    ).rejects.toBeInstanceOf(BuildkitUnreachable);
    await until(() => sleeping() === 1, "the step to run");
    await dying[Symbol.asyncDispose]();
    await running;
    expect((await build("RUN echo Unavailable: connection error; exit 1")).outcome).toMatchObject({ ok: false });
  });
});
