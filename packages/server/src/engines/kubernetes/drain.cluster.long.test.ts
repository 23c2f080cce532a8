// A node is emptied as operators do it while users ask: instances are spread over two nodes, a budget lets them go one by one, and no request is lost.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { borrowCluster, cannotBorrow } from "../../../../../tools/cluster/borrow.ts";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { kubectl } from "../../../../../tools/cluster/kube.ts";
import { removeSecond } from "../../../../../tools/cluster/second.ts";
import { kubeconfig, nodeAddress, parts, ports, secondNode } from "../../../../../tools/cluster/settings.ts";
import { never, until } from "../conformance/lab.ts";
import type { Instance, Ref } from "../engine.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const wanted = [...parts, "node2"] as const;
const missing = cannotBorrow(wanted);

describe.skipIf(missing !== undefined)(`an emptied node${missing === undefined ? "" : ` (${missing})`}`, () => {
  let cluster: AsyncDisposable | undefined;
  let place: KubernetesPlace;
  let generation = 0;
  const ref: Ref = { stack: `drain-${randomBytes(3).toString("hex")}`, component: "web" };
  const host = `web.${ref.stack}.example`;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });

  beforeAll(async () => {
    cluster = await borrowCluster(wanted);
    await loadImage(nobodyImage, await makeNobodyImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
  }, 1_200_000);
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    await removeSecond();
    await cluster?.[Symbol.asyncDispose]();
  });

  const ready = async (count: number): Promise<readonly Instance[] | false> => {
    const all = (await place.engine.observe(ref, never))?.instances ?? [];
    return all.length === count && all.every((one) => one.ready) && all;
  };
  const onSecond = (): string[] =>
    place.engine.pods
      .instances(ref)
      .filter(({ node }) => node === secondNode.name)
      .map(({ name }) => name);
  const ask = (): Promise<number> =>
    new Promise((resolve, reject) => {
      request({ host: nodeAddress, port: ports.gateway, path: "/", headers: { host }, agent: false }, (answer) => {
        answer.resume().on("end", () => resolve(answer.statusCode ?? 0));
        answer.on("error", reject);
      })
        .on("error", reject)
        .end();
    });

  it("loses no request, and leaves no instance on it", async () => {
    await using traffic = place.openTraffic(`http://${nodeAddress}:${String(ports.gateway)}`);
    const workload = await place.workload("serve", { ref });
    await place.engine.prepare(workload, fence(), never);
    await place.engine.ensure({ ref, track: "stable", workload, restart: 0, replicas: 4 }, fence(), never);
    const instances = await until(() => ready(4), "all four are ready", 120_000);
    expect(onSecond()).toHaveLength(2);
    const endpoints = instances.map(({ id, revision, addresses }) => ({
      instance: id,
      releaseHash: revision.releaseHash,
      ...(addresses["http"] ?? { host: "", port: 0 }),
      state: "active" as const,
    }));
    const [hosts, tracks] = [[{ host, path: "/" }], [{ name: "stable" as const, weight: 100, endpoints }]];
    const port = { name: "http", protocol: "http" as const, hosts, internal: 20_000, inside: { host: "", port: 8080 }, tracks };
    await traffic.apply({ ref, ports: [port], rules: [], holdFor: 10_000, drainTimeout: 10_000, stopped: false }, fence(), never);
    await until(async () => (await ask()) === 200, "it answers");

    const failed: string[] = [];
    let requests = 0;
    const end = new AbortController();
    const load = Promise.all(
      [1, 2, 3, 4].map(async () => {
        for (; !end.signal.aborted; await sleep(5))
          await ask().then(
            (status) => void (status === 200 ? (requests += 1) : failed.push(String(status))),
            (error: unknown) => void failed.push(String(error)),
          );
      }),
    );
    try {
      await kubectl(["drain", secondNode.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"]);
      await until(() => ready(4), "four are ready again", 120_000);
    } finally {
      end.abort();
      await load;
    }
    expect(onSecond()).toEqual([]);
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(100);
  });
});
