// Tests of traffic by the Gateway API, with a real gateway: who is led where, what a probe proves, and that nobody notices a release.
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { KubeError } from "../../../kubernetes/errors.ts";
import type { KubeObject } from "../../../kubernetes/objects.ts";
import { pathOf } from "../../../kubernetes/paths.ts";
import { never, until } from "../../conformance/lab.ts";
import type { Instance, Ref, TrackTarget, Workload } from "../../engine.ts";
import type { TrafficEndpoint, TrafficEntry, TrafficTrack } from "../../traffic.ts";
import type { GatewayTraffic } from "../gateway-traffic.ts";
import { namespaceOf } from "../names.ts";
import type { KubernetesPlace } from "./place.ts";

/** For one `describe`. `open`: a place for it; `gateway`: where the test cluster's answers. */
export function trafficByGateway(open: () => Promise<KubernetesPlace>, gateway: string): void {
  const { hostname, port } = new URL(gateway);
  let place: KubernetesPlace;
  let traffic: GatewayTraffic;
  let generation = 0;
  const ref: Ref = { stack: `gateway${randomBytes(3).toString("hex")}`, component: "web" };
  const host = `web.${ref.stack}.example`;
  const fence = () => ({ installation: "lab", epoch: 1, generation: (generation += 1) });

  beforeAll(async () => {
    place = await open();
    traffic = place.openTraffic(gateway);
  });
  afterAll(async () => {
    await traffic?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
  });

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
  /** Requests without a pause until `end`, which fails when one of them did. `more`: resolves when so many more were answered, or one failed. */
  function loading(): AsyncDisposable & { more(count: number): Promise<void>; end(): Promise<void> } {
    const failed: string[] = [];
    let requests = 0;
    const stop = new AbortController();
    const all = Promise.all(
      [1, 2, 3, 4].map(async () => {
        while (!stop.signal.aborted) {
          await ask().then(
            ({ status, text }) => void (status === 200 ? (requests += 1) : failed.push(`${String(status)} ${text}`)),
            (error: unknown) => void failed.push(String(error)),
          );
          await sleep(5);
        }
      }),
    );
    const ended = async (): Promise<void> => {
      stop.abort();
      await all;
    };
    return {
      [Symbol.asyncDispose]: ended,
      more: async (count) => {
        const wanted = requests + count;
        await until(() => Promise.resolve(requests >= wanted || failed.length > 0), `${String(count)} more requests are answered`);
      },
      end: async () => {
        await ended();
        expect(failed).toEqual([]);
      },
    };
  }
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
    // The release's own Service may hear of its endpoints a moment after the component's.
    const proved = await until(async () => {
      const answer = await traffic.probe(target, never);
      return answer.status === 200 && answer;
    }, "the probe is answered");
    expect(proved).toMatchObject({ status: 200, releaseHash: one.releaseHash, url: `http://${host}:${port}/` });
    // A release that is not routed is not proved by another one's answer.
    expect((await traffic.probe({ ...target, releaseHash: "sha256:other" }, never)).releaseHash).toBeUndefined();
    await expect(traffic.apply(wanted, { ...by, generation: by.generation - 1 }, never)).rejects.toMatchObject({
      code: "stale_generation",
    });
  });

  it("looks without a question, applies nothing that is there already, and again what somebody changed", async () => {
    const now = (await place.engine.observe(ref, never))?.instances ?? [];
    const wanted = entry([stable(endpoints(now))]);
    await traffic.apply(wanted, fence(), never);
    const asked = vi.spyOn(place.engineApi, "request");
    const writes = (): string[] => asked.mock.calls.flatMap(([method, path]) => (method === "GET" ? [] : [`${method} ${path}`]));
    try {
      for (let look = 0; look < 10; look++) await traffic.applied(ref, never);
      expect(asked).not.toHaveBeenCalled();
      const by = fence();
      await traffic.apply(wanted, by, never);
      expect((await traffic.applied(ref, never)).generation).toBe(by.generation);
      // Whose order it was, and which entry is in force.
      expect(writes()).toEqual([
        expect.stringMatching(/^PUT .*\/configmaps\/berth-orders-/),
        expect.stringMatching(/^PATCH .*\/configmaps\/web--routes$/),
      ]);
      const route = { kind: "HTTPRoute", namespace: namespaceOf(ref), name: "web--http" } as const;
      await place.api.merge(route, { spec: { hostnames: ["elsewhere.example"] } });
      await until(async () => (await ask()).status === 404, "the change is in force");
      await until(async () => (await traffic.applied(ref, never)).generation === 0, "it is heard of");
      await traffic.apply(wanted, fence(), never);
      await isServed("one");
    } finally {
      asked.mockRestore();
    }
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
    await using load = loading();
    const after = await up(await release("three", 3));
    await load.more(100);
    await traffic.apply(entry([stable([...endpoints(after), ...endpoints(before)])]), fence(), never);
    await load.more(50);
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
    await load.more(100);
    await traffic.apply(entry([stable(endpoints(after))]), fence(), never);
    await until(async () => (await place.engine.observe(ref, never))?.instances.length === 2, "the old ones are gone");
    expect(await answers(20)).toEqual({ three: 20 });
    await load.more(50);
    await load.end();
  });

  it("loses no request when nodes are emptied: a budget lets one instance go at a time", async () => {
    const before = ((await place.engine.observe(ref, never))?.instances ?? []).map(({ id }) => id);
    expect(before).toHaveLength(2);
    const namespace = namespaceOf(ref);
    /** As `kubectl drain` asks for each pod of a node. */
    const evict = (name: string): Promise<number> =>
      place.api
        .request("POST", pathOf("Pod", namespace, name, "eviction"), {
          body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { namespace, name } },
        })
        .then(
          () => 201,
          (error: unknown) => (error instanceof KubeError ? error.status : 0),
        );
    const mayGo = async (): Promise<number | undefined> => {
      const budget = { kind: "PodDisruptionBudget", namespace, name: ref.component } as const;
      return (await place.api.get<KubeObject & { status?: { disruptionsAllowed?: number } }>(budget)).status?.disruptionsAllowed;
    };
    const replaced = (gone: readonly string[]) =>
      until(async () => {
        const all = (await place.engine.observe(ref, never))?.instances ?? [];
        return all.length === 2 && all.every(({ id, ready }) => ready && !gone.includes(id));
      }, "two others are ready");
    await using load = loading();
    await until(async () => (await mayGo()) === 1, "one may go");
    // Both at once: before another one is there in the place of the first, the second has to stay.
    const said = await Promise.all(before.map(evict));
    expect(said.toSorted()).toEqual([201, 429]);
    const [first = ""] = before.filter((_, index) => said[index] === 201);
    const [second = ""] = before.filter((id) => id !== first);
    await load.more(50);
    await replaced([first]);
    await until(async () => (await evict(second)) === 201, `${second} may go`);
    await load.more(50);
    await replaced(before);
    await load.end();
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

  it("calls nothing in force that somebody removed or changed by hand, tells of it at once, and puts it back", async () => {
    const now = (await place.engine.observe(ref, never))?.instances ?? [];
    const wanted = entry([stable(endpoints(now))]);
    const namespace = `berth-${ref.stack}`;
    const told: Ref[] = [];
    const end = new AbortController();
    const watching = place.engine.watch((changed) => void told.push(changed), end.signal);
    const put = async (): Promise<void> => {
      const by = fence();
      await traffic.apply(wanted, by, never);
      expect(await traffic.applied(ref, never)).toMatchObject({ generation: by.generation });
      await until(async () => (await ask()).status === 200, "users are answered");
      // What is heard of the order itself is no news.
      await until(async () => (await traffic.list(never)).every((one) => one.generation === by.generation), "all of it is heard of");
      told.length = 0;
    };
    const route = { kind: "HTTPRoute", namespace, name: "web--http" } as const;
    for (const break_ of [
      () => place.api.delete({ kind: "Service", namespace, name: "web" }),
      () => place.api.delete(route),
      () => place.api.merge(route, { spec: { hostnames: ["elsewhere.example"] } }),
    ]) {
      await put();
      await break_();
      await until(async () => (await traffic.applied(ref, never)).generation === 0, "it is heard of");
      expect(told).toContainEqual(ref);
      expect((await traffic.applied(ref, never)).digest).toBe("");
      await until(async () => (await traffic.list(never)).some((one) => one.generation === 0), "a look at all of them finds it");
    }
    await put();
    end.abort();
    await watching;
  });

  it("has an entry in force that leads nowhere, as of a component that is about to go, and forgets it when it is removed", async () => {
    const nowhere: Ref = { ...ref, component: "nowhere" };
    const empty: TrafficEntry = {
      ...entry([]),
      ref: nowhere,
      ports: [{ name: "http", protocol: "http", hosts: [], internal: 1, tracks: [] }],
    };
    const by = fence();
    await traffic.apply(empty, by, never);
    expect(await traffic.applied(nowhere, never)).toMatchObject({ generation: by.generation, endpoints: [] });
    expect(await traffic.readEntry(nowhere, never)).toEqual(empty);
    expect(await traffic.list(never)).toContainEqual({ ref: nowhere, generation: by.generation });
    await traffic.remove(nowhere, fence(), never);
    expect(await traffic.applied(nowhere, never)).toMatchObject({ generation: 0 });
    expect(await traffic.list(never)).not.toContainEqual(expect.objectContaining({ ref: nowhere }));
  });

  it("leaves nothing when it is removed", async () => {
    await traffic.remove(ref, fence(), never);
    await until(async () => (await ask()).status === 404, "nobody is led there");
    expect(await traffic.applied(ref, never)).toEqual({ generation: 0, digest: "", endpoints: [], problems: [] });
    expect(await traffic.list(never)).toEqual([]);
  });
}
