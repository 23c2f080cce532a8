// Two holders of one component's row over a real PostgreSQL: whoever lost the lease changes nothing any more, however far it had come (promise 2).
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import type { Instance } from "../src/engines/engine.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { reconcileComponent } from "../src/reconcile/component.ts";
import { claim, commitUnder, enqueue, type Claim } from "../src/reconcile/queue.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const spec: ComponentSpec = { ...defaultSpec("web"), build: { context: "." }, command: { exec: ["app"] } };

/** Stands still after a call was done, before its answer, until it is let go. */
class StallingEngine extends FakeEngine {
  readonly #gates = new Map<string, { readonly reached: () => void; readonly open: Promise<void> }>();
  /** The next call of that name waits. */
  stall(call: "prepare" | "observe"): { readonly reached: Promise<void>; readonly letGo: () => void } {
    const reached = Promise.withResolvers<void>();
    const open = Promise.withResolvers<void>();
    this.#gates.set(call, { reached: reached.resolve, open: open.promise });
    return { reached: reached.promise, letGo: open.resolve };
  }
  async #wait(call: string): Promise<void> {
    const gate = this.#gates.get(call);
    this.#gates.delete(call);
    gate?.reached();
    await gate?.open;
  }
  override async prepare(...args: Parameters<FakeEngine["prepare"]>): Promise<void> {
    await super.prepare(...args);
    await this.#wait("prepare");
  }
  override async observe(...args: Parameters<FakeEngine["observe"]>): ReturnType<FakeEngine["observe"]> {
    const seen = await super.observe(...args);
    await this.#wait("observe");
    return seen;
  }
}

async function take(scene: Scene, holder: string): Promise<Claim> {
  const { db } = services().database;
  await enqueue(db, { kind: "component", key: scene.componentId, cluster: "local" });
  const [row] = (await claim(db, { kinds: ["component"], clusters: "all", limit: 50, holder, leaseMs: 60_000 })).filter(
    (one) => one.key === scene.componentId,
  );
  if (row === undefined) throw new Error("the row was not to be had");
  return row;
}
const loseLease = (scene: Scene) =>
  services()
    .database.db.updateTable("due")
    .set({ lease_until: new Date(0) })
    .where("key", "=", scene.componentId)
    .execute();

async function stalling(): Promise<{ scene: Scene; engine: StallingEngine }> {
  let engine: StallingEngine | undefined;
  const scene = new Scene(services(), (now) => (engine = new StallingEngine({ now })));
  await scene.create();
  if (engine === undefined) throw new Error("no engine");
  return { scene, engine };
}
const turn = (scene: Scene, row: Claim) =>
  reconcileComponent(scene.deps, scene.componentId, {
    fence: row.fence,
    signal: scene.signal,
    commit: commitUnder(services().database.db, row),
  });

/** Everything that the loop writes. */
async function written(scene: Scene): Promise<unknown> {
  const { db } = services().database;
  return {
    component: await db.selectFrom("components").selectAll().where("id", "=", scene.componentId).execute(),
    rollouts: await db.selectFrom("rollouts").selectAll().where("component_id", "=", scene.componentId).orderBy("number").execute(),
    releases: await db.selectFrom("releases").selectAll().where("component_id", "=", scene.componentId).orderBy("number").execute(),
    events: (await db.selectFrom("events").select("id").where("stack", "=", scene.ref.stack).execute()).length,
  };
}

describe("a holder that stalled until another took its row", () => {
  test("does not move the rollout on: the phase, and all that belongs to it, stays as the other one left it", async () => {
    const { scene, engine } = await stalling();
    await scene.deploy(spec);
    const first = await take(scene, "first");
    const gate = engine.stall("prepare");
    const late = turn(scene, first).catch((error: unknown) => error);
    await gate.reached;
    await loseLease(scene);
    const second = await take(scene, "second");
    expect(second.fence).toBeGreaterThan(first.fence);
    // The second one carries the rollout to its end.
    await turn(scene, second);
    expect((await scene.rollout()).phase).toBe("succeeded");
    const before = await written(scene);
    gate.letGo();
    expect(await late).toMatchObject({ code: "stale_generation" });
    expect(await written(scene)).toEqual(before);
  });

  test("does not write what it saw over what is seen now, nor the planner's memory", async () => {
    const { scene, engine } = await stalling();
    await scene.rolledOut(await scene.deploy(spec));
    const [
      {
        revision: { releaseHash },
      },
    ] = (await scene.instances()) as [Instance];
    engine.behave(releaseHash, { readyAfter: Number.POSITIVE_INFINITY });
    const first = await take(scene, "first");
    const gate = engine.stall("observe");
    const late = turn(scene, first).catch((error: unknown) => error);
    await gate.reached;
    engine.behave(releaseHash, {});
    await loseLease(scene);
    const second = await take(scene, "second");
    await turn(scene, second);
    const before = await written(scene);
    expect(await scene.row()).toMatchObject({ ready: 1, state: "healthy" });
    gate.letGo();
    expect(await late).toMatchObject({ code: "stale_generation" });
    expect(await written(scene)).toEqual(before);
  });

  test("does not remove the row of a component that the other one still works on", async () => {
    const { scene, engine } = await stalling();
    await scene.rolledOut(await scene.deploy(spec));
    await services().handlers.deleteComponent({ params: scene.ref }, services().call());
    for (const instance of await scene.instances()) scene.traffic.setInFlight(instance.id, 0);
    const first = await take(scene, "first");
    const gate = engine.stall("observe");
    const late = turn(scene, first).catch((error: unknown) => error);
    await gate.reached;
    await loseLease(scene);
    await take(scene, "second");
    const before = await written(scene);
    gate.letGo();
    expect(await late).toMatchObject({ code: "stale_generation" });
    expect(await written(scene)).toEqual(before);
  });

  test("can go on while its lease has run out and nobody has taken it: nothing newer is lost", async () => {
    const { scene } = await stalling();
    await scene.deploy(spec);
    const first = await take(scene, "first");
    await loseLease(scene);
    await turn(scene, first);
    expect((await scene.rollout()).phase).toBe("succeeded");
  });
});

test("nothing but the loop itself opens a transaction: a handler writes by the `commit` that it was given", () => {
  const folder = join(import.meta.dirname, "../src/reconcile");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !name.endsWith(".testkit.ts"),
  );
  expect(files.length).toBeGreaterThan(10);
  const opening = files.filter((name) =>
    /\btransaction\b[^}]*\} from "[./]*db\/transaction\.ts"|\.transaction\(|(?:updateTable|insertInto|deleteFrom)\(.*deps\.db|deps\.db\.(?:updateTable|insertInto|deleteFrom)/.test(
      readFileSync(join(folder, name), "utf8"),
    ),
  );
  expect(opening).toEqual(["queue.ts"]);
});
