// What the builder over BuildKit promises beyond the Dockerfile itself: secrets, caches that are one stack's, an end that is one, and a cache that is bounded.
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { planOf } from "../../core/buildplan/tree.fixture.ts";
import type { Catalogue } from "../../core/image/catalogue.ts";
import { DockerApi } from "../../docker/api.ts";
import { dockerdMissing, startDockerd, type TestDaemon } from "../../docker/testing/daemon.ts";
import { registryMissing, startRegistry } from "../../docker/testing/registry.ts";
import { importImage } from "../bases/import.ts";
import type { Builder } from "../builder.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { buildkitMissing, startBuildkitd, type TestBuildkit } from "../testing/buildkit.ts";
import { debianMissing, debianTar } from "../testing/debian.ts";
import { buildFiles, exported, filesIn, imageOf, processesRunning, until, type Asked, type Run } from "../testing/imagelab.ts";
import { layoutOf } from "../testing/ocilayout.ts";
import { folderTar, streamOf } from "../testing/tarball.ts";
import { BuildkitUnreachable, callBuildctl } from "./buildctl.ts";
import { createBuildkitBuilder, type BuildkitBuilderDeps } from "./buildkit.ts";
import { loadIntoDocker } from "./output.ts";
import { pushImage } from "./push.ts";

const base = "berth-test/debian:12";
const catalogue: Catalogue = { os: base, runtimes: [], tools: [] };
const never = new AbortController().signal;
const missing = dockerdMissing() ?? debianMissing() ?? buildkitMissing() ?? registryMissing();
/** Seconds, as nobody else on this machine sleeps. */
const napping = `300.${process.pid}`;
const secret = "hunter2-hunter2";

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
    api.close();
    await buildkitd[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
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

  it("run the steps of a plan, install again only for another lockfile, and say which of them failed", async () => {
    const step = (name: "install" | "build", line: string, inputs: string[], outputs: string[]): BuildPlan["steps"][number] => ({
      ...{ name, command: { shell: line }, why: "the test says so", inputs, outputs, network: false },
    });
    const planned = (lock: string, line: string): Promise<Run> => {
      const files = { Procfile: "web: cat /app/made", lock, line };
      const steps = [step("install", "mkdir deps && cp lock deps/ && echo installed", ["lock"], ["deps"]), step("build", line, [], [])];
      return buildFiles(builder, blobs, files, { plan: { ...planOf(files), steps } });
    };
    const first = await planned("1", "cp deps/lock made && echo built");
    expect(first.steps).toEqual(["install started", "install finished", "build started", "build finished"]);
    expect(first.lines).toEqual(expect.arrayContaining(["installed", "built"]));
    expect(await filesIn(api, imageOf(first), "/app")).toMatchObject({ "app/made": "1", "app/deps/lock": "1" });
    expect(first.outcome).toMatchObject({ processes: ["web"] });
    const second = await planned("1", "cp deps/lock made && echo again");
    expect(second.steps).toEqual(["install cached", "build started", "build finished"]);
    const third = await planned("1", "echo 'TypeError: x is not a function' >&2; exit 3");
    expect(third.steps).toEqual(["install cached", "build started", "build failed"]);
    expect(third.outcome).toMatchObject({
      ok: false,
      cause: { code: "build_failed", params: { step: "build", exitCode: 3, line: "TypeError: x is not a function" } },
    });
  });

  it("show a secret to the step that asks for it, and leave it in no layer, log or history", async () => {
    const mount = "--mount=type=secret,id=token,required";
    const run = await build(
      `RUN ${mount} cp /run/secrets/token /dev/shm/t && sha256sum < /dev/shm/t > /sum && cat /dev/shm/t\nRUN --mount=type=secret,id=token,env=TOKEN echo "as $TOKEN"\nRUN ls /run/secrets > /left 2>&1 || true`,
      { secrets: { token: secret, other: "not-asked-for" } },
    );
    const image = imageOf(run);
    const sum = createHash("sha256").update(secret).digest("hex");
    expect(await filesIn(api, image, "/sum")).toEqual({ sum: `${sum}  -\n` });
    expect((await filesIn(api, image, "/left"))["left"]).not.toContain("token");
    expect(run.lines).toEqual(expect.arrayContaining(["***", "as ***"]));
    expect(run.lines.join("\n")).not.toContain(secret);
    const everything = await exported(api, image);
    expect(everything.includes(sum)).toBe(true);
    expect(everything.includes(secret)).toBe(false);
    expect(everything.includes(Buffer.from(secret).toString("base64"))).toBe(false);
    expect(JSON.stringify(await api.json("GET", `/images/${image}/history`))).not.toContain(secret);
  });

  it("give no stack what a step of another made with its secret", async () => {
    const file = "RUN --mount=type=secret,id=token sha256sum < /run/secrets/token > /sum";
    const sumFor = async (stackId: string, value: string): Promise<string> =>
      (await filesIn(api, imageOf(await build(file, { stackId, secrets: { token: value } })), "/sum"))["sum"] ?? "";
    expect(await sumFor("s1", "value-of-one")).not.toBe(await sumFor("s2", "value-of-two"));
  });

  it("keep a cache mount for the stack's next build, and show it to no other stack, whatever that one calls it", async () => {
    const write = "RUN --mount=type=cache,id=deps,target=/c echo mine > /c/f";
    imageOf(await build(write, { stackId: "s1" }));
    const seenBy = async (stackId: string, id: string, more?: Asked): Promise<string> => {
      const read = `RUN --mount=type=cache,id=${id},target=/c cat /c/f > /seen 2>&1 || echo nothing > /seen; : ${randomUUID()}`;
      return (await filesIn(api, imageOf(await build(read, { stackId, ...more })), "/seen"))["seen"] ?? "";
    };
    expect(await seenBy("s1", "deps")).toBe("mine\n");
    expect(await seenBy("s2", "deps")).toBe("nothing\n");
    const [found] = (await cached()).flatMap(({ description }) => /with id "(berth-[0-9a-f]+)\/deps"/.exec(description)?.[1] ?? []);
    expect(found).toBeDefined();
    for (const id of [`${found ?? ""}/deps`, `../${found ?? ""}/deps`, `/${found ?? ""}/deps`])
      expect(await seenBy("s2", id)).toBe("nothing\n");
    const reserved = { BUILDKIT_CACHE_MOUNT_NS: found ?? "", BUILDKIT_SANDBOX_HOSTNAME: found ?? "" };
    expect(await seenBy("s2", "deps", { env: reserved })).toBe("nothing\n");
    // The same lines again are the first stack's result, had they been taken from its cache.
    const same = "RUN --mount=type=cache,id=deps,target=/c cat /c/f > /same 2>&1 || echo nothing > /same";
    expect(await filesIn(api, imageOf(await build(same, { stackId: "s1" })), "/same")).toEqual({ same: "mine\n" });
    expect(await filesIn(api, imageOf(await build(same, { stackId: "s3" })), "/same")).toEqual({ same: "nothing\n" });
    // Gone with the stack, and only that one's.
    imageOf(await build(write.replace("mine", "kept"), { stackId: "s4" }));
    await builder.forget("s1");
    expect(await seenBy("s1", "deps")).toBe("nothing\n");
    expect(await seenBy("s4", "deps")).toBe("kept\n");
  });

  it("take a private base image by the credentials of its registry, and tell who lacks them", async () => {
    await using registry = await startRegistry();
    const image = await importImage(api, streamOf(await folderTar({ hello: "from afar" })), { reference: "berth-test/private:1" });
    const repository = `${registry.host}/berth/private`;
    expect(
      await pushImage(api, { image, repository, tag: "1", login: { ...registry.login, plainHttp: true }, say: () => undefined }, never),
    ).toMatchObject({ ok: true });
    const files = { Dockerfile: `FROM ${repository}:1\nCMD ["none"]` };
    const refused = await buildFiles(builder, blobs, files);
    expect(refused.outcome).toMatchObject({ ok: false, cause: { code: "base_image_missing", params: { image: `${repository}:1` } } });
    const all = [{ ...registry.login, plainHttp: true }];
    const knowing = createBuildkitBuilder({ ...deps, logins: () => Promise.resolve({ all, standard: "" }) });
    const built = await buildFiles(knowing, blobs, files);
    expect(await filesIn(api, imageOf(built), "/hello")).toEqual({ hello: "from afar" });
    expect(JSON.stringify(built)).not.toContain(registry.login.password);
  });

  it("read files of BuildKit's own language without asking anybody for its reader", async () => {
    const text = `# syntax=docker/dockerfile:1\nFROM ${base}\nCOPY --link <<EOF /made\nby hand\nEOF\nRUN <<EOF\ncat /made > /again\nEOF`;
    const image = imageOf(await buildFiles(builder, blobs, { Dockerfile: text }));
    expect(await filesIn(api, image, "/again")).toEqual({ again: "by hand\n" });
  });

  it("say that a base image is missing", async () => {
    const { outcome } = await buildFiles(builder, blobs, { Dockerfile: "FROM 127.0.0.1:9/none:1\nRUN true" });
    expect(outcome).toMatchObject({ ok: false, cause: { code: "base_image_missing", params: { image: "127.0.0.1:9/none:1" } } });
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

  it("end with what they run when they are cancelled, and at their deadline", async () => {
    const cancel = new AbortController();
    const nap = `RUN echo begun; exec sleep ${napping}`;
    const running = build(nap, { signal: cancel.signal });
    await until(() => sleeping() === 1, "the step to run");
    cancel.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    await until(() => sleeping() === 0, "the step to be gone");
    const late = build(nap, { deadline: 4_000 });
    await until(() => sleeping() === 1, "the step to run");
    expect((await late).outcome).toMatchObject({ ok: false, cause: { code: "build_deadline" } });
    await until(() => sleeping() === 0, "the step to be gone");
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

  it("leave nothing of what a crashed control plane began", async () => {
    const left = join(folder, "build-of-before");
    mkdirSync(join(left, "context"), { recursive: true });
    const client = spawn("sleep", ["300"], { env: { PATH: process.env["PATH"], BERTH_BUILD_FOLDER: left }, stdio: "ignore" });
    const ended = once(client, "exit");
    await builder.sweep((id) => id === "build-of-before");
    expect([existsSync(left), client.exitCode, client.signalCode]).toEqual([true, null, null]);
    await builder.sweep(() => false);
    expect((await ended)[1]).toBe("SIGKILL");
    expect(existsSync(left)).toBe(false);
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
