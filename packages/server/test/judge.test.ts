// How rollouts are judged through the whole component loop: by what happened since they began, with the cause in sight while they wait (promise 6).
import { describe, expect, test } from "vitest";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import type { Instance } from "../src/engines/engine.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const web = (over: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...defaultSpec("web"),
  build: { context: "." },
  command: { exec: ["app"] },
  ...over,
});

/** Shows instances with a past that they have not had here. */
class PastEngine extends FakeEngine {
  readonly pasts = new Map<string, Partial<Instance>>();
  override async observe(...args: Parameters<FakeEngine["observe"]>): ReturnType<FakeEngine["observe"]> {
    const seen = await super.observe(...args);
    return seen === undefined
      ? undefined
      : { ...seen, instances: seen.instances.map((instance) => ({ ...instance, ...this.pasts.get(instance.id) })) };
  }
}
async function scene(): Promise<{ at: Scene; engine: PastEngine }> {
  let engine: PastEngine | undefined;
  const at = new Scene(services(), (now) => (engine = new PastEngine({ now })));
  await at.create();
  if (engine === undefined) throw new Error("no engine");
  return { at, engine };
}
const releaseOf = async (at: Scene, number: number): Promise<string> =>
  (
    await services()
      .database.db.selectFrom("releases")
      .select("id")
      .where("component_id", "=", at.componentId)
      .where("number", "=", number)
      .executeTakeFirstOrThrow()
  ).id;
const crash = cause("exited_at_start", { exitCode: 1, after: "80 ms", said: "" });

describe("a release that is put live again", () => {
  test("is not failed by restarts from before the rollout, nor by the first ones after", async () => {
    const { at, engine } = await scene();
    await at.rolledOut(await at.deploy(web()));
    const [instance] = await at.instances();
    if (instance === undefined) throw new Error("nothing runs");
    // It crashed five times in its life, and is well.
    engine.pasts.set(instance.id, { restarts: 5 });
    const number = await at.accept({ from: { release: await releaseOf(at, 1) }, spec: web() });
    await at.passUntil(async () => (await at.rollout(number)).phase === "rolling", "rolling", 10);
    expect((await at.rollout(number)).progress.restartsBefore).toEqual({ [instance.id]: 5 });
    engine.pasts.set(instance.id, { restarts: 6, ready: false, phase: "starting", cause: crash });
    for (let count = 0; count < 5; count += 1) await at.pass();
    expect((await at.rollout(number)).phase).toBe("rolling");
    engine.pasts.set(instance.id, { restarts: 6 });
    expect((await at.rolledOut(number)).phase).toBe("succeeded");
  });

  test("is failed by the third end since it began", async () => {
    const { at, engine } = await scene();
    await at.rolledOut(await at.deploy(web()));
    const [instance] = await at.instances();
    engine.pasts.set(instance?.id ?? "", { restarts: 5 });
    const number = await at.accept({ from: { release: await releaseOf(at, 1) }, spec: web() });
    await at.passUntil(async () => (await at.rollout(number)).phase === "rolling", "rolling", 10);
    engine.pasts.set(instance?.id ?? "", { restarts: 8, ready: false, phase: "starting", cause: crash });
    await at.passUntil(async () => (await at.rollout(number)).phase === "reverting", "the failure", 5);
    expect((await at.rollout(number)).cause).toEqual(crash);
  });

  test.each(["backoff", "exited"] as const)(
    "replaces an instance of it that is in %s from before, and judges the new one only",
    async (phase) => {
      const { at, engine } = await scene();
      await at.rolledOut(await at.deploy(web()));
      const [instance] = await at.instances();
      engine.pasts.set(instance?.id ?? "", { restarts: 7, ready: false, phase, cause: crash });
      const number = await at.accept({ from: { release: await releaseOf(at, 1) }, spec: web() });
      expect((await at.rolledOut(number)).phase).toBe("succeeded");
      const now = await at.instances();
      expect(now).toHaveLength(1);
      expect(now[0]?.id).not.toBe(instance?.id);
      expect((await at.row()).memory.draining).toEqual({});
    },
  );

  test("keeps its count over a crash between the look and the first pass", async () => {
    const { at, engine } = await scene();
    await at.rolledOut(await at.deploy(web()));
    const [instance] = await at.instances();
    engine.pasts.set(instance?.id ?? "", { restarts: 5 });
    const number = await at.accept({ from: { release: await releaseOf(at, 1) }, spec: web() });
    const killed = new Error("killed");
    await at.passUntil(async () => (await at.rollout(number)).phase === "preparing", "preparing", 10);
    await expect(at.pass(() => Promise.reject(killed))).rejects.toBe(killed);
    expect((await at.rollout(number)).phase).toBe("preparing");
    await at.pass();
    expect(await at.rollout(number)).toMatchObject({ phase: "rolling", progress: { restartsBefore: { [instance?.id ?? ""]: 5 } } });
  });
});

describe("a program that listens elsewhere", () => {
  const wrong = cause("wrong_port", { actual: 9100, expected: 20_001 }, [{ kind: "ports", text: "it listens on 0.0.0.0:9100" }]);
  async function listening(
    spec: ComponentSpec,
  ): Promise<{ at: Scene; engine: PastEngine; show: (why: Cause | undefined) => void; number: number }> {
    const { at, engine } = await scene();
    const number = await at.deploy(spec);
    await at.passUntil(async () => (await at.instances()).length > 0, "an instance", 20);
    const [instance] = await at.instances();
    const show = (why: Cause | undefined): void => {
      engine.pasts.set(instance?.id ?? "", why === undefined ? {} : { ready: false, cause: why });
    };
    return { at, engine, number, show };
  }

  test("is told at once as what the rollout and the component wait for, and fails it after a while", async () => {
    const { at, number, show } = await listening(web());
    show(wrong);
    const from = at.now;
    await at.passUntil(async () => (await at.rollout(number)).cause !== null, "the cause in sight", 3);
    expect(await at.rollout(number)).toMatchObject({ phase: "rolling", cause: { code: "wrong_port" }, ended_at: null });
    expect((await at.row()).cause).toMatchObject({ code: "wrong_port", params: { actual: 9100 } });
    const events = await services()
      .database.db.selectFrom("events")
      .select("cause")
      .where("stack", "=", at.ref.stack)
      .where("code", "=", "rollout_progress")
      .execute();
    expect(events.at(-1)?.cause).toMatchObject({ code: "wrong_port" });
    const ended = await at.rolledOut(number);
    expect(ended).toMatchObject({ phase: "failed", cause: { code: "wrong_port" } });
    expect(at.now - from).toBeGreaterThan(14_000);
    expect(at.now - from).toBeLessThan(20_000);
  });

  test("is waited for while it starts slowly, and leaves no cause behind when it comes up", async () => {
    const { at, number, show } = await listening(web({ probes: { readiness: { check: { type: "tcp" }, initialDelay: 10_000 } } }));
    show(wrong);
    const from = at.now;
    await at.passUntil(() => at.now - from > 22_000, "22 s", 100);
    expect((await at.rollout(number)).phase).toBe("rolling");
    show(undefined);
    expect(await at.rolledOut(number)).toMatchObject({ phase: "succeeded", cause: null });
    expect(await at.row()).toMatchObject({ cause: null });
  });
});
