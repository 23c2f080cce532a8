// Components on a cluster that is away, or that refuses what it is told: what is shown of them is true, what is on its way waits, and says for what.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import { EngineFailure } from "../src/engines/engine.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import type { PlaceState } from "../src/resources/deps.ts";
import { sceneOn, type Scene } from "./scene.ts";
import { useServices } from "./services.ts";

let state: PlaceState | undefined;
const services = useServices(({ addedClusters }) => ({ addedClusters: { ...addedClusters, state: () => state } }));
const worker = { ...defaultSpec("worker"), build: { context: "." }, command: { exec: ["app"] }, gracePeriod: 1 };
const minute = 60_000;

/** Takes no instance while it refuses, and loses what instances are started from when it is told to. */
class Refusing extends FakeEngine {
  why: Cause | undefined;
  lost = false;

  override async prepare(...args: Parameters<FakeEngine["prepare"]>): Promise<void> {
    if (this.why !== undefined) throw new EngineFailure(this.why, { retryable: true });
    await super.prepare(...args);
    this.lost = false;
  }

  override async observe(...args: Parameters<FakeEngine["observe"]>): ReturnType<FakeEngine["observe"]> {
    const seen = await super.observe(...args);
    return seen === undefined || !this.lost
      ? seen
      : { ...seen, instances: seen.instances.map((instance) => ({ ...instance, unprepared: true as const })) };
  }
}

const scene = (): Promise<{ at: Scene; engine: Refusing }> => sceneOn(services(), (options) => new Refusing(options));
/** Passes that fail as the loop would have it, with time between them. */
async function failing(at: Scene, passes: number, each: number): Promise<void> {
  for (let count = 0; count < passes; count += 1) {
    await at.pass().catch((error: unknown) => {
      if (!(error instanceof EngineFailure)) throw error;
    });
    at.now += each;
  }
}

test("says of a component and its stack since when nothing is known of them, and what was seen last", async () => {
  const { at } = await scene();
  await at.rolledOut(await at.deploy(worker));
  const { handlers, call } = services();
  const shown = async () => ({
    component: (await handlers.showComponent({ params: at.ref }, call())).body,
    listed: (await handlers.listComponents({ params: { stack: at.ref.stack }, query: {} }, call())).items[0],
    stack: (await handlers.showStack({ params: { stack: at.ref.stack } }, call())).body,
  });
  const since = new Date("2026-07-01T10:00:00Z");
  try {
    state = { connected: true, since };
    for (const one of Object.values(await shown())) expect(one).not.toHaveProperty("unknownSince");
    state = { connected: false, reason: "it is away", since };
    const { component, listed, stack } = await shown();
    for (const one of [component, listed]) expect(one).toMatchObject({ state: "healthy", ready: 1, unknownSince: since.toISOString() });
    expect(stack).toMatchObject({ state: "healthy", unknownSince: since.toISOString() });
  } finally {
    state = undefined;
  }
});

test("counts no time in which the cluster was away against a rollout", async () => {
  const { at, engine } = await scene();
  const number = await at.deploy({ ...worker, strategy: { ...worker.strategy, progressDeadline: 10 * minute } });
  await at.passUntil(async () => (await at.instances()).length === 1, "its instance");
  const hash = (await at.instances())[0]?.revision.releaseHash ?? "";
  engine.behave(hash, { readyAfter: Infinity });
  await at.pass();
  engine.reachable = false;
  await failing(at, 60, minute);
  expect(await at.rollout(number)).toMatchObject({ ended_at: null, cause: { code: "cluster_unreachable" } });
  engine.reachable = true;
  const back = at.now;
  Object.assign(at.deps, { reachableSince: () => back });
  await failing(at, 5, minute);
  expect(await at.rollout(number)).toMatchObject({ phase: "rolling" });
  engine.behave(hash, {});
  expect(await at.rolledOut(number)).toMatchObject({ phase: "succeeded", cause: null });
});

test("waits for a namespace that is on its way out as long as a rollout may stand still, and says so meanwhile", async () => {
  const { at, engine } = await scene();
  engine.why = cause("namespace_terminating", { namespace: "berth-shop", held: "" });
  const number = await at.deploy({ ...worker, strategy: { ...worker.strategy, progressDeadline: 10 * minute } });
  await failing(at, 20, 15_000);
  expect(await at.rollout(number)).toMatchObject({ phase: "preparing", cause: { code: "namespace_terminating" } });
  engine.why = undefined;
  expect(await at.rolledOut(number)).toMatchObject({ phase: "succeeded", cause: null });
  engine.why = cause("namespace_terminating", { namespace: "berth-shop", held: "" });
  const next = await at.deploy({
    ...worker,
    command: { exec: ["other"] },
    strategy: { ...worker.strategy, progressDeadline: 10 * minute },
  });
  await failing(at, 45, 15_000);
  expect(await at.rollout(next)).toMatchObject({ phase: "failed", cause: { code: "namespace_terminating" } });
});

test("shows what is left of a component whose lost instances the cluster does not take again, and why, and that it is well afterwards", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy({ ...worker, replicas: 2 }));
  await at.pass();
  expect(await at.row()).toMatchObject({ state: "healthy", ready: 2 });
  engine.why = cause("cluster_quota_exceeded", { quota: "few", asked: "pods=1", used: "pods=1", most: "pods=1" });
  const [one] = await at.instances();
  const fence = (await engine.observe(at.ref, at.signal))?.fence;
  if (one === undefined || fence === undefined) throw new Error("nothing runs");
  await engine.stop(at.ref, [one.id], 0, fence, at.signal);
  at.now += 10;
  await failing(at, 3, 1_000);
  expect(await at.row()).toMatchObject({ state: "degraded", ready: 1, cause: { code: "cluster_quota_exceeded" } });
  engine.why = undefined;
  await at.passUntil(async () => (await at.row()).state === "healthy", "two instances");
  expect(await at.row()).toMatchObject({ ready: 2, cause: null });
});

test("gives instances back what they are started from", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy(worker));
  await at.pass();
  engine.lost = true;
  await at.pass();
  expect(engine.lost).toBe(false);
});
