// A rollout that waits for others is told of their end, whatever happens in the same moment: nothing else would wake it (promise 2).
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import { expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { transaction } from "../src/db/transaction.ts";
import { reconcileComponent } from "../src/reconcile/component.ts";
import { claim, commitUnder, enqueue, finish } from "../src/reconcile/queue.ts";
import { wakeComponent } from "../src/resources/intent.ts";
import * as rollouts from "../src/resources/rollouts/store.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const spec: ComponentSpec = { ...defaultSpec("web"), build: { context: "." }, command: { exec: ["app"] } };

/** As the loop does: as long as the row is due. */
async function work(scene: Scene): Promise<void> {
  const { db } = services().database;
  for (;;) {
    const claims = await claim(db, { kinds: ["component"], clusters: "all", limit: 50, holder: "test", leaseMs: 60_000 });
    const row = claims.find((one) => one.key === scene.componentId);
    for (const other of claims) if (other !== row) await finish(db, other);
    if (row === undefined) return;
    const commit = commitUnder(db, row);
    await finish(db, row, await reconcileComponent(scene.deps, scene.componentId, { fence: row.fence, signal: scene.signal, commit }));
  }
}

/** A statement of this database waits for another transaction. */
async function isBlocked(): Promise<boolean> {
  const { rows } = await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.execute(
    services().database.db,
  );
  return rows.length > 0;
}

test("what it waits for was replaced, and its replacement ends in the moment in which that is noted", async () => {
  const { db } = services().database;
  const [other, waiting] = [new Scene(services()), new Scene(services())];
  for (const scene of [other, waiting]) await scene.create();
  await other.deploy(spec);
  const replaced = await other.rollout();
  await other.deploy(spec);
  const replacement = await other.rollout();
  expect((await other.rollout(replaced.number)).phase).toBe("superseded");
  await waiting.deploy(spec);
  const { id, number } = await waiting.rollout();
  await rollouts.updateRollout(db, id, { waitsFor: [replaced.id] });
  await enqueue(db, { kind: "component", key: waiting.componentId, cluster: "local" });

  const noted = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  // The end of the replacement: it has looked who waits, and is not yet committed.
  const ending = transaction(db, async (trx) => {
    await rollouts.updateRollout(trx, replacement.id, { phase: "succeeded", endedAt: new Date() });
    for (const one of await rollouts.waitingFor(trx, replacement.id)) await wakeComponent(trx, one.component_id, one.cluster);
    told.resolve();
    await noted.promise;
  });
  await told.promise;
  let ended = false;
  const working = work(waiting).finally(() => {
    ended = true;
  });
  while (!ended && !(await isBlocked())) await delay(10);
  noted.resolve();
  await Promise.all([ending, working]);
  await work(waiting);
  expect((await waiting.rollout(number)).phase).toBe("succeeded");
});

test("what only waits for an instance hands its row back where others wait for a hand, with what it saw written down", async () => {
  const { db } = services().database;
  const scene = new Scene(services());
  await scene.create();
  await scene.rolledOut(await scene.deploy(spec));
  await scene.passUntil(async () => (await scene.row()).state === "healthy", "a healthy component");
  const [before] = await scene.instances();
  await enqueue(db, { kind: "component", key: scene.componentId, cluster: "local" });
  const [row] = await claim(db, { kinds: ["component"], clusters: "all", limit: 1, holder: "test", leaseMs: 60_000 });
  if (before === undefined || row === undefined) throw new Error("nothing runs, or nothing is due");
  const { id: installation, epoch } = scene.deps.installation();
  await scene.engine.stop(scene.ref, [before.id], 60_000, { installation, epoch, generation: row.fence }, scene.signal);
  const deps = { ...scene.deps, waitForHint: () => Promise.reject(new Error("it kept its hand")) };
  const work = { fence: row.fence, signal: scene.signal, commit: commitUnder(db, row) };
  const { again } = await reconcileComponent(deps, scene.componentId, { ...work, isCrowded: () => true });
  expect((again?.getTime() ?? 0) - scene.now).toBeGreaterThan(0);
  expect((again?.getTime() ?? 0) - scene.now).toBeLessThanOrEqual(1_000);
  const { observed } = await scene.row();
  expect(observed.instances.find(({ id }) => id === before.id)?.phase).not.toBe("running");
  // With a hand to spare it waits in place, where a hint reaches it at once.
  await expect(reconcileComponent(deps, scene.componentId, { ...work, isCrowded: () => false })).rejects.toThrow("it kept its hand");
});
