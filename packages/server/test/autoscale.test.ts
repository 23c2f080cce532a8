// Components whose cluster decides how many instances they have: the number is the cluster's between releases and the row's while one goes out, which begins with what there was.
import { defaultSpec } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import type { Autoscaling, Engine, Observed, Ref } from "../src/engines/engine.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { sceneOn, type Scene } from "./scene.ts";
import { useServices } from "./services.ts";

/** Definitions are held against a cluster that has an autoscaler, as long as this says so. */
let has = true;
const autoscale = { value: (): Promise<void> => Promise.resolve() };
const services = useServices(({ places }) => ({
  places: {
    ...places,
    engine: (cluster) => (has ? (Object.create(places.engine(cluster), { autoscale }) as Engine) : places.engine(cluster)),
  },
}));
const limits = { min: 2, max: 6, cpu: 50 };
const worker = {
  ...defaultSpec("worker"),
  build: { context: "." },
  command: { exec: ["app"] },
  gracePeriod: 1,
  resources: { cpu: 1 },
  autoscale: limits,
};

/** Its autoscaler wants as many as a test says, and starts and ends instances by itself. */
class Scaling extends FakeEngine {
  how: Autoscaling | undefined;
  readonly told: (Autoscaling | undefined)[] = [];
  #wants = 0;
  #last: Parameters<FakeEngine["ensure"]> | undefined;

  override async ensure(...args: Parameters<FakeEngine["ensure"]>): Promise<void> {
    this.#last = args;
    // As a Deployment of which the number is another's: no more than that one wants.
    if (this.how === undefined) await super.ensure(...args);
    else await super.ensure({ ...args[0], replicas: Math.min(args[0].replicas, this.#wants) }, args[1], args[2]);
  }
  override async observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    const seen = await super.observe(ref, signal);
    return seen === undefined || this.how === undefined ? seen : { ...seen, autoscaled: { replicas: this.#wants, how: this.how } };
  }
  async autoscale(ref: Ref, how: Autoscaling | undefined): Promise<void> {
    this.told.push(how);
    if (how !== undefined && this.how === undefined)
      this.#wants = (await super.observe(ref, new AbortController().signal))?.instances.length ?? 0;
    this.how = how;
  }
  /** What a load would make of it. */
  async scale(ref: Ref, to: number): Promise<void> {
    const [target, fence, signal] = this.#last ?? [];
    if (this.how === undefined || target === undefined || fence === undefined || signal === undefined) throw new Error("nothing to scale");
    this.#wants = to;
    const now = (await super.observe(ref, signal))?.instances ?? [];
    if (to > now.length) await super.ensure({ ...target, replicas: to }, fence, signal);
    else
      await super.stop(
        ref,
        now.slice(to).map(({ id }) => id),
        0,
        fence,
        signal,
      );
  }
}

function scene(): Promise<{ at: Scene; engine: Scaling }> {
  has = true;
  return sceneOn(services(), (options) => new Scaling(options));
}
const stopsOf = (engine: FakeEngine): number => engine.calls.filter(({ call }) => call === "stop").length;
/** Passes in which nothing is to change. */
async function steady(at: Scene, passes = 5): Promise<void> {
  for (let count = 0; count < passes; count += 1) {
    await at.pass();
    at.now += 1_000;
  }
}

test("begins with the least that is wanted, is left to the cluster once that is there, and follows what the cluster wants", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy(worker));
  expect(engine.told).toEqual([]);
  await steady(at);
  const [instance] = await at.instances();
  expect(engine.told).toEqual([{ revision: instance?.revision, min: 2, max: 6, cpu: 500 }]);
  expect(await at.row()).toMatchObject({ replicas: 2, ready: 2, state: "healthy" });
  await engine.scale(at.ref, 5);
  await steady(at);
  expect(await at.row()).toMatchObject({ replicas: 5, ready: 5, state: "healthy" });
  await engine.scale(at.ref, 3);
  await steady(at);
  expect(await at.row()).toMatchObject({ replicas: 3, ready: 3, state: "healthy" });
  // Neither was Berth's doing, and it did nothing against it.
  expect(await at.instances()).toHaveLength(3);
  expect(stopsOf(engine)).toBe(1);
  expect(engine.told).toHaveLength(1);
  const { handlers, call } = services();
  const told = await handlers.listEvents({ query: { stack: at.ref.stack, code: "component_autoscaled" } }, call());
  expect(told.items.map(({ params }) => params)).toEqual(
    expect.arrayContaining([expect.objectContaining({ from: 2, to: 5 }), expect.objectContaining({ from: 5, to: 3 })]),
  );
});

test("a release begins with as many as there are, in the hands of Berth alone, and is left to the cluster again when it serves", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy(worker));
  await steady(at);
  await engine.scale(at.ref, 5);
  // Nobody has looked since: the last word of the cluster counts all the same.
  const number = await at.deploy({ ...worker, command: { exec: ["other"] } });
  let least = 5;
  await at.passUntil(async () => {
    const up = (await at.instances()).filter(({ ready, phase }) => ready && phase !== "stopping").length;
    least = Math.min(least, up);
    return (await at.rollout(number)).ended_at !== null;
  }, "the release");
  expect(await at.rollout(number)).toMatchObject({ phase: "succeeded" });
  expect(least).toBe(5);
  expect(await at.row()).toMatchObject({ replicas: 5, ready: 5 });
  await steady(at);
  const hashes = new Set((await at.instances()).map(({ revision }) => revision.releaseHash));
  expect(engine.told.map((how) => how?.revision.releaseHash)).toEqual([expect.any(String), undefined, [...hashes][0]]);
  expect(hashes.size).toBe(1);
});

test("is taken from the cluster to be stopped, and starts with what it had", async () => {
  const { at, engine } = await scene();
  const { handlers, call } = services();
  await at.rolledOut(await at.deploy(worker));
  await steady(at);
  await engine.scale(at.ref, 4);
  await handlers.stopComponent({ params: at.ref }, call());
  await at.passUntil(async () => (await at.instances()).length === 0, "its end");
  expect(engine.how).toBeUndefined();
  await handlers.startComponent({ params: at.ref }, call());
  await at.passUntil(async () => (await at.instances()).length === 4, "four again");
  await steady(at);
  expect(engine.how).toMatchObject({ min: 2, max: 6 });
});

test("is not scaled by hand, says how its limits are changed, and is once it is handed back", async () => {
  const { at, engine } = await scene();
  const { handlers, call } = services();
  await at.rolledOut(await at.deploy(worker));
  await steady(at);
  await engine.scale(at.ref, 4);
  await steady(at);
  await expect(handlers.scaleComponent({ params: at.ref, body: { replicas: 1 } }, call())).rejects.toMatchObject({
    code: "autoscaled",
    params: { component: at.ref.component, min: 2, max: 6, replicas: 4 },
  });
  // Other limits are no release.
  const before = (await at.row()).last_rollout;
  await handlers.autoscaleComponent({ params: at.ref, body: { autoscale: { ...limits, max: 8 } } }, call());
  await steady(at);
  expect(engine.how).toMatchObject({ max: 8 });
  expect(await at.instances()).toHaveLength(4);
  await handlers.autoscaleComponent({ params: at.ref, body: {} }, call());
  await steady(at);
  expect(engine.how).toBeUndefined();
  expect(await at.row()).toMatchObject({ replicas: 4, ready: 4, last_rollout: before });
  await handlers.scaleComponent({ params: at.ref, body: { replicas: 1 } }, call());
  await at.passUntil(async () => (await at.instances()).length === 1, "one by hand");
});

test("has the autoscaler that was asked for, whoever changes it or takes it away", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy(worker));
  await steady(at);
  const asked = engine.how;
  if (asked === undefined) throw new Error("nothing scales it");
  engine.how = { ...asked, max: 99 };
  await steady(at);
  expect(engine.how).toEqual(asked);
  engine.how = undefined;
  await steady(at);
  expect(engine.how).toEqual(asked);
  expect(await at.row()).toMatchObject({ replicas: 2, ready: 2 });
});

test("is brought back by Berth when its instances are lost, whoever decides their number", async () => {
  const { at, engine } = await scene();
  await at.rolledOut(await at.deploy(worker));
  await steady(at);
  const [one] = await at.instances();
  const fence = (await engine.observe(at.ref, at.signal))?.fence;
  if (one === undefined || fence === undefined) throw new Error("nothing runs");
  await engine.stop(at.ref, [one.id], 0, fence, at.signal);
  at.now += 10;
  await at.passUntil(async () => (await at.instances()).filter(({ ready }) => ready).length === 2, "two again");
});

test("is refused where the cluster has no autoscaler, or the component cannot be scaled so: autoscale_refused", async () => {
  const { at } = await scene();
  const { handlers, call } = services();
  const body = { ...worker, autoscale: { ...limits, memory: 50 } };
  await expect(handlers.setComponent({ params: at.ref, body }, call())).rejects.toMatchObject({
    code: "autoscale_refused",
    params: { reason: expect.stringContaining("memory takes a limit") as string },
  });
  has = false;
  await expect(handlers.setComponent({ params: at.ref, body: worker }, call())).rejects.toMatchObject({
    code: "autoscale_refused",
    params: { reason: expect.stringContaining("has no autoscaler") as string, hint: expect.stringContaining("Kubernetes") as string },
  });
});
