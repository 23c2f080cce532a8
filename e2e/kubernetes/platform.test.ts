// The main job on Kubernetes: a cluster is added by its kubeconfig, and then stacks and components are worked with as everywhere.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { kubectl } from "../../tools/cluster/kube.ts";
import { eventually } from "../../tools/cluster/testing.ts";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import type { KubeObject } from "../../packages/server/src/kubernetes/objects.ts";
import { startLoad, until, webApp } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);

interface Pod extends KubeObject {
  readonly spec: { readonly containers: readonly { readonly image: string }[] };
}

describe.skipIf(missing !== undefined)(`Berth on a Kubernetes cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubePlace;

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
  });

  const pods = (stack: string): Promise<Pod[]> =>
    listed<Pod>(place.api, "Pod", { namespace: `berth-${stack}`, labels: "berth.role=instance" });
  /** The gateway may lead some to the one before for a moment, which still answers them. */
  const answers = (version: string): Promise<unknown> =>
    until(
      async () => ((await place.get(place.host("web", "far"))).body.startsWith(`${version} `) ? true : undefined),
      `${version} to be answered`,
      60_000,
    );
  const add = (name: string, ...more: string[]): ReturnType<typeof place.add> => place.add(name, ...more);

  test("refuses what cannot be used, and says how it can", async () => {
    expect(await add("kube")).toMatchObject({ code: 1, said: expect.stringContaining("it has no domain") as string });
    const refused = async (...more: string[]): Promise<string> => (await add("kube", "--domain", place.domain, ...more)).said;
    expect(await refused("--gateway", "default/none")).toMatch(/it has no gateway default\/none/);
    expect(await refused("--address", "127.0.0.1:1")).toMatch(/nothing answers at 127.0.0.1:1/);
    expect(await refused("--context", "nowhere")).toMatch(/nowhere/);
    expect(await refused("--docker", "tcp://127.0.0.1:1")).toMatch(/--docker belongs to a Docker host/);
    const { said } = await place.berth.cli(
      ["clusters", "add", "kube", "--kubeconfig", "-", "--domain", place.domain],
      undefined,
      readFileSync(cluster.kubeconfig, "utf8").replace(/"client-key-data": "[^"]*"/, '"client-key": "/etc/shadow"'),
    );
    expect(said).toMatch(/client-key of user .* names a file/);
    expect((await place.berth.client.listClusters({ query: {} })).items.map(({ name }) => name)).toEqual(["local"]);
  });

  test("is added by its kubeconfig, which is kept sealed, and shown without it", async () => {
    const added = await add("kube", "--domain", place.domain);
    expect(added, place.berth.log()).toMatchObject({ code: 0, said: expect.stringContaining("kube is connected") as string });
    const shown = await place.berth.client.showCluster({ params: { cluster: "kube" } });
    expect(shown).toMatchObject({
      engine: "kubernetes",
      reachable: true,
      stacks: 0,
      domain: place.domain,
      kubernetes: { connected: true, gateway: "default/public", address: place.gateway },
    });
    expect(JSON.stringify(shown)).not.toMatch(/PRIVATE KEY|token/i);
    expect((await place.berth.cli(["clusters", "show", "kube"])).said).toContain("default/public at");
    expect((await place.berth.cli(["doctor"])).said).toMatch(/cluster kube.*connected since/s);
  });

  test("builds, runs and verifies what a stack there has", async () => {
    await place.berth.client.createStack({ body: { name: "far", cluster: "kube" } });
    const [rollout] = await place.berth.deployed("far", webApp("one"));
    expect(rollout).toMatchObject({ phase: "succeeded", release: 1, wanted: 1, ready: 1 });
    expect(rollout?.verified?.[0]).toMatchObject({ status: 200, url: `http://${place.host("web", "far")}:8000/` });
    await answers("one");
    const [pod] = await pods("far");
    expect(pod?.spec.containers[0]?.image).toMatch(new RegExp(`^${cluster.registry}/berth/.*@sha256:`));
  });

  test("loses no request while it is released, scaled, restarted and rolled back", async () => {
    const params = { stack: "far", component: "web" };
    const load = startLoad(place, place.host("web", "far"));
    await place.berth.deployed("far", webApp("two"));
    await place.berth.client.scaleComponent({ params, body: { replicas: 3 } });
    await until(
      async () => ((await place.berth.client.showComponent({ params })).ready === 3 ? true : undefined),
      "three are ready",
      120_000,
    );
    const restarted = await place.berth.client.restartComponent({ params });
    expect((await place.berth.ended("far", "web", restarted.rollout ?? 0)).phase).toBe("succeeded");
    const rolled = await place.berth.client.rollbackComponent({ params, body: {} });
    expect((await place.berth.ended("far", "web", rolled.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    await place.berth.client.scaleComponent({ params, body: { replicas: 1 } });
    await until(async () => ((await pods("far")).length === 1 ? true : undefined), "one is left", 120_000);
    const { requests, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(500);
    await answers("one");
  });

  test("shows logs, runs commands and tasks, forwards ports, and tells what is used", async () => {
    expect((await place.berth.cli(["logs", "-s", "far", "-c", "web"])).said).toMatch(/listening on/);
    expect(await place.berth.cli(["exec", "-s", "far", "-c", "web", "--", "node", "-p", "6*7"])).toMatchObject({ code: 0, said: "42\n" });
    const { answers } = await place.berth.throughForward(["-s", "far", "-c", "web", ":http"], ["/", "/"]);
    expect(answers).toEqual([expect.stringMatching(/^one /), expect.stringMatching(/^one /)]);
    const ran = await place.berth.cli(["run", "-s", "far", "-c", "web", "--", "node", "-e", "console.log('once'); process.exit(3)"]);
    expect(ran).toMatchObject({ code: 3, said: expect.stringContaining("once") as string });
  });

  test("goes on where it was when the server is killed in the middle of a release", async () => {
    const load = startLoad(place, place.host("web", "far"));
    const made = await place.berth.up("far", webApp("three"));
    await until(async () => ((await pods("far")).length > 1 ? true : undefined), "the new release comes up", 120_000);
    process.kill(place.berth.serverPid(), "SIGKILL");
    await place.berth.startServer();
    expect((await place.berth.ended("far", "web", made.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    expect((await load.stop()).failed).toEqual([]);
    await answers("three");
  });

  test("shows why a release fails, and leaves the old one serving", async () => {
    const made = await place.berth.up("far", webApp("bad", "process.exit(7);"));
    expect(await place.berth.ended("far", "web", made.rollouts[0]?.number ?? 0)).toMatchObject({
      phase: "failed",
      cause: { code: "exited_at_start" },
    });
    expect((await place.get(place.host("web", "far"))).body).toMatch(/^three /);
  });

  test("merges overlays, shows what the cluster has, and refuses what it may not or cannot have before anything runs", async () => {
    const overlaid = (spec: object) => ({
      ...webApp("three"),
      "compose.yaml": JSON.stringify({
        services: { web: { build: ".", ports: ["3000"], "x-berth": { kubernetes: { Deployment: { spec: { template: { spec } } } } } } },
      }),
    });
    await place.berth.deployed("far", overlaid({ tolerations: [{ key: "example.com/gpu", operator: "Exists" }] }));
    // What is of the release before goes a moment later.
    await place.settled({ stack: "far", component: "web" }, 1);
    await eventually("manifests as the cluster has them", async () => {
      const { code, said } = await place.berth.cli(["manifests", "-s", "far"]);
      expect({ code, said }).toEqual({ code: 0, said: expect.stringContaining("key: example.com/gpu") as string });
      expect(said).toMatch(/^kind: HTTPRoute$/m);
      expect(await kubectl(["diff", "-f", "-"], { input: said })).toBe("");
      return true;
    });

    await expect(place.berth.up("far", overlaid({ hostNetwork: true }))).rejects.toThrow(/overlay_refused|hostNetwork/);
    const before = (await pods("far")).map(({ metadata }) => metadata.uid);
    const made = await place.berth.up("far", overlaid({ tolerationz: [] }));
    expect(await place.berth.ended("far", "web", made.rollouts[0]?.number ?? 0)).toMatchObject({
      phase: "failed",
      cause: { code: "object_refused", params: { reason: expect.stringContaining("tolerationz") as string } },
    });
    expect((await pods("far")).map(({ metadata }) => metadata.uid)).toEqual(before);
  });

  test("is removed when nothing is there any more, and leaves nothing behind", async () => {
    expect((await place.berth.cli(["clusters", "remove", "kube", "--yes"])).said).toMatch(/has 1 stack/);
    await place.berth.client.deleteStack({ params: { stack: "far" }, query: {} });
    await until(
      async () => ((await place.api.find({ kind: "Namespace", name: "berth-far" })) === undefined ? true : undefined),
      "the stack's namespace is gone",
      240_000,
    );
    const removed = await until(
      async () => {
        const one = await place.berth.cli(["clusters", "remove", "kube", "--yes"]);
        return one.code === 0 ? one : undefined;
      },
      "it can be removed",
      120_000,
    );
    expect(removed.code).toBe(0);
    expect((await place.berth.client.listClusters({ query: {} })).items.map(({ name }) => name)).toEqual(["local"]);
    const marks = await listed(place.api, "ConfigMap", { namespace: "berth-system" });
    const { id } = await place.berth.client.showInstallation();
    expect(marks.filter(({ metadata }) => metadata.labels?.["berth.installation"] === id)).toEqual([]);
  });
});
