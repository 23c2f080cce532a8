// What every builder of images promises, from a stored source to a container that answers.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { planOf, type Files } from "../../core/buildplan/tree.fixture.ts";
import type { Catalogue } from "../../core/image/catalogue.ts";
import { readFrames } from "../../docker/frames.ts";
import { attemptsIn, strayed } from "../../sandbox/testing/attempts.ts";
import type { DockerApi } from "../../docker/api.ts";
import type { Builder } from "../builder.ts";
import { hostileProgram, hostileTargets } from "./hostile-build.ts";
import { base, entriesOf, ImageBuilders, imageBuildersMissing, type ImageBuilderKind } from "./imagebuilders.ts";
import { buildFiles, imageOf, processesRunning, told, until, type Asked, type Run } from "./imagelab.ts";
import { folderTar, streamOf } from "./tarball.ts";

const catalogue: Catalogue = { os: base, runtimes: [{ runtime: "node", version: "18", build: base, run: base }], tools: [] };
const never = new AbortController().signal;

const hello: Files = {
  "package.json": { scripts: { start: "node server.js" } },
  "server.js": `const http = require("http");
http.createServer((_, answer) => answer.end("hello from " + process.getuid())).listen(process.env.PORT, process.env.HOST);
process.on("SIGTERM", () => process.exit(0));`,
};

/** Seconds, as nobody else on this machine sleeps. */
const napping = `300.${process.pid}`;

const step = (name: BuildStep["name"], line: string, more: Partial<BuildStep> = {}): BuildStep => ({
  name,
  command: { shell: line },
  why: "the test says so",
  inputs: [],
  outputs: [],
  network: true,
  ...more,
});

/** `first`: what shows within a minute that the builder works and keeps what it builds apart; the rest is for the long tests. */
export function builderTests(extents: Partial<Record<ImageBuilderKind, "all" | "first">>): void {
  const missing = imageBuildersMissing();
  const dir = mkdtempSync(join(tmpdir(), "berth-images-"));
  let all: ImageBuilders;
  beforeAll(async () => {
    if (missing === undefined) all = await ImageBuilders.open(dir, ["nodejs"]);
  });
  afterAll(async () => {
    await all?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  describe.skipIf(missing !== undefined).each(entriesOf(extents))(
    `image builds by %s${missing === undefined ? "" : ` (${missing})`}`,
    (kind, extent) => {
      const also = extent === "all" ? it : (): void => undefined;
      let api: DockerApi;
      let builder: Builder;

      beforeAll(() => {
        ({ api } = all.of(kind));
        const staticServer = stripTypeScriptTypes(
          readFileSync(new URL("../../edge/agent/static/berth-static.ts", import.meta.url), "utf8"),
        );
        builder = all.of(kind).make({ catalogue, staticServer });
      });

      function build(files: Files, more: Asked & { steps?: BuildStep[] } = {}): Promise<Run> {
        const { steps = [], ...asked } = more;
        const plan = planOf(files);
        return buildFiles(builder, all.blobs, files, { ...asked, plan: { ...plan, steps: [...plan.steps, ...steps] } });
      }

      /** The image's container, started; with the address at which it listens. */
      async function started(image: string): Promise<{ readonly id: string; readonly url: string }> {
        const { Id: id } = await api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: image } });
        await api.json("POST", `/containers/${id}/start`);
        interface Seen {
          readonly NetworkSettings: { readonly IPAddress: string; readonly Networks: Record<string, { readonly IPAddress: string }> };
        }
        const { NetworkSettings: net } = await api.json<Seen>("GET", `/containers/${id}/json`);
        const address = net.IPAddress || (Object.values(net.Networks)[0]?.IPAddress ?? "");
        return { id, url: `http://${address}:8080/` };
      }

      async function answerOf(url: string): Promise<string> {
        for (const end = Date.now() + 120_000; ;) {
          try {
            return await (await fetch(url)).text();
          } catch (error) {
            if (Date.now() > end) throw error;
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        }
      }

      const sleeping = (): number => processesRunning(["sleep", napping]);

      it("make an image whose program runs as nobody, is the first process and takes SIGTERM", async () => {
        const run = await build(hello);
        const digest = imageOf(run);
        expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
        expect(run.outcome).toMatchObject({ processes: ["web"], size: expect.any(Number) as number });
        const { Config } = await api.json<{ Config: Record<string, unknown> }>("GET", `/images/${digest}/json`);
        expect(Config).toMatchObject({
          User: "10001:10001",
          WorkingDir: "/app",
          Labels: { "berth.installation": "test", "berth.stack": "s1" },
        });
        const { id, url } = await started(digest);
        expect(await answerOf(url)).toBe("hello from 10001");
        await api.json("POST", `/containers/${id}/stop`, { query: { t: 120 }, timeout: 180_000 });
        expect(await api.json("GET", `/containers/${id}/json`)).toMatchObject({ State: { ExitCode: 0 } });
        await api.json("DELETE", `/containers/${id}`);
      });

      also("serve a static site, with nothing else in its folder", async () => {
        const digest = imageOf(await build({ "index.html": "<p>one", "about/index.html": "<p>two" }));
        const { id, url } = await started(digest);
        expect(await answerOf(url)).toBe("<p>one");
        expect(await answerOf(`${url}about/`)).toBe("<p>two");
        const { Id } = await api.json<{ Id: string }>("POST", `/containers/${id}/exec`, {
          body: { Cmd: ["ls", "-A", "/app"], AttachStdout: true },
        });
        let listed = "";
        for await (const { data } of readFrames(await api.stream("POST", `/exec/${Id}/start`, { body: {} }))) listed += data.toString();
        expect(listed).toBe("about\nindex.html\n");
        await api.json("DELETE", `/containers/${id}`, { query: { force: true } });
      });

      also("install again only when the files change that the step reads", async () => {
        const install = step("install", "mkdir deps && cp lock deps/ && echo installed", { inputs: ["lock"], outputs: ["deps"] });
        const make = step("build", "cp deps/lock made && echo built");
        const steps = [install, make];
        const first = await build({ ...hello, lock: "1" }, { steps });
        imageOf(first);
        expect(first.steps).toEqual(["install started", "install finished", "build started", "build finished"]);
        expect(first.lines).toEqual(expect.arrayContaining(["installed", "built"]));
        const changed = { ...hello, "server.js": `${String(hello["server.js"])}\n// changed`, lock: "1" };
        const second = await build(changed, { steps });
        expect(told(second.steps)).toEqual(["install cached", "build started", "build finished"]);
        const third = await build({ ...changed, lock: "2" }, { steps });
        expect(third.steps).toEqual(["install started", "install finished", "build started", "build finished"]);
        // Dependencies are a layer of their own, which a change of the code leaves as it is.
        const layers = async (run: Run): Promise<readonly string[]> =>
          (await api.json<{ RootFS: { Layers: string[] } }>("GET", `/images/${imageOf(run)}/json`)).RootFS.Layers;
        const [one, two] = [await layers(first), await layers(second)];
        expect(two.slice(0, -1)).toEqual(one.slice(0, -1));
        expect(two.at(-1)).not.toBe(one.at(-1));
      });

      also("take nothing from what another stack has built, and forget what a stack had", async () => {
        const steps = [step("install", "echo of this stack alone", { inputs: ["server.js"] })];
        const of = async (stackId: string): Promise<unknown> => (await build(hello, { steps, stackId })).steps;
        const ran = ["install started", "install finished"];
        expect(await of("one")).toEqual(ran);
        expect(await of("one")).toEqual(["install cached"]);
        expect(await of("two")).toEqual(ran);
        await builder.forget("one");
        // In BuildKit the results of steps have no name by which they could be found: they go by age.
        if (kind !== "buildkit") expect(await of("one")).toEqual(ran);
        expect(await of("two")).toEqual(["install cached"]);
        // How far a build came counts as well, when its next step fails.
        const failing = [...steps, step("build", "exit 3")];
        expect((await build(hello, { steps: failing, stackId: "three" })).steps).toEqual([...ran, "build started", "build failed"]);
        const again = (await build(hello, { steps: failing, stackId: "three" })).steps;
        expect(told(again)).toEqual(["install cached", "build started", "build failed"]);
      });

      it("tell which step failed, how, and by which line; and leave no container", async () => {
        const { outcome, steps } = await build(hello, {
          steps: [step("build", "echo fine; echo 'TypeError: x is not a function' >&2; exit 3")],
        });
        expect(outcome).toMatchObject({
          ok: false,
          cause: { code: "build_failed", params: { step: "build", exitCode: 3, line: "TypeError: x is not a function" } },
        });
        expect(steps).toEqual(["build started", "build failed"]);
        expect(await api.json("GET", "/containers/json", { query: { all: true } })).toEqual([]);
      });

      also("say that a base image is missing", async () => {
        const other = all.of(kind).make({ catalogue: { ...catalogue, os: "127.0.0.1:9/none:1" } });
        const { digest } = await all.blobs.put(streamOf(await folderTar({ Procfile: "web: sleep 9" })));
        const request = { id: "b", stackId: "s", stackName: "s", sourceDigest: digest, env: {}, secretValues: [], deadline: 60_000 };
        const plan = planOf({ Procfile: "web: sleep 9" });
        expect(await other.build({ ...request, plan }, () => undefined, never)).toMatchObject({
          ok: false,
          cause: { code: "base_image_missing", params: { image: "127.0.0.1:9/none:1" } },
        });
      });

      also("take nothing that a step prints for the daemon's own words", async () => {
        const imitating =
          "echo ' ---> Using cache'; echo 'Step 1/4 : FROM evil/image'; echo 'Step 9/99 : FROM evil/image'; echo 'Error: mine'; exit 5";
        const { outcome, steps } = await build(hello, { steps: [step("build", imitating)] });
        expect(outcome).toMatchObject({
          ok: false,
          cause: { code: "build_failed", params: { step: "build", exitCode: 5, line: "Error: mine" } },
        });
        expect(steps).toEqual(["build started", "build failed"]);
      });

      also("say at which instruction the daemon itself could not go on", async () => {
        const { outcome } = await build(hello, { steps: [step("install", "true", { inputs: ["gone.lock"], outputs: ["deps"] })] });
        expect(outcome).toMatchObject({
          ok: false,
          cause: {
            code: "image_step_failed",
            params: { instruction: "COPY gone.lock ./", reason: expect.stringContaining("gone.lock") as string },
          },
        });
      });

      also("show no secret value, and give the environment to steps alone", async () => {
        const run = await build(hello, {
          steps: [step("build", "echo token=$TOKEN")],
          env: { TOKEN: "hunter2-hunter2" },
          secretValues: ["hunter2-hunter2"],
        });
        expect(run.lines).toContain("token=***");
        expect(run.lines.join("\n")).not.toContain("hunter2");
        expect(JSON.stringify(await api.json("GET", `/images/${imageOf(run)}/json`))).not.toContain("hunter2");
        expect(JSON.stringify(await api.json("GET", `/images/${imageOf(run)}/history`))).not.toContain("hunter2");
      });

      it("end with what they run when they are cancelled, and at their deadline", async () => {
        const cancel = new AbortController();
        const nap = step("build", `echo begun; exec sleep ${napping}`);
        const running = build(hello, { steps: [nap], signal: cancel.signal });
        await until(() => sleeping() === 1, "the step to run");
        cancel.abort(new Error("enough"));
        await expect(running).rejects.toThrow("enough");
        await until(() => sleeping() === 0, "the step to be gone");
        const late = await build(hello, { steps: [nap], deadline: 3_000 });
        expect(late.outcome).toMatchObject({ ok: false, cause: { code: "build_deadline" } });
        await until(() => sleeping() === 0, "the step to be gone");
      });

      it("give a hostile step nothing of Berth, of other stacks or of the machine", async () => {
        const { targets, changed, remove } = hostileTargets();
        try {
          const run = await build(
            { ...hello, "hostile.mjs": hostileProgram },
            { steps: [step("build", "node hostile.mjs")], env: { HOSTILE: JSON.stringify(targets) } },
          );
          imageOf(run);
          const got = attemptsIn(run.lines);
          expect(got.length).toBeGreaterThan(40);
          // A step is root in its own container: what it may do there is nobody else's. It keeps a setuid shell in its own image, and a device that its group may not open.
          expect(strayed(got, insideContainer)).toEqual([]);
          expect(changed()).toEqual([]);
        } finally {
          remove();
        }
      });
    },
  );
}

const insideContainer = [
  [/^(become root|keep a setuid shell|rights|make a device)/, /.*/],
  [/^mount in a user namespace/, /^(?![^]*READ)[^]*$/],
] as const;
