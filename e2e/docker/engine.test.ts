// The main job on the Docker engine: the same server, commands and truth as with processes, over a real dockerd.
import { createReadStream } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianMissing, debianTar } from "../../packages/server/src/builders/testing/debian.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { dockerdMissing, startDockerd, type TestDaemon } from "../../packages/server/src/docker/testing/daemon.ts";
import { TestBerth, startLoad, until, webApp, type Files } from "../harness.ts";

const missing = dockerdMissing() ?? debianMissing();
const base = "berth-test/debian:12";
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

describe.skipIf(missing !== undefined)(`the Docker engine${missing === undefined ? "" : ` (${missing})`}`, () => {
  let daemon: TestDaemon;
  let api: DockerApi;
  let berth: TestBerth;

  beforeAll(async () => {
    daemon = await startDockerd();
    api = new DockerApi(daemon.endpoint);
    await importImage(api, createReadStream(await debianTar(["nodejs"])), { reference: base, env: { PATH: path } });
    berth = await TestBerth.start(
      { BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: daemon.url },
      {
        images: { os: base, runtimes: [{ runtime: "node", version: "18", build: base, run: base }], tools: [] },
        networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 },
      },
    );
  }, 900_000);
  afterAll(async () => {
    await berth?.stop();
    api?.close();
    await daemon?.[Symbol.asyncDispose]();
  }, 120_000);

  const containers = (): Promise<{ Id: string; Names: string[]; State: string; Labels: Record<string, string> }[]> =>
    api.json("GET", "/containers/json", { query: { all: true } });

  test("builds an image from a folder and answers through the router", async () => {
    const [rollout] = await berth.deployed("first", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", release: 1, wanted: 1, ready: 1 });
    expect((await berth.get("web.first.localhost")).body).toMatch(/^one web-/);
    const [container] = await containers();
    expect(container?.Labels).toMatchObject({ "berth.stack": "first", "berth.component": "web", "berth.release": "1" });
  });
});
