// What the builders promise that know secrets and caches of steps: secrets that stay nowhere, caches that are one stack's, and an end without leftovers.
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { DockerApi } from "../../docker/api.ts";
import { registryMissing, startRegistry } from "../../docker/testing/registry.ts";
import { importImage } from "../bases/import.ts";
import type { Builder } from "../builder.ts";
import { base, entriesOf, ImageBuilders, imageBuildersMissing } from "./imagebuilders.ts";
import { buildFiles, exported, filesIn, imageOf, type Asked, type Run } from "./imagelab.ts";
import { folderTar, streamOf } from "./tarball.ts";
import { pushImage } from "../image/push.ts";

const never = new AbortController().signal;

/** `first`: what a secret and a crash leave behind, which is nothing; the rest is for the long tests. */
export function featureTests(extents: Partial<Record<"buildkit" | "buildah", "all" | "first">>): void {
  const missing = imageBuildersMissing() ?? registryMissing();
  const secret = "hunter2-hunter2";
  const dir = mkdtempSync(join(tmpdir(), "berth-features-"));
  let all: ImageBuilders;
  beforeAll(async () => {
    if (missing === undefined) all = await ImageBuilders.open(dir);
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
      let folder: string;
      beforeAll(() => {
        ({ api, folder } = all.of(kind));
        builder = all.of(kind).make();
      });
      afterEach(() => {
        // Whatever the end, no folder of a build is left.
        expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
      });

      const build = (dockerfile: string, asked?: Asked): Promise<Run> =>
        buildFiles(builder, all.blobs, { Dockerfile: `FROM ${base}\n${dockerfile}` }, asked);

      it("show a secret to the step that asks for it, and leave it in no layer, log or history", async () => {
        const mount = "--mount=type=secret,id=token,required";
        // Buildah has it only as a file.
        const byName = kind === "buildkit" ? `\nRUN --mount=type=secret,id=token,env=TOKEN echo "as $TOKEN"` : "";
        const run = await build(
          `RUN ${mount} cp /run/secrets/token /dev/shm/t && sha256sum < /dev/shm/t > /sum && cat /dev/shm/t${byName}\nRUN ls /run/secrets > /left 2>&1 || true`,
          { secrets: { token: secret, other: "not-asked-for" } },
        );
        const image = imageOf(run);
        const sum = createHash("sha256").update(secret).digest("hex");
        expect(await filesIn(api, image, "/sum")).toEqual({ sum: `${sum}  -\n` });
        expect((await filesIn(api, image, "/left"))["left"]).not.toContain("token");
        expect(run.lines).toEqual(expect.arrayContaining(["***", ...(kind === "buildkit" ? ["as ***"] : [])]));
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

      also("keep a cache mount for the stack's next build, and show it to no other stack, whatever that one calls it", async () => {
        const write = "RUN --mount=type=cache,id=deps,target=/c echo mine > /c/f";
        imageOf(await build(write, { stackId: "s1" }));
        const seenBy = async (stackId: string, id: string): Promise<string> => {
          const read = `RUN --mount=type=cache,id=${id},target=/c cat /c/f > /seen 2>&1 || echo nothing > /seen; : ${randomUUID()}`;
          return (await filesIn(api, imageOf(await build(read, { stackId })), "/seen"))["seen"] ?? "";
        };
        expect(await seenBy("s1", "deps")).toBe("mine\n");
        expect(await seenBy("s2", "deps")).toBe("nothing\n");
        for (const id of ["../deps", "../s1/deps", "/deps", "deps/../deps"]) expect(await seenBy("s2", id)).toBe("nothing\n");
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

      also("take a private base image by the credentials of its registry, and tell who lacks them", async () => {
        const docker = all.of("docker").api;
        await using registry = await startRegistry();
        const image = await importImage(docker, streamOf(await folderTar({ hello: "from afar" })), { reference: "berth-test/private:1" });
        const repository = `${registry.host}/berth/private`;
        expect(
          await pushImage(
            docker,
            { image, repository, tag: "1", login: { ...registry.login, plainHttp: true }, say: () => undefined },
            never,
          ),
        ).toMatchObject({ ok: true });
        const files = { Dockerfile: `FROM ${repository}:1\nCMD ["none"]` };
        const refused = await buildFiles(builder, all.blobs, files);
        expect(refused.outcome).toMatchObject({ ok: false, cause: { code: "base_image_missing", params: { image: `${repository}:1` } } });
        const logins = [{ ...registry.login, plainHttp: true }];
        const knowing = all.of(kind).make({ logins });
        const built = await buildFiles(knowing, all.blobs, files);
        expect(await filesIn(api, imageOf(built), "/hello")).toEqual({ hello: "from afar" });
        expect(JSON.stringify(built)).not.toContain(registry.login.password);
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

      // BuildKit bounds its cache by itself, in a test of its own: here is none to leave out.
      const ofBuildah = kind === "buildah" ? it : (): void => undefined;
      ofBuildah("keep no more than they may, of what was used last", async () => {
        const most = 70_000_000;
        const bounded = all.of(kind).make({ cacheBytes: most });
        const big = { Dockerfile: `FROM ${base}\nRUN head -c 40000000 /dev/urandom > /big` };
        const stepsOf = async (stackId: string): Promise<string[]> =>
          (await buildFiles(bounded, all.blobs, big, { stackId })).steps.map((step) => step.split(" ").at(-1) ?? "");
        expect(await stepsOf("old")).toEqual(["started", "finished"]);
        expect(await stepsOf("new")).toEqual(["started", "finished"]);
        expect(Number(execFileSync("du", ["-s", "--block-size=1", join(dir, "stores")], { encoding: "utf8" }).split("\t")[0])).toBeLessThan(
          most,
        );
        expect(await stepsOf("new")).toEqual(["cached"]);
        expect(await stepsOf("old")).toEqual(["started", "finished"]);
      });

      also("build for one stack more than once at the same time", async () => {
        const name = randomUUID();
        const runs = await Promise.all(["a", "b"].map((word) => build(`RUN echo ${word}-${name} > /made; sleep 1`)));
        const made = await Promise.all(runs.map((run) => filesIn(api, imageOf(run), "/made")));
        expect(made).toEqual([{ made: `a-${name}\n` }, { made: `b-${name}\n` }]);
      });
    },
  );
}
