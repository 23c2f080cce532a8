// Clusters that are slow, broken, away or strangers, and what hands do to what runs there: everything ends right, and nobody's request is lost. The long form is beside this.
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { randomFrom } from "../load/random.ts";
import { newSeed } from "../load/crash.ts";
import { until, webApp } from "../harness.ts";
import { BadLuck, far } from "./badluck.ts";
import { killed, misery, removals } from "./badluck-scenes.ts";

const cluster = inject("cluster");
const { missing } = cluster;
const seed = process.env["BERTH_SEED"] ?? newSeed();

describe.skipIf(missing !== undefined)(
  `Berth and a cluster on bad days, seed ${seed}${missing === undefined ? "" : ` (${missing})`}`,
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

    test("releases end right while the API is slow, busy, broken and cut", async () => {
      await misery(at, { delay: 50, busy: 0.03, broken: 0.1, unavailable: 0.05, cut: 0.05, watchLife: 3_000 }, 1);
    });

    test("a cluster that is away: unknown since when, no delay for another, and work for it waits and goes on", async () => {
      const load = at.load();
      const next = await at.release(2);
      await until(
        async () =>
          (await at.berth.client.showRollout({ params: { stack: at.stack, component: "web", rollout: next.rollout } })).phase ===
            "rolling" || undefined,
        "it rolls",
        60_000,
      );
      await at.days.down();
      const gone = Date.now();
      await at.connected(/refuses connections|closed the connection/);
      const { unknownSince = "", name } = await at.component();
      expect(Math.abs(Date.parse(unknownSince) - gone)).toBeLessThan(5_000);
      expect((await at.berth.cli(["components", "list", "-s", at.stack])).said).toMatch(new RegExp(`${name}.*unknown since`));
      expect((await at.berth.cli(["clusters", "show", far])).said).toMatch(/no: .*(refuses connections|closed the connection)/);
      const began = performance.now();
      await at.berth.deployed("own", webApp("here"));
      expect(performance.now() - began).toBeLessThan(30_000);
      await at.days.up();
      await at.ended(next);
      expect(await at.component()).not.toHaveProperty("unknownSince");
      expect((await load.stop()).failed).toEqual([]);
    });

    test("what somebody removes by hand comes back", async () => {
      console.log(`by hand: ${JSON.stringify(await removals(at))}`);
    });

    test("a control plane that is killed in the middle of releases goes on, and no request is lost", async () => {
      await killed(at, chance.fork("kills"), 2);
    });

    test("a token that has expired is said to be, and a new kubeconfig mends it; what leads elsewhere is refused", async () => {
      at.days.become({ stranger: true });
      at.days.cutAll();
      await at.connected(/does not know who asks: the certificate or the token is not valid there, or not any more/);
      const set = async (text: string): Promise<string> =>
        (await at.berth.cli(["clusters", "set", far, "--kubeconfig", at.kubeconfigFile(at.berth, text)])).said;
      expect(await set(at.days.kubeconfig())).toMatch(/does not know who asks/);
      at.days.become();
      const other = at.days.show("other");
      await at.connected(/a certificate that the given authority did not issue/);
      expect(await set("{{{ no kubeconfig")).toMatch(/kubeconfig/);
      expect(await set(at.days.kubeconfig())).toMatch(/a certificate that the given authority did not issue/);
      expect(await set(at.days.kubeconfig({ ca: other }))).toMatch(/reached as the kubeconfig says from now on/);
      await at.connected(true);
      await at.ended(await at.release(2));
    });
  },
);
