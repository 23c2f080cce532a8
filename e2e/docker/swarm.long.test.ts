// A whole Berth on a Swarm of two nodes: `berth up` builds and pushes, replicas run on both nodes, releases lose no request, a node can be drained, and a killed server goes on.
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importImage } from "../../packages/server/src/builders/bases/import.ts";
import { debianTar } from "../../packages/server/src/builders/testing/debian.ts";
import { registryMissing, startRegistry, type TestRegistry } from "../../packages/server/src/docker/testing/registry.ts";
import { startSwarm, type TestSwarm } from "../../packages/server/src/docker/testing/swarm.ts";
import { startLoad, TestBerth, webApp, type Files } from "../harness.ts";
import { base, missing as noDocker, until } from "./place.ts";

const missing = noDocker ?? registryMissing();

describe.skipIf(missing !== undefined)(`the Docker engine on a Swarm${missing === undefined ? "" : ` (${missing})`}`, () => {
  let swarm: TestSwarm;
  let registry: TestRegistry;
  let berth: TestBerth;

  beforeAll(async () => {
    swarm = await startSwarm(2);
    const { manager, outside, pool } = swarm;
    registry = await startRegistry({ address: outside });
    const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    await importImage(manager.api, createReadStream(await debianTar(["nodejs"])), { reference: base, env: { PATH: path } });
    berth = new TestBerth(
      {
        BERTH_ENGINE: "docker",
        BERTH_DOCKER_HOST: manager.url,
        BERTH_SWARM: "1",
        BERTH_HOST: manager.address,
        BERTH_ROUTER_HOST: manager.address,
      },
      {
        images: { os: base, runtimes: [{ runtime: "node", version: "18", build: base, run: base }], tools: [] },
        networks: { base: pool, size: 24 },
        registry: `${registry.host}/berth`,
      },
    );
    berth.prefix = manager.inside;
    await berth.startServer();
    await berth.login();
    const { host, username, password } = registry.login;
    await berth.client.setRegistry({ params: { registry: host }, body: { username, password, plainHttp: true } });
  }, 900_000);
  afterAll(async () => {
    await berth?.stop();
    await swarm?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  }, 300_000);

  const project = (version: string): Files => ({
    ...webApp(version),
    "front.js": `require("http").createServer((request, response) => {
  require("http").get("http://web:8080/", (got) => { response.write(process.env.BERTH_INSTANCE + " asks "); got.pipe(response); })
    .on("error", (error) => { response.statusCode = 500; response.end(String(error)); });
}).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));`,
    "compose.yaml": `services:
  web:
    build: .
    ports: ["8080"]
    deploy:
      replicas: 4
  front:
    build: .
    command: ["node", "front.js"]
    ports: ["8080"]
    deploy:
      replicas: 2
`,
  });
  const host = "web.shop.localhost";
  /** How many instances of a component run on each node, by what Swarm says. */
  const spread = async (component = "web"): Promise<number[]> => {
    const tasks = await swarm.manager.api.json<
      readonly {
        readonly NodeID?: string;
        readonly DesiredState: string;
        readonly Status: { readonly State: string };
        readonly Spec: { readonly ContainerSpec?: { readonly Labels?: Readonly<Record<string, string>> } };
      }[]
    >("GET", "/tasks");
    const running = tasks.filter(
      ({ Status, DesiredState, Spec }) =>
        Status.State === "running" && DesiredState === "running" && Spec.ContainerSpec?.Labels?.["berth.component"] === component,
    );
    return swarm.nodes.map(({ id }) => running.filter((one) => one.NodeID === id).length);
  };
  const up = async (version: string): Promise<void> => {
    const made = await berth.up("shop", project(version));
    for (const rollout of made.rollouts) {
      const ended = await berth.ended("shop", rollout.component, rollout.number, 300_000);
      expect(ended.phase, JSON.stringify(ended.cause)).toBe("succeeded");
    }
  };

  test("builds, pushes and runs replicas on both nodes, as services that people can read", async () => {
    await berth.client.createStack({ body: { name: "shop" } });
    await up("one");
    expect((await berth.get(host)).body).toMatch(/^one web-/);
    expect(await spread()).toEqual([2, 2]);
    const services = await swarm.manager.api.json<readonly { readonly Spec: { readonly Name: string } }[]>("GET", "/services");
    expect(services.map((one) => one.Spec.Name).every((name) => /^shop-(web|front)-[a-z2-7]{6}$/.test(name))).toBe(true);
  });

  test("leads a component to its sibling by name, from every node", async () => {
    expect(await spread("front")).toEqual([1, 1]);
    const asking = new Set<string>();
    await until(async () => {
      const { status, body } = await berth.get("front.shop.localhost");
      expect([status, body]).toEqual([200, expect.stringMatching(/^front-\S+ asks one web-/) as string]);
      asking.add(body.split(" ")[0] ?? "");
      return asking.size === 2 ? true : undefined;
    }, "both were asked");
  });

  test("releases without a failed request", async () => {
    const load = startLoad(berth, host);
    await up("two");
    const { requests, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect((await berth.get(host)).body).toMatch(/^two /);
  });

  test("finishes a rollout whose server was killed in it, without a failed request", async () => {
    const load = startLoad(berth, host);
    const made = await berth.up("shop", project("three"));
    const [rollout] = made.rollouts;
    await until(
      async () => {
        const found = await berth.client.listInstances({ params: { stack: "shop", component: "web" } }).catch(() => undefined);
        return found !== undefined && found.items.length > 4 ? true : undefined;
      },
      "the first new instance",
      200_000,
      () => berth.log(),
    );
    process.kill(berth.serverPid(), "SIGKILL");
    await berth.startServer();
    const ended = await berth.ended("shop", "web", rollout?.number ?? 0, 300_000);
    expect(ended.phase, JSON.stringify(ended.cause)).toBe("succeeded");
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
    expect((await berth.get(host)).body).toMatch(/^three /);
  });

  test("goes on from the other node when one is drained, and comes back by itself", async () => {
    const [, second] = swarm.nodes;
    const found = await swarm.manager.api.json<{ readonly Version: { readonly Index: number }; readonly Spec: object }>(
      "GET",
      `/nodes/${second?.id ?? ""}`,
    );
    const load = startLoad(berth, host);
    await swarm.manager.api.json("POST", `/nodes/${second?.id ?? ""}/update`, {
      query: { version: found.Version.Index },
      body: { ...found.Spec, Availability: "drain" },
    });
    await until(async () => ((await spread()).join() === "4,0" ? true : undefined), "all run on the first node", 120_000);
    await until(
      async () => {
        const { items } = await berth.client.listInstances({ params: { stack: "shop", component: "web" } });
        return items.length === 4 && items.every((one) => one.ready) ? true : undefined;
      },
      "all are ready",
      120_000,
    );
    const { requests, failed } = await load.stop();
    console.log(`drain: ${String(failed.length)} of ${String(requests)} requests failed`);
    // Swarm ends what runs there at once, and asks nobody: what is on its way at that moment is the program's to finish.
    expect(failed.length).toBeLessThanOrEqual(2);
  });

  test("refuses to make containers where services are", async () => {
    await berth.server("stop");
    const env = { ...berth.env, BERTH_SWARM: "0" };
    const [command = "", ...args] = [...swarm.manager.inside, process.execPath, berth.program, "server", "start"];
    const refused = await promisify(execFile)(command, args, { env, timeout: 150_000 }).catch(
      (error: { readonly stderr: string }) => error,
    );
    expect(refused.stderr).toContain("services of a Swarm");
    await berth.startServer();
    expect((await berth.get(host)).status).toBe(200);
  });
});
