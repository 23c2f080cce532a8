// Resync over a real database: what differs from what was seen last is counted and looked at again; nothing else is touched, least of all what is unknown.
import { expect, test } from "vitest";
import { defaultSpec } from "@berth/contract/spec.ts";
import type { Instance } from "../src/engines/engine.ts";
import { instanceView } from "../src/reconcile/component/observation.ts";
import { resync } from "../src/reconcile/resync.ts";
import { componentRow } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const ref = (stack: string) => ({ stack, component: "web" });
const instance = (id: string, change: Partial<Instance> = {}): Instance => ({
  id,
  track: "stable",
  revision: { releaseHash: "h", restart: 0 },
  releaseNumber: 1,
  phase: "running",
  ready: true,
  restarts: 0,
  addresses: {},
  probes: [],
  ...change,
});

/** A component that was last seen with these instances and that entry. */
async function seen(stack: string, instances: readonly Instance[], generation?: number): Promise<string> {
  const { db } = services().database;
  const { id } = await componentRow(services(), stack, "web", { ...defaultSpec("web"), build: { context: "." } });
  await db
    .updateTable("components")
    .set({
      observed: JSON.stringify({ instances: instances.map(instanceView) }),
      memory: JSON.stringify({ draining: {}, ...(generation === undefined ? {} : { entry: { generation } }) }),
    })
    .where("id", "=", id)
    .execute();
  await db.deleteFrom("due").where("key", "=", id).execute();
  return id;
}

test("wakes and counts those whose instances or routes differ, reports what is unknown, and leaves the rest alone", async () => {
  const {
    database: { db },
  } = services();
  await db.deleteFrom("components").execute();
  const same = await seen("same", [instance("a"), instance("b")], 5);
  const died = await seen("died", [instance("a")], 5);
  const restarted = await seen("restarted", [instance("a")], 5);
  const lost = await seen("lost", [instance("a")], 5);
  const older = await seen("older", [instance("a")], 5);
  const never = await seen("never", []);
  // The control plane ended between the edge's answer and its own note of it.
  const unnoted = await seen("unnoted", [instance("a")]);
  const held = await seen("held", [instance("a")]);
  await db.updateTable("components").set({ held: true }).where("id", "=", held).execute();
  const cluster: [string, Instance[]][] = [
    ["same", [instance("b"), instance("a")]],
    ["restarted", [instance("a", { restarts: 1 })]],
    ["lost", [instance("a")]],
    ["older", [instance("a")]],
    ["unnoted", [instance("a")]],
    ["held", [instance("a")]],
    ["stranger", [instance("x")]],
    ["empty", []],
  ];
  const entries: [string, number][] = [
    ["same", 5],
    ["died", 5],
    ["restarted", 5],
    ["older", 4],
    ["unnoted", 7],
    ["held", 7],
    ["unasked", 9],
  ];
  const counted: string[] = [];
  const unknown: string[] = [];
  const { woken, removed } = await resync(
    {
      db,
      installation: () => ({ id: "test", epoch: 1 }),
      countDifference: (what) => {
        counted.push(what);
      },
      countRepair: () => {
        counted.push("repair");
      },
      reportUnknown: (_cluster, refs) => {
        unknown.push(...refs);
      },
      places: {
        engine: () => ({
          async *list() {
            for (const [stack, instances] of cluster)
              yield { ref: ref(stack), fence: { installation: "test", epoch: 1, generation: 1 }, instances };
          },
          remove: () => Promise.reject(new Error("nothing is to be removed")),
          forgetComponent: () => Promise.reject(new Error("nothing is to be removed")),
        }),
        traffic: () => ({
          list: () => Promise.resolve(entries.map(([stack, generation]) => ({ ref: ref(stack), generation }))),
          remove: () => Promise.reject(new Error("nothing is to be removed")),
        }),
      },
    },
    "local",
    1,
    new AbortController().signal,
  );
  const due = (await db.selectFrom("due").select("key").where("kind", "=", "component").execute()).map((row) => row.key);
  expect(new Set(due)).toEqual(new Set([died, restarted, lost, older, unnoted]));
  expect(due).not.toContain(same);
  expect(due).not.toContain(never);
  expect({ woken, removed, counted: counted.toSorted(), unknown }).toEqual({
    woken: 5,
    removed: 0,
    counted: ["instances", "instances", "routes", "routes", "routes"],
    unknown: ["stranger/web", "unasked/web"],
  });
});
