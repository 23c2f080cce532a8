// A component that its cluster scales by what its instances use: it grows under load, a release keeps what it grew to, and it shrinks without losing a request.
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import type { KubeObject } from "../../packages/server/src/kubernetes/objects.ts";
import { startLoad, until, webApp } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const stack = "grows";
const params = { stack, component: "web" };

interface Deployment extends KubeObject {
  readonly spec: { readonly replicas: number };
}
interface Autoscaler extends KubeObject {
  readonly spec: { readonly scaleTargetRef: { readonly name: string }; readonly minReplicas: number; readonly maxReplicas: number };
}
interface Pod extends KubeObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const isReady = ({ metadata, status }: Pod): boolean =>
  metadata.deletionTimestamp === undefined && status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") === true;

/** Each request takes a while of the processor. */
const app = (version: string): Record<string, string> => ({
  ...webApp(version, "server.prependListener('request', () => { for (const end = Date.now() + 20; Date.now() < end; ); });"),
  "compose.yaml": `services:
  web:
    build: .
    ports: ["8080:3000"]
    environment: { PORT: "3000" }
    cpus: 0.4
    x-berth: { autoscale: { min: 1, max: 3, cpu: 40 } }
`,
});

describe.skipIf(missing !== undefined)(`What a cluster scales (${missing ?? "by its metrics"})`, () => {
  let place: KubePlace;
  let load: ReturnType<typeof startLoad>;

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
    expect((await place.add("kube", "--domain", place.domain)).code).toBe(0);
  });
  afterAll(async () => {
    await load?.stop();
    await place?.[Symbol.asyncDispose]();
  });

  const inStack = <T extends KubeObject>(kind: "Deployment" | "HorizontalPodAutoscaler" | "Pod"): Promise<T[]> =>
    listed<T>(place.api, kind, { namespace: `berth-${stack}`, labels: "berth.component=web" });
  const shown = () => place.berth.client.showComponent({ params });
  const grown = (to: number): Promise<unknown> =>
    until(async () => ((await shown()).ready >= to ? true : undefined), `${String(to)} instances are ready`, 240_000);

  test("is left to the cluster's autoscaler once it serves", async () => {
    await place.berth.client.createStack({ body: { name: stack, cluster: "kube" } });
    await place.berth.deployed(stack, app("one"));
    const [autoscaler] = await until(
      async () => {
        const found = await inStack<Autoscaler>("HorizontalPodAutoscaler");
        return found.length === 1 ? found : undefined;
      },
      "its autoscaler",
      60_000,
    );
    const [deployment] = await inStack<Deployment>("Deployment");
    expect(autoscaler?.spec).toMatchObject({
      scaleTargetRef: { name: deployment?.metadata.name },
      minReplicas: 1,
      maxReplicas: 3,
      metrics: [{ resource: { name: "cpu", target: { averageValue: "160m" } } }],
    });
    expect((await place.berth.cli(["components", "show", "web", "-s", stack])).said).toMatch(/1 now, 1 to 3, for 40% of cpu/);
  });

  test("grows under load, and says so", async () => {
    load = startLoad(place, place.host("web", stack), "/", 8);
    await grown(2);
    await expect.poll(async () => (await shown()).replicas, { timeout: 60_000 }).toBeGreaterThanOrEqual(2);
    await expect
      .poll(async () => (await place.berth.cli(["events", "-s", stack])).said, { timeout: 60_000 })
      .toMatch(/autoscaler scaled web from 1 to [23]/i);
    expect((await place.berth.cli(["scale", "5", "-s", stack, "-c", "web"])).said).toMatch(/from 1 to 3.*berth autoscale web --min/s);
  });

  test("a release keeps what it grew to, from its first moment to its last", async () => {
    // As many as the autoscaler has wanted up to now, all of which are there.
    const before = await until(
      async () => {
        const { ready, replicas } = await shown();
        const pods = (await inStack<Pod>("Pod")).filter(isReady);
        return ready >= replicas && pods.length >= replicas ? replicas : undefined;
      },
      "all that it grew to are ready",
      120_000,
    );
    let least = Infinity;
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        least = Math.min(least, (await inStack<Pod>("Pod")).filter(isReady).length);
      }
    })();
    try {
      await place.berth.deployed(stack, app("two"));
    } finally {
      isOver = true;
      await watching;
    }
    expect(least).toBeGreaterThanOrEqual(before);
    expect((await shown()).replicas).toBeGreaterThanOrEqual(before);
    // The autoscaler moved along, and goes on from there.
    await until(
      async () => {
        const [autoscaler, ...more] = await inStack<Autoscaler>("HorizontalPodAutoscaler");
        const deployments = await inStack<Deployment>("Deployment");
        const [serving] = deployments;
        return deployments.length === 1 && more.length === 0 && autoscaler?.spec.scaleTargetRef.name === serving?.metadata.name
          ? true
          : undefined;
      },
      "the autoscaler of the new release",
      120_000,
    );
    expect((await inStack<Deployment>("Deployment"))[0]?.spec.replicas).toBeGreaterThanOrEqual(before);
  });

  test("shrinks to a lower limit and is handed back, and of all that no request is lost", async () => {
    expect((await place.berth.cli(["autoscale", "web", "--max", "1", "-s", stack])).said).toMatch(/1 to 1, for 40% of cpu/);
    await until(
      async () => {
        const { ready, replicas } = await shown();
        return ready === 1 && replicas === 1 ? true : undefined;
      },
      "one is left",
      240_000,
    );
    expect((await place.berth.cli(["autoscale", "web", "--off", "-s", stack])).said).toMatch(/web: 1 instances, scaled by hand/);
    await until(
      async () => ((await inStack("HorizontalPodAutoscaler")).length === 0 ? true : undefined),
      "nothing scales it any more",
      60_000,
    );
    expect(await place.berth.cli(["scale", "2", "-s", stack, "-c", "web"])).toMatchObject({ code: 0 });
    await grown(2);
    // What the autoscaler made of it was nobody's change by hand.
    expect(await place.berth.cli(["drift", "-s", stack])).toMatchObject({ code: 0 });
    expect((await place.berth.cli(["events", "-s", stack])).said).not.toMatch(/spec\.replicas/);
    const { requests, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(500);
  });
});
