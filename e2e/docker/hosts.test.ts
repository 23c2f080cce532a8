// A Docker host elsewhere: a daemon that is reached over TLS, with an edge of its own that is a container there. The server's own machine runs processes.
import { createReadStream } from "node:fs";
import { request } from "node:http";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianTar } from "../../packages/server/src/builders/testing/debian.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { formatEndpoint } from "../../packages/server/src/docker/endpoint.ts";
import { startDockerd, type TestDaemon } from "../../packages/server/src/docker/testing/daemon.ts";
import { freePort } from "../../packages/server/src/edge/testing/harness.ts";
import { buildImage } from "../../tools/image/build.ts";
import { TestBerth, until, webApp } from "../harness.ts";
import { base, missing } from "./place.ts";

const image = "berth-test/berth:1";

describe.skipIf(missing !== undefined)(`a Docker host elsewhere${missing === undefined ? "" : ` (${missing})`}`, () => {
  let daemon: TestDaemon;
  let api: DockerApi;
  let berth: TestBerth;
  let httpPort = 0;

  beforeAll(async () => {
    daemon = await startDockerd({ tls: true });
    api = new DockerApi(daemon.endpoint);
    const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    await importImage(api, createReadStream(await debianTar(["nodejs", "iproute2"])), { reference: base, env: { PATH: path } });
    await buildImage(api, { tag: image, base, onLine: () => undefined });
    berth = await TestBerth.start(
      { BERTH_IMAGE: image },
      { images: { os: base, runtimes: [{ runtime: "node", version: "18", build: base, run: base }], tools: [] } },
    );
    httpPort = await freePort();
  }, 900_000);
  afterAll(async () => {
    await berth?.stop();
    api?.close();
    await daemon?.[Symbol.asyncDispose]();
  }, 120_000);

  const folder = (): string => dirname(daemon.url.slice("unix://".length));
  const connected = async (): Promise<true | undefined> =>
    (await berth.client.showCluster({ params: { cluster: "away" } })).host?.connected === true ? true : undefined;

  /** Through the door of the host's own edge. */
  const get = (host: string, path = "/"): Promise<{ readonly status: number; readonly body: string }> =>
    new Promise((resolve, reject) => {
      request({ host: "127.0.0.1", port: httpPort, path, headers: { host }, agent: false }, (answer) => {
        let body = "";
        answer.setEncoding("utf8").on("data", (text: string) => (body += text)).once("end", () => resolve({ status: answer.statusCode ?? 0, body }));
      })
        .once("error", reject)
        .end();
    });

  test("is added, and its edge put there and connected", async () => {
    const endpoint = daemon.tlsEndpoint;
    if (endpoint?.type !== "tcp") throw new Error("the daemon has no TLS");
    await berth.client.addCluster({
      body: {
        name: "away",
        endpoint: formatEndpoint(endpoint),
        ca: endpoint.tls?.ca ?? "",
        cert: endpoint.tls?.cert ?? "",
        key: endpoint.tls?.key ?? "",
        home: join(folder(), "home"),
        socket: join(folder(), "s"),
        httpPort,
        httpsPort: await freePort(),
        networks: { base: daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17"), size: 25 },
      },
    });
    await until(connected, "the host is connected", 60_000, () => berth.log());
    expect(await berth.client.showCluster({ params: { cluster: "away" } })).toMatchObject({ engine: "docker", reachable: true, stacks: 0 });
  });

  test("builds and runs what a stack there has, and verifies it through its own door", async () => {
    await berth.client.createStack({ body: { name: "far", cluster: "away" } });
    const [rollout] = await berth.deployed("far", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", ready: 1 });
    expect(rollout?.verified?.[0]).toMatchObject({ status: 200 });
    expect((await get("web.far.localhost")).body).toMatch(/^one web-/);
  });
});
