// The long form of bad luck on a cluster: every misery by itself and all at once, hands in the middle of releases, two Berths, a stuck namespace, a silent cluster, and 200 kills.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import type { Misery } from "../../packages/server/src/kubernetes/testing/proxy.ts";
import { TestBerth, until, webApp } from "../harness.ts";
import { newSeed } from "../load/crash.ts";
import { randomFrom } from "../load/random.ts";
import { BadLuck, far } from "./badluck.ts";
import { killed, misery, removals, whole } from "./badluck-scenes.ts";

const cluster = inject("cluster");
const { missing } = cluster;
const seed = process.env["BERTH_SEED"] ?? newSeed();
const kills = 200;

const miseries: readonly (readonly [string, Misery])[] = [
  ["slow by a second", { delay: 1_000 }],
  ["busy", { busy: 0.3 }],
  ["broken", { broken: 0.25, unavailable: 0.1 }],
  ["cut in the middle of answers", { cut: 0.2 }],
  ["telling its changes for half a second at most", { watchLife: 500 }],
  ["all of it", { delay: 200, busy: 0.05, broken: 0.1, unavailable: 0.05, cut: 0.1, watchLife: 2_000 }],
];

describe.skipIf(missing !== undefined)(
  `Berth and a cluster on bad days, for long, seed ${seed}${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    let at: BadLuck;
    const chance = randomFrom(seed);

    beforeAll(async () => {
      at = await BadLuck.open(cluster, () => chance.next());
      await at.ended(await at.release(2));
    }, 180_000);
    afterAll(async () => {
      await at?.[Symbol.asyncDispose]();
    }, 120_000);

    test.each(miseries)("releases end right while the API is %s", async (_name, what) => {
      await misery(at, what, 3, 600_000);
    });

    test("what somebody removes by hand comes back", async () => {
      console.log(`by hand: ${JSON.stringify(await removals(at))}`);
    });

    test("what somebody removes by hand in the middle of a release does not keep it from its end", async () => {
      for (const kind of ["Deployment", "Service", "HTTPRoute", "Pod"] as const) {
        const next = await at.release(2);
        await delay(chance.between(0, 3_000));
        const all = await listed(at.api, kind, { namespace: at.namespace, labels: "berth.component=web" });
        const { metadata } = chance.pick(all);
        await at.api.delete({ kind, namespace: at.namespace, name: metadata.name }, { propagation: "Background" });
        await at.ended(next);
        await whole(at, 2);
      }
    });

    test("a cluster that takes requests and never answers delays no other, however much is to be done there", async () => {
      const stacks = Array.from({ length: 20 }, (_, number) => `${at.stack}-${String(number)}`);
      for (const stack of stacks) await at.berth.client.createStack({ body: { name: stack, cluster: far } });
      const load = at.load();
      const made = await Promise.all(stacks.map((stack) => at.berth.up(stack, at.says("quiet"))));
      at.days.become({ silent: true });
      const began = performance.now();
      await at.berth.deployed("here", webApp("one"));
      console.log(`beside a silent cluster with 20 releases on their way: ${String(Math.round(performance.now() - began))} ms`);
      expect(performance.now() - began).toBeLessThan(30_000);
      await at.connected(/gave no answer in time/);
      at.days.become();
      await at.connected(true);
      for (const [index, { rollouts }] of made.entries())
        expect(await at.berth.ended(stacks[index] ?? "", "web", rollouts[0]?.number ?? 0, 300_000)).toMatchObject({ phase: "succeeded" });
      expect((await load.stop()).failed).toEqual([]);
      for (const stack of stacks) await at.berth.client.deleteStack({ params: { stack }, query: {} });
    });

    test("two Berths on one cluster leave each other alone, also when they want the same namespace", async () => {
      const other = await TestBerth.start();
      const load = at.load();
      try {
        await at.add(other);
        await other.client.createStack({ body: { name: at.stack, cluster: far } });
        const refused = await other.up(at.stack, at.says("theirs"));
        expect(await other.ended(at.stack, "web", refused.rollouts[0]?.number ?? 0)).toMatchObject({
          phase: "failed",
          cause: { code: "namespace_of_others", params: { namespace: at.namespace } },
        });
        const { id } = await other.client.showInstallation();
        const labels = `berth.installation=${id}`;
        await other.client.deleteStack({ params: { stack: at.stack }, query: {} });
        await until(
          async () => ((await other.client.listStacks()).items.length === 0 ? true : undefined),
          "their stack to be gone",
          60_000,
        );
        for (const kind of ["ConfigMap", "Secret", "Service", "Deployment", "HTTPRoute"] as const)
          expect(await listed(at.api, kind, { namespace: at.namespace, labels })).toEqual([]);
        const mine = `${at.stack}-b`;
        await other.client.createStack({ body: { name: mine, cluster: far } });
        const made = await other.up(mine, at.says("theirs"));
        expect(await other.ended(mine, "web", made.rollouts[0]?.number ?? 0, 120_000)).toMatchObject({ phase: "succeeded" });
        await at.ended(await at.release(2));
        expect((await at.get(`web.${mine}.${at.domain}`)).body.trim()).toBe("theirs");
        expect((await other.client.listStacks()).items.map(({ name }) => name)).toEqual([mine]);
        await at.api.delete({ kind: "Namespace", name: `berth-${mine}` });
      } finally {
        await other.stop();
        expect((await load.stop()).failed).toEqual([]);
      }
    });

    test("a namespace that is stuck says what holds it, and all is made anew when the finalizer goes", async () => {
      const { api, namespace } = at;
      const held = { kind: "ConfigMap", namespace, name: "held" } as const;
      await api.create({ apiVersion: "v1", kind: "ConfigMap", metadata: { ...held, finalizers: ["example.com/held"] } });
      await api.delete({ kind: "Namespace", name: namespace });
      const { cause } = await until(
        async () => {
          const found = await at.component();
          return found.cause?.code === "namespace_terminating" && found.state === "degraded" && found.cause.params["held"] !== ""
            ? found
            : undefined;
        },
        "the component to say so",
        120_000,
        () => at.berth.log(),
      );
      expect(cause?.params["held"]).toMatch(/example\.com\/held/);
      const next = await at.release(2);
      await until(
        async () =>
          (await at.berth.client.showRollout({ params: { stack: at.stack, component: "web", rollout: next.rollout } })).cause?.code ===
            "namespace_terminating" || undefined,
        "the rollout to say so",
        60_000,
      );
      await api.merge(held, { metadata: { finalizers: null } });
      await at.ended(next);
      await whole(at, 2);
    });

    test("a control plane that is killed again and again in the middle of releases goes on, and no request is lost", async () => {
      await killed(at, chance.fork("kills"), kills);
    }, 3_600_000);
  },
);
