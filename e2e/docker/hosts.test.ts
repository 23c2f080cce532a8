// A Docker host elsewhere: a daemon that is reached over TLS, with an edge of its own that is a container there. The server's own daemon is another one.
import { appendFileSync, cpSync, createReadStream, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { leanTar } from "../../packages/server/src/builders/testing/lean.ts";
import { DockerApi } from "../../packages/server/src/docker/api.ts";
import { formatEndpoint } from "../../packages/server/src/docker/endpoint.ts";
import { readFrames } from "../../packages/server/src/docker/frames.ts";
import { startDockerd, type TestDaemon } from "../../packages/server/src/docker/testing/daemon.ts";
import { buildImage } from "../../tools/image/build.ts";
import { startLoad, type TestBerth, webApp } from "../harness.ts";
import { base, DockerPlace, missing, until } from "./place.ts";

const image = "berth-test/berth:1";
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const checkout = join(import.meta.dirname, "..", "..");

/** This one with an edge that is another build. */
function newerCheckout(): string {
  const root = mkdtempSync(join(tmpdir(), "berth-newer-"));
  for (const part of ["package.json", "bin", "examples", "node_modules"]) symlinkSync(join(checkout, part), join(root, part));
  cpSync(join(checkout, "dist"), join(root, "dist"), { recursive: true });
  appendFileSync(join(root, "dist", "edge.js"), "\n// newer\n");
  return root;
}

/** As DOCKER_CERT_PATH has them. */
function tlsFolder(ca: string, cert = ca, key = ca): string {
  const folder = mkdtempSync(join(tmpdir(), "berth-tls-"));
  for (const [name, pem] of Object.entries({ ca, cert, key })) writeFileSync(join(folder, `${name}.pem`), pem, { mode: 0o600 });
  return folder;
}

describe.skipIf(missing !== undefined)(`a Docker host elsewhere${missing === undefined ? "" : ` (${missing})`}`, () => {
  let daemon: TestDaemon;
  let api: DockerApi;
  let place: DockerPlace;
  let berth: TestBerth;
  let httpPort = 0;
  let httpsPort = 0;

  beforeAll(async () => {
    place = await DockerPlace.open({}, { BERTH_IMAGE: image });
    ({ berth } = place);
    const withIp = createReadStream(await leanTar(["nodejs", "iproute2"]));
    await importImage(place.api, withIp, { reference: "berth-test/with-ip:12" });
    await buildImage(place.api, { tag: image, base: "berth-test/with-ip:12", onLine: () => undefined });
    daemon = await startDockerd({ tls: true });
    api = new DockerApi(daemon.endpoint);
    await importImage(api, createReadStream(await leanTar(["nodejs"])), { reference: base, env: { PATH: path } });
    [httpPort = 0, httpsPort = 0] = daemon.ports;
  }, 900_000);
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    api?.close();
    await daemon?.[Symbol.asyncDispose]();
  });

  const folder = (): string => dirname(daemon.url.slice("unix://".length));
  const edgeContainer = async (): Promise<{
    readonly Id: string;
    readonly State: { readonly StartedAt: string; readonly Running: boolean };
  }> => {
    const filters = JSON.stringify({ label: ["berth.role=edge"] });
    const [found] = await api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true, filters } });
    return api.json("GET", `/containers/${found?.Id ?? "none"}/json`);
  };
  const inEdge = async (command: readonly string[]): Promise<string> => {
    const { Id } = await edgeContainer();
    const body = { AttachStdout: true, AttachStderr: true, Cmd: command };
    const exec = await api.json<{ Id: string }>("POST", `/containers/${Id}/exec`, { body });
    const output = await api.hijack(`/exec/${exec.Id}/start`, { Detach: false, Tty: false }, AbortSignal.timeout(120_000));
    let said = "";
    for await (const { data } of readFrames(output)) said += data.toString();
    return said;
  };
  /** Of the primary, as its lock names it. */
  const edgePid = async (): Promise<number> => Number((await inEdge(["cat", join(folder(), "home", "run", "edge.lock")])).split(" ")[0]);
  const another = (than: number): Promise<true> =>
    until(
      // Of one that comes up nothing can be asked for a moment.
      async () => ((await edgePid().catch(() => than)) === than ? undefined : true),
      "another primary",
      undefined,
      () => berth.log(),
    );
  const connected = async (): Promise<true | undefined> =>
    (await berth.client.showCluster({ params: { cluster: "away" } })).host?.connected === true ? true : undefined;

  /** Through the door of the host's own edge. */
  const get = (host: string, path = "/"): Promise<{ readonly status: number; readonly body: string }> =>
    new Promise((resolve, reject) => {
      request({ host: "127.0.0.1", port: httpPort, path, headers: { host }, agent: false }, (answer) => {
        let body = "";
        answer
          .setEncoding("utf8")
          .on("data", (text: string) => (body += text))
          .once("end", () => resolve({ status: answer.statusCode ?? 0, body }));
      })
        .once("error", reject)
        .end();
    });

  /** `berth clusters add` of it, with the certificates of its daemon. */
  async function add(): Promise<{ readonly code: number; readonly said: string }> {
    const endpoint = daemon.tlsEndpoint;
    if (endpoint?.type !== "tcp") throw new Error("the daemon has no TLS");
    const { ca = "", cert = "", key = "" } = endpoint.tls ?? {};
    const tls = tlsFolder(ca, cert, key);
    const range = `${daemon.subnet.replace(/\.0\.0\/16$/, ".128.0/17")},25`;
    try {
      return await berth.cli([
        ...["clusters", "add", "away", "--docker", formatEndpoint(endpoint), "--tls", tls],
        ...["--home", join(folder(), "home"), "--socket", join(folder(), "s"), "--networks", range],
        ...["--http-port", String(httpPort), "--https-port", String(httpsPort)],
      ]);
    } finally {
      rmSync(tls, { recursive: true });
    }
  }

  test("is added, and its edge put there and connected", async () => {
    expect(await add(), berth.log()).toMatchObject({
      code: 0,
      said: expect.stringContaining("away is connected; its edge answers on port") as string,
    });
    expect(await berth.client.showCluster({ params: { cluster: "away" } })).toMatchObject({ engine: "docker", reachable: true, stacks: 0 });
  });

  test("builds and runs what a stack there has, and verifies it through its own door", async () => {
    await berth.client.createStack({ body: { name: "far", cluster: "away" } });
    const [rollout] = await berth.deployed("far", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", ready: 1 });
    expect(rollout?.verified?.[0]).toMatchObject({ status: 200 });
    expect((await get("web.far.localhost")).body).toMatch(/^one web-/);
    // What runs here does not lead there.
    expect((await berth.get("web.far.localhost")).status).toBe(404);
  });

  test("shows its logs, runs commands in it, and forwards its port", async () => {
    const logs = await berth.cli(["logs", "-s", "far", "-c", "web", "--tail", "20"]);
    expect(logs).toMatchObject({ code: 0 });
    const ran = await berth.cli(["exec", "-s", "far", "-c", "web", "--", "sh", "-c", "echo $RUN_ENV; exit 3"]);
    expect(ran).toEqual({ code: 3, said: expect.stringContaining("production") as string });
    const volumes = await berth.cli(["volumes", "list", "-s", "far"]);
    expect(volumes.code).toBe(0);
  });

  test("loses no request while it is released there, and while the server is away", async () => {
    const load = startLoad({ get }, "web.far.localhost");
    expect((await berth.deployed("far", webApp("two")))[0]).toMatchObject({ phase: "succeeded" });
    const before = await edgeContainer();
    await berth.server("stop");
    expect((await get("web.far.localhost")).body).toMatch(/^two web-/);
    await berth.startServer();
    await until(connected, "the host is connected again", undefined, () => berth.log());
    const params = { stack: "far", component: "web" };
    await berth.client.scaleComponent({ params, body: { replicas: 2 } });
    await until(async () => ((await berth.client.showComponent({ params })).ready === 2 ? true : undefined), "two are ready");
    await until(async () => (load.count() > 200 ? true : undefined), "a load worth the name");
    expect((await load.stop()).failed).toEqual([]);
    // It was found again, not made anew.
    expect((await edgeContainer()).State).toMatchObject({ Running: true, StartedAt: before.State.StartedAt });
  });

  test("replaces the edge by a newer image's without a lost request", async () => {
    const load = startLoad({ get }, "web.far.localhost");
    const pid = await edgePid();
    const root = newerCheckout();
    try {
      await buildImage(api, { tag: image, base: image, root, onLine: () => undefined });
    } finally {
      rmSync(root, { recursive: true });
    }
    await berth.server("stop");
    await berth.startServer();
    await until(connected, "the host is connected again", undefined, () => berth.log());
    await another(pid);
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
  });

  test("goes on when its edge's primary is killed", async () => {
    const pid = await edgePid();
    const load = startLoad({ get }, "web.far.localhost");
    await inEdge(["sh", "-c", `kill -9 ${String(pid)}`]);
    await another(pid);
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
  });

  test("says why a host is not connected, waits with its work, and goes on by itself", async () => {
    await daemon.reboot(async () => {
      await until(
        async () => ((await connected()) === true ? undefined : true),
        "it is seen that the host is gone",
        undefined,
        () => berth.log(),
      );
      const shown = await berth.cli(["clusters", "show", "away"]);
      expect(shown.said).toMatch(/connected +no: /);
      expect((await berth.cli(["doctor"])).said).toMatch(/host away.+not connected since/);
    });
    await until(connected, "the host is connected again", 180_000, () => berth.log());
    await until(
      async () => ((await get("web.far.localhost").catch(() => undefined))?.status === 200 ? true : undefined),
      "it answers again",
    );
  });

  test("is added again when the database was lost, and what runs on it is taken over with the same containers", async () => {
    const params = { stack: "far", component: "web" };
    const ready = () =>
      until(
        async () => {
          const found = await berth.client.showComponent({ params });
          return found.state === "healthy" && found.ready === 2 ? found : undefined;
        },
        "two to be healthy",
        undefined,
        () => berth.log(),
      );
    await berth.client.updateConfig({ params, body: { values: { COLOUR: "blue" }, deploy: true } });
    await until(async () => ((await get("web.far.localhost", "/env")).body.includes('"COLOUR":"blue"') ? true : undefined), "the config");
    const { release } = await ready();
    const containers = async (): Promise<string[]> =>
      (await api.json<{ Id: string }[]>("GET", "/containers/json", { query: { all: true } })).map(({ Id }) => Id).toSorted();
    await until(async () => ((await containers()).length === 3 ? true : undefined), "the edge and two instances");
    const before = await containers();

    const load = startLoad({ get }, "web.far.localhost");
    await berth.loseDatabase();
    expect((await berth.client.listStacks()).items).toEqual([]);
    expect(await add(), berth.log()).toMatchObject({ code: 0 });
    expect((await berth.client.showAdoption()).candidates).toMatchObject([
      { stack: "far", component: "web", cluster: "away", unknown: "stack", possible: true, instances: 2, notes: [] },
    ]);
    expect(await berth.cli(["adopt", "--yes"])).toMatchObject({
      code: 0,
      said: expect.stringContaining("far/web was taken over") as string,
    });
    expect((await ready()).release).toMatchObject({ number: release?.number, hash: release?.hash });
    expect(await containers()).toEqual(before);
    expect(await berth.client.showStack({ params: { stack: "far" } })).toMatchObject({ cluster: "away", state: "healthy" });
    expect((await berth.client.showConfig({ params })).values).toEqual({ COLOUR: "blue" });
    // And goes on from there.
    expect((await berth.deployed("far", webApp("three")))[0]).toMatchObject({ phase: "succeeded" });
    expect((await get("web.far.localhost")).body).toMatch(/^three web-/);
    expect((await load.stop()).failed).toEqual([]);
  });

  test("is drained, and removed with everything of Berth's that is there", async () => {
    expect((await berth.cli(["clusters", "drain", "away"])).code).toBe(0);
    const refused = await berth.cli(["stacks", "create", "late", "--cluster", "away"]);
    expect(refused).toMatchObject({ code: 1, said: expect.stringContaining("takes no new stacks") as string });
    expect((await berth.cli(["clusters", "remove", "away", "--yes"])).said).toContain("has 1 stack");
    await berth.cli(["stacks", "delete", "far", "--yes"]);
    const removed = await berth.cli(["clusters", "remove", "away", "--yes"]);
    expect(removed).toMatchObject({ code: 0 });
    expect(await api.json<object[]>("GET", "/containers/json", { query: { all: true } })).toEqual([]);
    expect(readdirSync(join(folder(), "home"))).toEqual([]);
    expect((await berth.client.listClusters({ query: {} })).items.map(({ name }) => name)).toEqual(["local"]);
  });

  test("is refused in words when it cannot be used", async () => {
    const refused = async (...args: string[]): Promise<string> => (await berth.cli(["clusters", "add", "bad", ...args])).said;
    expect(await refused("--docker", "tcp://192.0.2.1:2375", "--domain", "x.example")).toContain(
      "without TLS gives its whole machine away",
    );
    expect(await refused("--docker", `tcp://127.0.0.1:${String(daemon.ports.at(-1))}`)).toContain("refuses connections");
    expect(await refused("--docker", "tcp://127.0.0.1:1", "--http-port", "81", "--https-port", "81")).toContain(
      "cannot have the same port",
    );
    expect(
      await refused("--docker", "unix:///", "--tls", tlsFolder("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")),
    ).toContain("certificates cannot be read");
    expect(await refused("--docker", `unix:///${"x".repeat(200)}`)).toContain("longer than the 107 bytes");
    expect((await berth.client.listClusters({ query: {} })).items).toHaveLength(1);
  });
});
