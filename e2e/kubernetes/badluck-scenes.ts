// What the short and the long test of bad luck have in common; they differ by numbers.
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import type { Misery } from "../../packages/server/src/kubernetes/testing/proxy.ts";
import { until } from "../harness.ts";
import type { Random } from "../load/random.ts";
import type { BadLuck } from "./badluck.ts";

/** So many releases under load while the API is so. */
export async function misery(at: BadLuck, what: Misery, releases: number, within = 180_000): Promise<void> {
  const load = at.load();
  at.days.become(what);
  // Watches that began before live on as they would.
  if (what.watchLife !== undefined) at.days.cutAll();
  const times: number[] = [];
  try {
    for (let count = 0; count < releases; count++) {
      const began = performance.now();
      await at.ended(await at.release(2), within);
      times.push(Math.round(performance.now() - began));
    }
  } finally {
    at.days.become();
  }
  const { requests, failed } = await load.stop();
  console.log(
    `${JSON.stringify(what)}: releases took ${times.join(", ")} ms, ${String(requests)} requests, ${JSON.stringify(at.days.met)}`,
  );
  expect(failed).toEqual([]);
  expect(requests).toBeGreaterThan(50);
}

/** Takes one thing after another away while nothing else happens; ms until users are answered again and the object stands again. */
export async function removals(at: BadLuck): Promise<Record<string, number>> {
  const { namespace, api } = at;
  const took: Record<string, number> = {};
  const uids = async (kind: "Service" | "HTTPRoute" | "Deployment"): Promise<Map<string, string>> =>
    new Map((await listed(api, kind, { namespace })).map(({ metadata }) => [metadata.name, metadata.uid ?? ""]));
  for (const kind of ["Service", "HTTPRoute", "Deployment"] as const) {
    for (const [name, before] of await uids(kind)) {
      const began = performance.now();
      await api.delete({ kind, namespace, name }, { propagation: "Background" });
      await until(
        async () => {
          const now = await uids(kind);
          // The next wave of instances has a slot of its own.
          const back = kind === "Deployment" ? [...now.values()].some((uid) => uid !== before) : (now.get(name) ?? before) !== before;
          return back || undefined;
        },
        `${kind} ${name} to be there again`,
        60_000,
        () => at.berth.log(),
        20,
      );
      took[`${kind} ${name}`] = Math.round(performance.now() - began);
      await at.answersAgain();
    }
  }
  await whole(at, 2);
  await at.answersSteadily();
  const load = at.load();
  const began = performance.now();
  const [pod] = await listed(api, "Pod", { namespace, labels: "berth.role=instance" });
  if (pod === undefined) throw new Error("nothing runs");
  await api.delete({ kind: "Pod", namespace, name: pod.metadata.name });
  await until(
    async () => (await listed(api, "Pod", { namespace })).every(({ metadata }) => metadata.uid !== pod.metadata.uid) || undefined,
    "the pod to be gone",
    60_000,
  );
  await whole(at, 2);
  took["Pod"] = Math.round(performance.now() - began);
  expect((await load.stop()).failed).toEqual([]);
  return took;
}

/** Until Berth sees that so many are ready, and all is well. */
export async function whole(at: BadLuck, replicas: number, within = 90_000): Promise<void> {
  await until(
    async () => {
      const { state, ready } = await at.component();
      return (state === "healthy" && ready === replicas) || undefined;
    },
    `${String(replicas)} to be ready`,
    within,
    () => at.berth.log(),
  );
}

/** Kills the control plane at random instants of releases, under load, until it was killed so many times. */
export async function killed(at: BadLuck, chance: Random, kills: number): Promise<void> {
  const load = at.load();
  let done = 0;
  let releases = 0;
  while (done < kills) {
    const next = await at.release(2);
    releases += 1;
    // Some releases meet several kills, and some of those come while the server is starting.
    for (let more = chance.between(1, 3); more > 0 && done < kills; more--) {
      await delay(chance.between(0, 4_000));
      process.kill(at.berth.serverPid(), "SIGKILL");
      done += 1;
      await at.berth.startServer();
    }
    await at.ended(next, 180_000);
  }
  const { requests, failed } = await load.stop();
  console.log(`${String(done)} kills in ${String(releases)} releases, ${String(requests)} requests`);
  expect(failed).toEqual([]);
  await whole(at, 2);
}
