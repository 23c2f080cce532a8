// Base images that an installation makes by itself, on a real dockerd: an operating system from debootstrap, and a runtime whose package changes on the way, from a repository on this machine.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogueOf } from "../../core/image/bases.ts";
import { planOf } from "../../core/buildplan/tree.fixture.ts";
import { DockerApi } from "../../docker/api.ts";
import { dockerdMissing, startDockerd, type TestDaemon } from "../../docker/testing/daemon.ts";
import { createDockerBuilder } from "../image/docker.ts";
import { labDeps, labRecipes, publish } from "../testing/baselab.ts";
import { folderBlobs } from "../testing/blobs.ts";
import { debianMissing, debianTar } from "../testing/debian.ts";
import { folderTar, streamOf } from "../testing/tarball.ts";
import { makingLabel } from "./images.ts";
import { makeBases, type MakingDeps, type MakingOutcome } from "./make.ts";
import { readBases } from "./record.ts";

const missing = dockerdMissing() ?? debianMissing();
const modules = join(import.meta.dirname, "../..");
const never = new AbortController().signal;

describe.skipIf(missing !== undefined)(`base images made here${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-bases-"));
  const at = (...path: string[]): string => join(dir, ...path);
  let daemon: TestDaemon;
  let api: DockerApi;
  let now = new Date("2026-11-22T10:00:00Z");

  const deps = (): MakingDeps => labDeps(api, dir, () => now);
  const make = (names: readonly string[], force = false): Promise<MakingOutcome[]> => makeBases(deps(), names, { force, signal: never });

  const tags = async (): Promise<string[]> =>
    (await api.json<{ RepoTags: string[] | null }[]>("GET", "/images/json")).flatMap(({ RepoTags }) => RepoTags ?? []).sort();

  /** What a command prints in a container of the image. */
  async function printed(image: string, ...command: string[]): Promise<string> {
    const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: image, Cmd: command, Tty: true } });
    try {
      await api.json("POST", `/containers/${Id}/start`);
      await api.json("POST", `/containers/${Id}/wait`, { timeout: 240_000 });
      return (await text(await api.stream("GET", `/containers/${Id}/logs`, { query: { stdout: true, stderr: true } }))).trim();
    } finally {
      await api.json("DELETE", `/containers/${Id}`, { query: { force: true } });
    }
  }

  beforeAll(async () => {
    publish(dir, "berth-tool", "7.1");
    publish(dir, "berth-maker", "1");
    await debianTar();
    daemon = await startDockerd();
    api = new DockerApi(daemon.endpoint);
  });
  afterAll(async () => {
    api?.close();
    await daemon?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  it("come in layers: the system first, what programs need, and what only builds need", async () => {
    const [system, tool] = await make(["tool"]);
    expect(system).toMatchObject({ result: "first", base: { name: "debian", line: "12", version: "20261122.1" } });
    expect(tool).toMatchObject({
      result: "first",
      base: {
        line: "7",
        on: "localhost/berth-base/debian:12-20261122.1",
        build: { reference: "localhost/berth-base/tool:7-20261122.1" },
        run: { reference: "localhost/berth-base/tool:7-20261122.1-run" },
      },
    });
    const { build, run, packages } = tool?.base ?? {};
    expect(run?.layers.slice(0, 1)).toEqual(system?.base.build.layers);
    expect(build?.layers.slice(0, 2)).toEqual(run?.layers);
    expect(packages).toMatchObject({ "berth-tool": "7.1", "berth-maker": "1", node: process.versions.node });
    // Programs do not get what only builds need, and the layer holds nothing twice.
    const look = "berth-tool; berth-maker; node --version; echo $TOOL; ls /proc /usr/share/man /var/log | head -2; cat /etc/machine-id";
    expect((await printed(run?.reference ?? "", "sh", "-c", look)).split(/\r?\n/)).toEqual(
      expect.arrayContaining(["7.1", process.version, "here", expect.stringMatching(/berth-maker: not found/) as string]),
    );
    expect(await printed(build?.reference ?? "", "berth-maker")).toBe("1");
    const image = await api.json<{ Config: { Labels: Record<string, string> } }>("GET", `/images/${build?.reference ?? ""}/json`);
    expect(image.Config.Labels).toMatchObject({
      "berth.base": "tool",
      "berth.base.version": "7-20261122.1",
      "berth.base.packages": expect.stringMatching(/^sha256:/) as string,
    });
  });

  it("stay as they are while their packages do", async () => {
    const before = await tags();
    const [tool] = await make(["tool"]);
    expect(tool).toMatchObject({ result: "unchanged", base: { version: "20261122.1" } });
    expect(await tags()).toEqual(before);
    expect(await api.json("GET", "/containers/json", { query: { all: true } })).toEqual([]);
    expect(readBases(at("bases.json")).making).toBeUndefined();
  });

  it("get a new version with what has changed, the catalogue names it, and the version before the last one goes", async () => {
    publish(dir, "berth-tool", "7.2");
    const [tool] = await make(["tool"]);
    expect(tool).toMatchObject({
      result: "new",
      before: { version: "20261122.1" },
      base: { version: "20261122.2" },
      changes: { added: [], removed: [], changed: [{ name: "berth-tool", from: "7.1", to: "7.2" }] },
    });
    const { bases } = readBases(at("bases.json"));
    expect(catalogueOf({}, bases).runtimes[0]).toMatchObject({
      runtime: "node",
      version: "7",
      run: "localhost/berth-base/tool:7-20261122.2-run",
    });
    expect(await tags()).toContain("localhost/berth-base/tool:7-20261122.1");
    now = new Date("2026-11-23T10:00:00Z");
    expect((await make(["tool"], true))[0]).toMatchObject({ result: "new", base: { version: "20261123.1" }, changes: { changed: [] } });
    expect((await tags()).filter((tag) => tag.includes("/tool:"))).toEqual([
      "localhost/berth-base/tool:7-20261122.2",
      "localhost/berth-base/tool:7-20261122.2-run",
      "localhost/berth-base/tool:7-20261123.1",
      "localhost/berth-base/tool:7-20261123.1-run",
    ]);
  });

  it("are what the next build is built on, without a restart", async () => {
    const blobs = await folderBlobs(at("blobs"));
    const catalogue = (): ReturnType<typeof catalogueOf> => catalogueOf({}, readBases(at("bases.json")).bases);
    const builder = createDockerBuilder({ api, blobs, catalogue, labels: {}, staticServer: () => Promise.resolve("") });
    const files = { "package.json": JSON.stringify({ scripts: { start: "node server.js" } }), "server.js": "console.log(1)" };
    const { digest } = await blobs.put(streamOf(await folderTar(files)));
    const layers = async (id: string): Promise<readonly string[]> => {
      const request = { id, stackId: "s", stackName: "s", sourceDigest: digest, plan: planOf(files, { prefer: "image" }), env: {} };
      const outcome = await builder.build({ ...request, secretValues: [], deadline: 240_000 }, () => undefined, never);
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.cause));
      return (await api.json<{ RootFS: { Layers: string[] } }>("GET", `/images/${outcome.digest}/json`)).RootFS.Layers;
    };
    const first = await layers("one");
    publish(dir, "berth-tool", "7.3");
    const [tool] = await make(["tool"]);
    const run = tool?.base.run?.layers ?? [];
    expect(first.slice(0, run.length)).not.toEqual(run);
    expect((await layers("two")).slice(0, run.length)).toEqual(run);
  });

  it("leave the catalogue and the daemon as they were when packages cannot be installed", async () => {
    const before = { tags: await tags(), record: readBases(at("bases.json")) };
    const recipes = labRecipes.map((recipe) => (recipe.runtime === undefined ? recipe : { ...recipe, build: ["no-such"] }));
    const broken = { ...deps(), recipes };
    await expect(makeBases(broken, ["tool"], { force: false, signal: never })).rejects.toThrow(/no-such/);
    expect({ tags: await tags(), record: readBases(at("bases.json")) }).toEqual(before);
    expect(readdirSync(at("making"))).toEqual([]);
  });

  it("lose nothing to a SIGKILL in the middle: what it left is removed by the next", async () => {
    const before = await tags();
    const script = `import { DockerApi } from "${modules}/docker/api.ts";
      import { makeBases } from "${modules}/builders/bases/make.ts";
      import { labDeps } from "${modules}/builders/testing/baselab.ts";
      // Its first image has a name, its second one is about to be made: nothing of it may count.
      class Ending extends DockerApi {
        stream(method, path, options) {
          if (path === "/build" && !options.query.t.endsWith("-run")) process.kill(process.pid, "SIGKILL");
          return super.stream(method, path, options);
        }
      }
      const api = new Ending(${JSON.stringify(daemon.endpoint)});
      const deps = labDeps(api, ${JSON.stringify(dir)}, () => new Date("2026-11-24T10:00:00Z"));
      await makeBases(deps, ["tool"], { force: true, signal: new AbortController().signal });`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], { stdio: "inherit" });
    expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
    expect(await tags()).toContain("localhost/berth-base/tool:7-20261124.1-run");
    const left = readBases(at("bases.json"));
    expect(left.making).toBeDefined();
    expect((await tags()).length).toBeGreaterThan(before.length);
    expect(existsSync(at("making", "work", "tool"))).toBe(true);
    expect(await make(["tool"])).toMatchObject([{ result: "unchanged" }]);
    expect(await tags()).toEqual(before);
    const filters = JSON.stringify({ label: [`${makingLabel}=${left.making ?? ""}`] });
    expect(await api.json("GET", "/images/json", { query: { all: true, filters } })).toEqual([]);
    expect(readdirSync(at("making"))).toEqual([]);
  });
});
