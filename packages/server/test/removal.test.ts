// Removal over a real database, with the engine and router in memory: nothing leaves a cluster but on the word of a tombstone, and what has one leaves also
// when it turns up after its row is gone (design.md, section 3: nothing is removed because it is unknown).
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { describe, expect, test } from "vitest";
import { BerthError } from "../src/core/errors.ts";
import { transaction } from "../src/db/transaction.ts";
import type { Fence, Ref } from "../src/engines/engine.ts";
import { reconcileStack, reconcileVolume } from "../src/reconcile/stack.ts";
import { resync } from "../src/reconcile/resync.ts";
import { ensureVolumes } from "../src/resources/volumes/store.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const never = new AbortController().signal;
const spec: ComponentSpec = {
  ...defaultSpec("web"),
  build: { context: "." },
  command: { exec: ["app"] },
  volumes: [{ volume: "data", path: "/data" }],
};
const key = ({ stack, component }: Ref): string => `${stack}/${component}`;

async function running(): Promise<Scene> {
  const scene = new Scene(services());
  await scene.create();
  await scene.rolledOut(await scene.deploy(spec));
  expect(await scene.instances()).toHaveLength(1);
  return scene;
}
const remove = async (scene: Scene): Promise<void> => {
  await services().handlers.deleteComponent({ params: scene.ref }, services().call());
};
const there = async (scene: Scene): Promise<boolean> =>
  (await services().database.db.selectFrom("components").select("id").where("id", "=", scene.componentId).executeTakeFirst()) !== undefined;
const gone = (scene: Scene): Promise<void> => scene.passUntil(async () => !(await there(scene)), "the removal");
const tombstones = async (stack: string) =>
  (await services().database.db.selectFrom("tombstones").selectAll().orderBy("id").execute()).filter(
    (row) => (row.ref as { stack?: string }).stack === stack,
  );
async function stackId(scene: Scene): Promise<string> {
  return (await services().database.db.selectFrom("stacks").select("id").where("name", "=", scene.ref.stack).executeTakeFirstOrThrow()).id;
}
const context = {
  commit: <T>(work: Parameters<typeof transaction<T>>[1]) => transaction(services().database.db, work),
  signal: never,
  fence: 9_000_000,
};

const stackDeps = (scene: Scene) => ({
  places: scene.deps.places,
  db: scene.deps.db,
  builderFor: () => ({ forget: () => Promise.resolve() }),
  buildLogs: { remove: () => Promise.resolve() },
  clock: () => new Date(),
});

/** A resync of a cluster that has these objects and entries; answers what it removed, reported and counted. */
async function look(
  objects: readonly { readonly ref: Ref; readonly fence: Pick<Fence, "epoch" | "generation"> }[],
  entries: readonly { readonly ref: Ref; readonly generation: number }[] = [],
  refuse?: Error,
) {
  const removed: string[] = [];
  const unknown: string[] = [];
  const counted: string[] = [];
  const take =
    (what: string) =>
    (ref: Ref, fence: Fence): Promise<void> => {
      if (refuse !== undefined) return Promise.reject(refuse);
      removed.push(`${what} ${key(ref)} ${fence.generation}`);
      return Promise.resolve();
    };
  const instance = {
    id: "late",
    track: "stable",
    revision: { releaseHash: "h", restart: 0 },
    releaseNumber: 1,
    phase: "running",
    ready: true,
    restarts: 0,
    addresses: {},
    probes: [],
  } as const;
  await resync(
    {
      db: services().database.db,
      installation: () => ({ id: "test", epoch: 1 }),
      countDifference: () => undefined,
      countRepair: (what) => {
        counted.push(what);
      },
      reportUnknown: (_cluster, refs) => {
        unknown.push(...refs);
      },
      places: {
        engine: () => ({
          async *list() {
            for (const { ref, fence } of objects) yield { ref, fence: { installation: "test", ...fence }, instances: [instance] };
          },
          remove: take("engine"),
          forgetComponent: () => Promise.resolve(true),
        }),
        traffic: () => ({ list: () => Promise.resolve(entries), remove: take("router") }),
      },
    },
    "local",
    7_000_000,
    never,
  );
  return { removed, unknown, counted };
}

describe("the removal of a component", () => {
  test("is decided by a tombstone in one transaction with the row, and done and settled by the loop", async () => {
    const scene = await running();
    await remove(scene);
    const [decided] = await tombstones(scene.ref.stack);
    expect(decided).toMatchObject({ kind: "component", cluster: "local", ref: scene.ref, done_at: null });
    await gone(scene);
    expect(await scene.instances()).toEqual([]);
    expect(scene.traffic.entry(scene.ref)).toBeUndefined();
    const [settled, ...more] = await tombstones(scene.ref.stack);
    expect(more).toEqual([]);
    expect(settled?.done_at).not.toBeNull();
    // It speaks for all that this component's loop ever ordered.
    expect(settled?.generation).toBeGreaterThan(decided?.generation ?? 0);
  });

  test("touches nothing when a row says so, but no tombstone", async () => {
    const scene = await running();
    await remove(scene);
    await services().database.db.deleteFrom("tombstones").execute();
    await expect(scene.pass()).rejects.toThrow("no tombstone says so");
    expect((await scene.instances()).map(({ phase }) => phase)).toEqual(["running"]);
    expect(scene.traffic.entry(scene.ref)).toBeDefined();
    expect(await there(scene)).toBe(true);
  });
});

describe("what turns up after its row is gone", () => {
  test("is removed on the tombstone's word, by an order that nothing newer has overtaken, counted once and told", async () => {
    const scene = await running();
    await remove(scene);
    await gone(scene);
    const generation = (await tombstones(scene.ref.stack))[0]?.generation ?? 0;
    const late = { ref: scene.ref, fence: { epoch: 1, generation } };
    expect(await look([late], [{ ref: scene.ref, generation: 1 }])).toEqual({
      removed: [`router ${key(scene.ref)} 7000000`, `engine ${key(scene.ref)} 7000000`],
      unknown: [],
      counted: ["leftovers"],
    });
    // A route alone is a leftover too.
    expect((await look([], [{ ref: scene.ref, generation: 1 }])).removed).toHaveLength(2);
    const events = await services().handlers.listEvents({ query: { stack: scene.ref.stack, code: "leftover_removed" } }, services().call());
    expect(events.items).toHaveLength(2);
  });

  test("is left alone and reported when it is newer than the tombstone, of a later life of the installation, or has none", async () => {
    const scene = await running();
    await remove(scene);
    await gone(scene);
    const generation = (await tombstones(scene.ref.stack))[0]?.generation ?? 0;
    for (const fence of [
      { epoch: 1, generation: generation + 1 },
      { epoch: 2, generation: 1 },
    ])
      expect(await look([{ ref: scene.ref, fence }])).toEqual({ removed: [], unknown: [key(scene.ref)], counted: [] });
    expect((await look([], [{ ref: scene.ref, generation: generation + 1 }])).unknown).toEqual([key(scene.ref)]);
    const stranger = { stack: "stranger", component: "web" };
    expect(await look([{ ref: stranger, fence: { epoch: 1, generation: 1 } }])).toEqual({
      removed: [],
      unknown: ["stranger/web"],
      counted: [],
    });
  });

  test("is nobody's leftover when the component was made again, or when something newer was ordered meanwhile", async () => {
    const scene = await running();
    await remove(scene);
    await gone(scene);
    const late = { ref: scene.ref, fence: { epoch: 1, generation: 1 } };
    expect(await look([late], [], new BerthError("stale_generation", { seen: 8_000_000, given: 7_000_000 }))).toEqual({
      removed: [],
      unknown: [],
      counted: [],
    });
    await expect(look([late], [], new Error("the engine is away"))).rejects.toThrow("away");
    await services().handlers.setComponent({ params: scene.ref, body: spec }, services().call());
    expect(await look([late])).toEqual({ removed: [], unknown: [], counted: [] });
  });
});

describe("the removal of a stack", () => {
  test("touches nothing when a row says so, but no tombstone", async () => {
    const scene = await running();
    await services().handlers.deleteStack({ params: { stack: scene.ref.stack }, query: {} }, services().call());
    await services().database.db.deleteFrom("tombstones").execute();
    await expect(reconcileStack(stackDeps(scene), await stackId(scene), context)).rejects.toThrow("no tombstone says so");
    expect((await scene.row()).delete_requested_at).toBeNull();
  });

  test("speaks for everything in it, its components' own tombstones too, and is settled with its rows", async () => {
    const scene = await running();
    const id = await stackId(scene);
    const { handlers, call } = services();
    await handlers.deleteStack({ params: { stack: scene.ref.stack }, query: { volumes: true } }, call());
    expect((await tombstones(scene.ref.stack)).map(({ kind }) => kind)).toEqual(["stack"]);
    await reconcileStack(stackDeps(scene), id, context);
    await gone(scene);
    await reconcileStack(stackDeps(scene), id, context);
    const volume = await services().database.db.selectFrom("volumes").select("id").where("stack_id", "=", id).executeTakeFirstOrThrow();
    const removedVolumes: string[] = [];
    const engine = Object.assign(Object.create(scene.engine) as typeof scene.engine, {
      volumes: {
        list: () => Promise.resolve([]),
        remove: (stack: string, name: string) => {
          removedVolumes.push(`${stack}/${name}`);
          return Promise.resolve();
        },
      },
    });
    await reconcileVolume({ db: services().database.db, places: { ...scene.deps.places, engine: () => engine } }, volume.id, context);
    expect(removedVolumes).toEqual([`${id}/data`]);
    await reconcileStack(stackDeps(scene), id, context);
    await expect(handlers.showStack({ params: { stack: scene.ref.stack } }, call())).rejects.toMatchObject({ code: "not_found" });
    const left = await services().database.db.selectFrom("tombstones").select(["kind", "done_at"]).where("done_at", "is", null).execute();
    expect(left).toEqual([]);
    // Also for a component that the database never knew by its own name.
    const late = { stack: scene.ref.stack, component: "other" };
    expect((await look([{ ref: late, fence: { epoch: 1, generation: 1 } }])).removed).toHaveLength(2);
  });
});

describe("a volume", () => {
  async function volumeOf(scene: Scene): Promise<string> {
    return (
      await services()
        .database.db.selectFrom("volumes")
        .select("id")
        .where("stack_id", "=", await stackId(scene))
        .executeTakeFirstOrThrow()
    ).id;
  }
  const engineWith = (scene: Scene, onRemove: () => Promise<void>) => ({
    ...scene.deps.places,
    engine: () =>
      Object.assign(Object.create(scene.engine) as typeof scene.engine, { volumes: { list: () => Promise.resolve([]), remove: onRemove } }),
  });
  async function unused(): Promise<Scene> {
    const scene = await running();
    await remove(scene);
    await gone(scene);
    await services().handlers.deleteVolume({ params: { stack: scene.ref.stack, volume: "data" } }, services().call());
    return scene;
  }

  test("keeps its content when a row says that it goes, but no tombstone", async () => {
    const scene = await unused();
    await services().database.db.deleteFrom("tombstones").where("kind", "=", "volume").execute();
    let touched = false;
    await expect(
      reconcileVolume(
        {
          db: services().database.db,
          places: engineWith(scene, () => {
            touched = true;
            return Promise.resolve();
          }),
        },
        await volumeOf(scene),
        context,
      ),
    ).rejects.toThrow("no tombstone says so");
    expect(touched).toBe(false);
  });

  test("stays when its deletion is taken back, also in the middle of it", async () => {
    const { db } = services().database;
    const before = await unused();
    const again = async (scene: Scene): Promise<void> => {
      const stack = {
        id: await stackId(scene),
        clusterId: (await db.selectFrom("clusters").select("id").where("name", "=", "local").executeTakeFirstOrThrow()).id,
        cluster: "local",
      };
      await transaction(db, (trx) => ensureVolumes(trx, stack, ["data"]));
    };
    await again(before);
    let touched = false;
    await reconcileVolume(
      {
        db,
        places: engineWith(before, () => {
          touched = true;
          return Promise.resolve();
        }),
      },
      await volumeOf(before),
      context,
    );
    expect(touched).toBe(false);
    const middle = await unused();
    const id = await volumeOf(middle);
    await reconcileVolume({ db, places: engineWith(middle, () => again(middle)) }, id, context);
    expect(await volumeOf(middle)).toBe(id);
  });
});

test("nothing in the program takes anything away from a cluster but with a tombstone in hand", () => {
  const root = join(import.meta.dirname, "..", "src");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !/^(engines|edge)\//.test(file),
  );
  expect(files.length).toBeGreaterThan(100);
  const removing = files.filter((file) =>
    /(?:engine|traffic)(?:\([^()]*(?:\([^()]*\))?\))?\.(?:(?:volumes\.)?remove|forget(?:Component)?)\(/.test(
      readFileSync(join(root, file), "utf8"),
    ),
  );
  // The planner's own step: a component whose release has no ports any more leaves the router, as one that is stopped leaves it. The component stays.
  expect(removing.toSorted()).toEqual(["reconcile/component/track.ts", "reconcile/remove.ts"]);
});
