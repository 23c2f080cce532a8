// The component loop and the queue in random histories over a real PostgreSQL: holders that die before or after a commit, stall until another has their row and
// commit late, while people deploy, abort, roll back, scale, stop, start and remove. Every accepted rollout ends, what runs in the end is what was wanted last, and
// no late commit changes anything (promise 2). The seed of each run is printed; `BERTH_SEED=...` repeats it.
import { expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { BerthError } from "../src/core/errors.ts";
import { randomOf } from "../src/core/rollout/world.testkit.ts";
import { passComponent } from "../src/reconcile/component/pass.ts";
import { claim, commitUnder, enqueue, finish, type Claim, type Commit } from "../src/reconcile/queue.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const histories = 12;
const steps = 40;
const first = Number(process.env["BERTH_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
class Killed extends Error {}

class History {
  readonly scene = new Scene(services());
  readonly #random: () => number;
  /** A commit that its stalled holder has not made yet. */
  #late: { readonly go: () => void; readonly ended: Promise<unknown> } | undefined;
  refused = 0;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  #pick<T>(...all: readonly [T, ...T[]]): T {
    return all[Math.floor(this.#random() * all.length)] ?? all[0];
  }

  #spec(): ComponentSpec {
    const kind = this.#pick("web" as const, "web" as const, "worker" as const);
    return {
      ...defaultSpec(kind),
      build: { context: "." },
      command: { exec: [`app-${this.#pick(1, 2, 3)}`] },
      replicas: 2,
      drainTimeout: 300,
      gracePeriod: 200,
      strategy: { type: this.#pick("rolling" as const, "rolling" as const, "recreate" as const) },
    };
  }

  async begin(): Promise<void> {
    await this.scene.create();
    await this.scene.deploy(this.#spec());
  }

  async #take(): Promise<Claim | undefined> {
    const { db } = services().database;
    const key = this.scene.componentId;
    // Whoever held it is dead or stalled: its lease runs out.
    await db
      .updateTable("due")
      .set({ lease_until: new Date(0) })
      .where("key", "=", key)
      .where("lease_holder", "is not", null)
      .execute();
    await enqueue(db, { kind: "component", key, cluster: "local" });
    return (await claim(db, { kinds: ["component"], clusters: "all", limit: 100, holder: "h", leaseMs: 60_000 })).find(
      (row) => row.key === key,
    );
  }

  /** A claim and some passes of its holder, which may die or stall at any commit. */
  async turn(fate: "lives" | "dies" | "stalls"): Promise<void> {
    const row = await this.#take();
    if (row === undefined) return;
    const { scene } = this;
    let left = Math.floor(this.#random() * 6);
    const real = commitUnder(services().database.db, row);
    const stalled = Promise.withResolvers<undefined>();
    const commit: Commit = async (work) => {
      left -= 1;
      if (fate === "lives" || left >= 0) return real(work);
      if (fate === "dies") {
        if (this.#random() < 0.5) await real(work);
        throw new Killed();
      }
      const gate = Promise.withResolvers<undefined>();
      const made = gate.promise.then(() => real(work));
      this.#late = {
        go: () => {
          gate.resolve(undefined);
        },
        ended: made.catch((error: unknown) => {
          if (!(error instanceof BerthError) || error.code !== "stale_generation") throw error;
          this.refused += 1;
        }),
      };
      stalled.resolve(undefined);
      return made;
    };
    const context = { signal: scene.signal, commit, fence: { installation: "test", epoch: 1, generation: row.fence } };
    const passes = async (): Promise<void> => {
      for (let count = 0; count < 6; count += 1) {
        const { next } = await passComponent(scene.deps, scene.componentId, context);
        scene.now += next === undefined ? 0 : Math.min(next, 200) + 1;
        if (next === undefined) break;
      }
      await finish(services().database.db, row);
    };
    const running = passes().catch((error: unknown) => {
      if (!(error instanceof Killed) && !(error instanceof BerthError && error.code === "stale_generation")) throw error;
    });
    await Promise.race([running, stalled.promise]);
  }

  /** The stalled holder wakes up; by then another one has the row, and nothing may change. */
  async lateCommit(): Promise<void> {
    const late = this.#late;
    if (late === undefined) return;
    this.#late = undefined;
    const next = await this.#take();
    const before = await this.written();
    late.go();
    await late.ended;
    expect(await this.written()).toEqual(before);
    if (next !== undefined) await finish(services().database.db, next, { again: new Date() });
  }

  async written(): Promise<unknown> {
    const { db } = services().database;
    return {
      rollouts: await db.selectFrom("rollouts").selectAll().where("component_id", "=", this.scene.componentId).orderBy("number").execute(),
      component: await db.selectFrom("components").selectAll().where("id", "=", this.scene.componentId).execute(),
    };
  }

  /** What a person asks for; what makes no sense at this moment is refused with a code. */
  async wish(): Promise<void> {
    const { handlers, call } = services();
    const { ref } = this.scene;
    const ask = async (): Promise<unknown> => {
      switch (this.#pick("deploy", "deploy", "deploy", "abort", "rollback", "scale", "stop", "start", "restart", "delete")) {
        case "deploy":
          return this.scene.deploy(this.#spec());
        case "abort":
          return handlers.abortRollout({ params: { ...ref, rollout: (await this.scene.row()).last_rollout } }, call());
        case "rollback":
          return handlers.rollbackComponent({ params: ref, body: {} }, call());
        case "scale":
          return handlers.scaleComponent({ params: ref, body: { replicas: this.#pick(0, 1, 3) } }, call());
        case "stop":
          return handlers.stopComponent({ params: ref }, call());
        case "start":
          return handlers.startComponent({ params: ref }, call());
        case "restart":
          return handlers.restartComponent({ params: ref }, call());
        default:
          return this.#random() < 0.2 ? handlers.deleteComponent({ params: ref }, call()) : undefined;
      }
    };
    await ask().catch((error: unknown) => {
      if (!(error instanceof BerthError) && !/no component/.test(String(error))) throw error;
    });
  }

  async step(): Promise<void> {
    const chance = this.#random();
    if (chance < 0.4) await this.turn("lives");
    else if (chance < 0.6) await this.turn("dies");
    else if (chance < 0.7 && this.#late === undefined) await this.turn("stalls");
    else if (chance < 0.75) await this.lateCommit();
    else if (chance < 0.95) await this.wish();
    else if (this.scene.componentId !== "") this.scene.traffic.forget(this.scene.ref);
  }

  /** Nothing goes wrong any more: everything ends, as it was wanted last. */
  async settle(): Promise<void> {
    await this.lateCommit();
    const { db } = services().database;
    const found = () => db.selectFrom("components").selectAll().where("id", "=", this.scene.componentId).executeTakeFirst();
    for (let count = 0; count < 80; count += 1) {
      const row = await found();
      const open = await db
        .selectFrom("rollouts")
        .select("id")
        .where("component_id", "=", this.scene.componentId)
        .where("ended_at", "is", null)
        .execute();
      if (
        row === undefined ||
        (open.length === 0 && row.delete_requested_at === null && ["healthy", "stopped", "failed", "new"].includes(row.state) && count > 2)
      )
        break;
      await this.turn("lives");
      this.scene.now += 300;
    }
    const row = await found();
    const running = await this.scene.instances();
    if (row === undefined) {
      expect(running).toEqual([]);
      expect(this.scene.traffic.entry(this.scene.ref)).toBeUndefined();
      return;
    }
    expect(
      await db
        .selectFrom("rollouts")
        .select(["number", "phase"])
        .where("component_id", "=", row.id)
        .where("ended_at", "is", null)
        .execute(),
    ).toEqual([]);
    const stable =
      row.stable_release_id === null
        ? undefined
        : await db.selectFrom("releases").selectAll().where("id", "=", row.stable_release_id).executeTakeFirstOrThrow();
    const wanted = stable === undefined || row.stopped ? 0 : row.replicas;
    expect(running.map(({ revision, ready }) => ({ hash: revision.releaseHash, restart: revision.restart, ready }))).toEqual(
      Array.from({ length: wanted }, () => ({ hash: stable?.hash, restart: row.restart, ready: true })),
    );
    expect(
      this.scene.traffic
        .entry(this.scene.ref)
        ?.ports.flatMap((port) => port.tracks.flatMap((track) => track.endpoints.map(({ instance, state }) => `${instance} ${state}`)))
        .toSorted() ?? [],
    ).toEqual(stable?.spec.ports.length === 0 ? [] : running.map(({ id }) => `${id} active`).toSorted());
  }
}

test(`every order ends in its right state, whoever dies in between: ${histories} histories`, async () => {
  let refused = 0;
  for (let count = 0; count < histories; count += 1) {
    const seed = (first + count) % 2 ** 31;
    const history = new History(seed);
    try {
      await history.begin();
      for (let step = 0; step < steps; step += 1) await history.step();
      await history.settle();
    } catch (error) {
      throw new Error(`history with BERTH_SEED=${seed}`, { cause: error });
    }
    refused += history.refused;
  }
  process.stdout.write(`${histories} histories of the loop: BERTH_SEED=${first}, ${refused} late commits refused\n`);
}, 120_000);
