// Traffic by the Gateway API on a real cluster, with a real gateway: who is led where, what a probe proves, and that nobody notices a release.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { loadImage, makeNobodyImage } from "../../../../../tools/cluster/images.ts";
import { never, until } from "../conformance/lab.ts";
import type { Instance, Ref, TrackTarget, Workload } from "../engine.ts";
import type { TrafficEndpoint, TrafficEntry, TrafficTrack } from "../traffic.ts";
import { GatewayTraffic } from "./gateway-traffic.ts";
import { KubernetesPlace, nobodyImage } from "./testing/place.ts";

const { missing, kubeconfig, gateway } = inject("cluster");
const { hostname, port } = new URL(gateway);

describe.skipIf(missing !== undefined)(`traffic by the Gateway API${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubernetesPlace;
  let traffic: GatewayTraffic;
  let generation = 0;
  const ref: Ref = { stack: `gateway${randomBytes(3).toString("hex")}`, component: "web" };
  const host = `web.${ref.stack}.example`;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });

  beforeAll(async () => {
    await loadImage(nobodyImage, await makeNobodyImage());
    place = await KubernetesPlace.open(readFileSync(kubeconfig, "utf8"));
    traffic = new GatewayTraffic({
      api: place.api,
      cluster: "test",
      installation: place.installation,
      pods: place.engine.pods,
      gateway: { namespace: "default", name: "public" },
      door: { host: hostname, port: Number(port) },
      probeKey: randomBytes(32),
    });
  });
  afterAll(() => place?.[Symbol.asyncDispose]());

  /** Answers with its name. */
  const release = (name: string, number: number): Promise<Workload> =>
    place.workload("serve", {
      ref,
      releaseNumber: number,
      command: { shell: `mkdir -p /tmp/www; echo ${name} > /tmp/www/index.html; exec httpd -f -p $PORT -h /tmp/www` },
    });
  async function up(workload: Workload, over: Partial<TrackTarget> = {}): Promise<readonly Instance[]> {
    const target: TrackTarget = { ref, track: "stable", workload, restart: 0, replicas: 2, ...over };
    const by = fence();
    await place.engine.prepare(workload, by, never);
    await place.engine.ensure(target, by, never);
    return until(async () => {
      const all = (await place.engine.observe(ref, never))?.instances ?? [];
      const mine = all.filter((one) => one.revision.releaseHash === workload.releaseHash && one.track === target.track);
      return mine.length >= target.replicas && mine.every((one) => one.ready) && mine;
    }, `${workload.releaseHash} is ready`);
  }
  const endpoints = (instances: readonly Instance[], state: TrafficEndpoint["state"] = "active"): TrafficEndpoint[] =>
    instances.map(({ id, revision, addresses }) => ({
      instance: id,
      releaseHash: revision.releaseHash,
      ...(addresses["http"] ?? { host: "", port: 0 }),
      state,
    }));
  const entry = (tracks: readonly TrafficTrack[], rules: TrafficEntry["rules"] = []): TrafficEntry => ({
    ref,
    ports: [{ name: "http", protocol: "http", hosts: [{ host, path: "/" }], internal: 20_000, inside: { host: "", port: 8080 }, tracks }],
    rules,
    holdFor: 10_000,
    drainTimeout: 10_000,
    stopped: false,
  });
  const stable = (all: readonly TrafficEndpoint[], weight = 100): TrafficTrack => ({ name: "stable", weight, endpoints: all });

  function ask(headers: Readonly<Record<string, string>> = {}): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      request({ host: hostname, port, path: "/", headers: { host, ...headers }, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: text.trim() }));
        answer.on("error", reject);
      })
        .on("error", reject)
        .end();
    });
  }
  const answers = async (times: number, headers?: Readonly<Record<string, string>>): Promise<Record<string, number>> => {
    const seen: Record<string, number> = {};
    for (let time = 0; time < times; time++) {
      const { status, text } = await ask(headers);
      const word = status === 200 ? text : String(status);
      seen[word] = (seen[word] ?? 0) + 1;
    }
    return seen;
  };
  const isServed = (word: string) => until(async () => (await ask()).text === word, `${word} answers`);

  it("leads a host to ready instances, and proves by a probe which release answered", async () => {
    const one = await release("one", 1);
    const wanted = entry([stable(endpoints(await up(one)))]);
    const by = fence();
    await traffic.apply(wanted, by, never);
    await isServed("one");
    expect(await traffic.readEntry(ref, never)).toEqual(wanted);
    const applied = await traffic.applied(ref, never);
    expect(applied).toMatchObject({ generation: by.generation, problems: [] });
    expect(applied.endpoints.map(({ ready, inFlight }) => ({ ready, inFlight }))).toEqual([
      { ready: true, inFlight: 0 },
      { ready: true, inFlight: 0 },
    ]);
    expect(await traffic.list(never)).toEqual([{ ref, generation: by.generation }]);
    const target = { ref, port: "http", host, path: "/", releaseHash: one.releaseHash };
    expect(await traffic.probe(target, never)).toMatchObject({ status: 200, releaseHash: one.releaseHash, url: `http://${host}:${port}/` });
    // A release that is not routed is not proved by another one's answer.
    expect((await traffic.probe({ ...target, releaseHash: "sha256:other" }, never)).releaseHash).toBeUndefined();
    await expect(traffic.apply(wanted, { ...by, generation: by.generation - 1 }, never)).rejects.toMatchObject({
      code: "stale_generation",
    });
  });

  it("shares requests by weights, and sends those that match a rule to their track", async () => {
    const now = (await place.engine.observe(ref, never))?.instances ?? [];
    const candidate = await up(await release("two", 2), { track: "candidate", replicas: 1 });
    const tracks = [stable(endpoints(now), 70), { name: "candidate", weight: 30, endpoints: endpoints(candidate) }];
    const conditions = (inside: "header" | "cookie") => [{ in: inside, name: "x-tester", match: "exact", value: "yes" }] as const;
    await traffic.apply(
      entry(tracks, [
        { conditions: conditions("header"), track: "candidate" },
        { conditions: conditions("cookie"), track: "candidate" },
      ]),
      fence(),
      never,
    );
    await until(async () => (await ask({ "x-tester": "yes" })).text === "two", "the rule leads to the candidate");
    expect(await answers(10, { "x-tester": "yes" })).toEqual({ two: 10 });
    expect(await answers(10, { cookie: "a=b; x-tester=yes" })).toEqual({ two: 10 });
    const shares = await answers(200);
    expect(Object.keys(shares).sort()).toEqual(["one", "two"]);
    expect(shares["two"]).toBeGreaterThan(30);
    expect(shares["two"]).toBeLessThan(90);
    await traffic.apply(entry([stable(endpoints(now))]), fence(), never);
    await until(async () => Object.keys(await answers(10)).join() === "one", "the candidate gets no more requests");
    await place.engine.stop(
      ref,
      candidate.map(({ id }) => id),
      1_000,
      fence(),
      never,
    );
  });

  it("loses no request when a release takes another one's place", async () => {
    const before = ((await place.engine.observe(ref, never))?.instances ?? []).filter(({ phase }) => phase === "running");
    const failed: string[] = [];
    let requests = 0;
    const end = new AbortController();
    const load = Promise.all(
      [1, 2, 3, 4].map(async () => {
        while (!end.signal.aborted) {
          await ask().then(
            ({ status, text }) => void (status === 200 ? (requests += 1) : failed.push(`${String(status)} ${text}`)),
            (error: unknown) => void failed.push(String(error)),
          );
          await sleep(5);
        }
      }),
    );
    const after = await up(await release("three", 3));
    await traffic.apply(entry([stable([...endpoints(after), ...endpoints(before)])]), fence(), never);
    await traffic.apply(entry([stable([...endpoints(after), ...endpoints(before, "draining")])]), fence(), never);
    await until(
      async () => (await traffic.applied(ref, never)).endpoints.every(({ inFlight }) => inFlight === 0),
      "the old ones are drained",
    );
    await place.engine.stop(
      ref,
      before.map(({ id }) => id),
      2_000,
      fence(),
      never,
    );
    await traffic.apply(entry([stable(endpoints(after))]), fence(), never);
    await until(async () => (await place.engine.observe(ref, never))?.instances.length === 2, "the old ones are gone");
    expect(await answers(20)).toEqual({ three: 20 });
    end.abort();
    await load;
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(300);
  });

  it("says what the gateway does not serve: route_refused", async () => {
    const now = (await place.engine.observe(ref, never))?.instances ?? [];
    // As whoever removes a Service by hand does it.
    await traffic.apply(entry([stable(endpoints(now), 90), { name: "candidate", weight: 10, endpoints: [] }]), fence(), never);
    await place.api.delete({ kind: "Service", namespace: `berth-${ref.stack}`, name: "web--candidate" });
    const [problem] = await until(async () => {
      const { problems } = await traffic.applied(ref, never);
      return problems.length > 0 && problems;
    }, "the gateway says so");
    expect(problem).toMatchObject({ code: "route_refused", params: { route: "web--http" } });
    await traffic.apply(entry([stable(endpoints(now))]), fence(), never);
    await until(async () => (await traffic.applied(ref, never)).problems.length === 0, "all is well again");
  });

  it("leaves nothing when it is removed", async () => {
    await traffic.remove(ref, fence(), never);
    await until(async () => (await ask()).status === 404, "nobody is led there");
    expect(await traffic.applied(ref, never)).toEqual({ generation: 0, digest: "", endpoints: [], problems: [] });
    expect(await traffic.list(never)).toEqual([]);
  });
});
