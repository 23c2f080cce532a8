// Runs the planner in a model world as the component loop does, with faults, and holds every action against the promises. For tests only.
// `answered`: looks may be as old as the last answered order, which is what engines and the edge warrant. `any`: looks may be older than that and out of order.
import assert from "node:assert/strict";
import { emptyMemory, plan, type Action, type Desired, type Memory, type Plan, type Seen } from "./plan.ts";
import { World, type Look, type ReleaseTraits, type Sim } from "./world.testkit.ts";

export type ReleaseName = "a" | "b" | "c";
export interface Setup {
  readonly seed: number;
  readonly strategy: Desired["strategy"];
  readonly releases: Readonly<Record<ReleaseName, ReleaseTraits>>;
  readonly replicas: number;
  readonly looks: "answered" | "any";
}

export type Step =
  /**
   * A pass over the component. Only the first `obeyed` actions are done; then the control plane dies, or gives up, and nothing is remembered; the action that it
   * was about may still be done `late` ms after, where that is given. `age` counts the looks by which the observation is late; the same one may be seen again.
   */
  | {
      readonly do: "pass";
      readonly obeyed: number;
      readonly newTurn: boolean;
      readonly age: number;
      readonly slow: number;
      readonly late?: number | undefined;
    }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "crash" | "exit" | "unready"; readonly who: number }
  /** `abort`: back to the release that was live before; `rollback`: to the one before that; `delete`: all of it goes, and may be made again. */
  | { readonly do: "wipe" | "restart" | "stop" | "start" | "abort" | "rollback" | "delete" }
  | { readonly do: "clock"; readonly ms: number }
  | { readonly do: "want"; readonly release: ReleaseName; readonly broken: boolean }
  | { readonly do: "scale"; readonly replicas: number };

/** Everything that the checks need to know of a pass. */
interface Pass {
  readonly seen: Seen;
  readonly decided: Plan;
  readonly now: number;
  /** Those that got requests, by the truth of its beginning. */
  readonly active: ReadonlySet<string>;
}

export class Simulation {
  readonly world: World;
  readonly #setup: Setup;
  readonly #looks: Look[] = [];
  memory: Memory = emptyMemory;
  generation = 1;
  release: ReleaseName = "a";
  /** Releases that were live, the newest last: a rollout succeeded with each. */
  readonly lived: ReleaseName[] = ["a"];
  deleting = false;
  /** Removed; the next wish makes it again. */
  gone = false;
  restart = 0;
  replicas: number;
  stopped = false;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.replicas = setup.replicas;
    this.world = new World(
      setup.seed,
      Math.max(...Object.values(setup.releases).map((release) => release.drainTimeout)) * 2,
      (hash) => setup.releases[hash as ReleaseName],
    );
  }

  get desired(): Desired {
    const { strategy, releases } = this.#setup;
    const replicas = this.stopped || this.deleting ? 0 : this.replicas;
    // As the loop does it: nothing wanted is no revision.
    return {
      revision: replicas === 0 ? undefined : { releaseHash: this.release, restart: this.restart },
      replicas,
      strategy,
      hasTraffic: releases[this.release].exposed,
    };
  }

  step(step: Step): void {
    const { world } = this;
    switch (step.do) {
      case "pass":
        this.pass(step);
        break;
      case "wait":
        world.tick(step.ms);
        break;
      case "crash":
      case "exit":
      case "unready":
        this.#befall(step.do, step.who);
        break;
      case "wipe":
        world.wipe();
        break;
      case "clock":
        world.skew += this.#setup.strategy.minReady === undefined ? step.ms : step.ms % 5_000;
        world.lastJump = world.time;
        break;
      case "restart":
        this.restart += 1;
        break;
      case "stop":
        this.stopped = true;
        break;
      case "start":
        this.stopped = false;
        break;
      case "abort":
        this.release = this.lived.at(-1) ?? "a";
        break;
      case "rollback":
        this.release = this.lived.at(-2) ?? "a";
        break;
      case "delete":
        this.deleting = true;
        break;
      case "scale":
        this.replicas = step.replicas;
        break;
      case "want":
        if (this.gone) Object.assign(this, { gone: false, deleting: false, stopped: false });
        this.release = step.release;
        if (step.broken) world.broken.add(step.release);
        else world.broken.delete(step.release);
        break;
      default:
        step satisfies never;
    }
    this.#looks.unshift(world.look());
    this.#looks.splice(6);
  }

  #befall(what: "crash" | "exit" | "unready", who: number): void {
    const all = [...this.world.sims.values()];
    const sim = all[who % Math.max(1, all.length)];
    if (sim === undefined) return;
    if (what === "unready") this.world.unready(sim);
    else this.world.endRun(sim, what === "exit");
  }

  /** Looks, plans, acts, remembers: reconcile/component/track.ts with a fault wherever one can be. */
  pass({ obeyed, newTurn, age, slow, late }: Omit<Extract<Step, { do: "pass" }>, "do">): Plan {
    const { world } = this;
    const { desired } = this;
    if (this.gone) return { actions: [], draining: {}, progress: { updated: 0, available: 0, old: 0, serving: true, settled: true } };
    const seen = this.#see(age);
    const decided = plan(desired, seen, this.memory, world.now());
    const pass: Pass = { seen, decided, now: world.now(), active: new Set([...world.sims.keys()].filter((id) => world.isActive(id))) };
    this.#checkPlan(desired, pass, age === 0);
    let entry = this.memory.entry;
    for (const [index, action] of decided.actions.entries()) {
      if (slow > 0) world.tick(slow);
      if (index >= obeyed) {
        if (late !== undefined) this.#post(desired, action, late);
        break;
      }
      this.#act(desired, pass, action);
      if (action.type === "setRoutes") entry = { generation: this.generation };
      if (action.type === "dropRoutes") entry = undefined;
    }
    const wasDone = obeyed >= decided.actions.length;
    if (wasDone) this.memory = { draining: decided.draining, ...(entry === undefined ? {} : { entry }) };
    if (wasDone && decided.progress.serving && age === 0) this.#serving(desired);
    if (wasDone && decided.progress.settled && age === 0) this.#settled();
    // Whoever dies or gives up comes back as the holder of a new claim.
    if (newTurn || !wasDone) this.generation += 1;
    return decided;
  }

  /** The answer never came, but the order may arrive all the same. A stop of what no request can come to is not held back by anything. */
  #post({ revision }: Desired, action: Action, after: number): void {
    const { world, generation } = this;
    const at = world.time + after;
    if (action.type === "ensure" && revision !== undefined) world.late.push({ at, generation, order: { ...action, revision } });
    if (action.type === "setRoutes") world.late.push({ at, generation, order: action });
    if (action.type === "stop" && action.instances.every((id) => world.sims.get(id)?.exposed === true))
      world.late.push({ at, generation, order: action });
  }

  /** What follows when a rollout is over. */
  #serving({ revision }: Desired): void {
    if (revision !== undefined && this.lived.at(-1) !== this.release) this.lived.push(this.release);
  }

  /** What follows when a removal is over. */
  #settled(): void {
    if (!this.deleting) return;
    this.gone = true;
    this.world.drop(this.generation);
    this.memory = emptyMemory;
  }

  #see(age: number): Seen {
    const fresh = this.world.look();
    const usable = (from: "orders" | "entries"): Look => {
      const kept = this.#setup.looks === "any" ? this.#looks : this.#looks.filter((look) => look[from] === this.world[from]);
      return age === 0 ? fresh : (kept[Math.min(age, kept.length) - 1] ?? fresh);
    };
    return { instances: usable("orders").instances, traffic: usable("entries").traffic };
  }

  #checkPlan(desired: Desired, { seen, decided, now }: Pass, isFresh: boolean): void {
    const again = plan(desired, seen, { ...this.memory, draining: decided.draining }, now);
    if (decided.progress.settled) assert.deepEqual(again, decided, "a settled plan stays settled");
    if (decided.progress.settled) assert.ok(decided.progress.serving, "what is settled serves");
    if (decided.progress.serving && isFresh) this.#checkServing(desired);
    if (decided.progress.settled && isFresh) this.#checkSettled(desired);
  }

  /** Promise 1: what is called live serves whole, and nothing else gets a new request or is left to itself. */
  #checkServing(desired: Desired): void {
    const { world } = this;
    const isWanted = (sim: Sim): boolean =>
      sim.revision.releaseHash === desired.revision?.releaseHash && sim.revision.restart === desired.revision.restart;
    const stays = [...world.sims.values()].filter(
      (sim) => isWanted(sim) && this.memory.draining[sim.id] === undefined && sim.phase !== "stopping",
    );
    assert.equal(stays.length, desired.revision === undefined ? 0 : desired.replicas, "live with as many as wanted");
    for (const sim of stays) assert.ok(this.#isReady(sim), "live with an unready instance");
    for (const sim of world.sims.values())
      if (!stays.includes(sim))
        assert.ok(
          sim.phase === "stopping" || (!world.isActive(sim.id) && this.memory.draining[sim.id] !== undefined),
          `live while ${sim.id} is not on its way out`,
        );
  }

  /** Promise 1: what is called done is done. */
  #checkSettled(desired: Desired): void {
    const { world } = this;
    const living = [...world.sims.values()];
    const wanted = desired.revision === undefined ? 0 : desired.replicas;
    assert.equal(living.length, wanted, "settled with as many as wanted");
    for (const sim of living)
      assert.ok(
        sim.revision.releaseHash === desired.revision?.releaseHash &&
          sim.revision.restart === desired.revision.restart &&
          this.#isReady(sim),
        "settled with another or an unready instance",
      );
    const routes = desired.hasTraffic ? living.map(({ id }) => `${id} active`).sort() : undefined;
    assert.deepEqual(
      world.entry?.endpoints.map(({ instance, state }) => `${instance} ${state}`),
      routes,
      "settled with other routes",
    );
  }

  #act(desired: Desired, pass: Pass, action: Action): void {
    const { world, generation } = this;
    switch (action.type) {
      case "setRoutes": {
        for (const { instance, state } of action.endpoints) {
          const sim = world.sims.get(instance);
          // What has ended for good is told to stop without a mark: a look from before its end may bring it back, and nobody answers there then or later.
          assert.ok(state === "draining" || sim?.phase !== "stopping" || sim.over === true, `${instance} is stopping and gets requests`);
        }
        this.#checkFloor(
          desired,
          pass,
          (id) => action.endpoints.some(({ instance, state }) => instance === id && state === "active"),
          () => true,
        );
        world.apply(action.endpoints, generation);
        return;
      }
      case "dropRoutes":
        for (const sim of world.sims.values())
          assert.ok(
            !sim.exposed || world.ended.has(sim.id) || this.#setup.looks === "any" || world.uncounted.has(sim.id),
            `the entry is removed while ${sim.id} may get requests`,
          );
        world.drop(generation);
        return;
      case "ensure":
        return this.#ensure(desired, pass, action.replicas, action.leaving);
      case "stop":
        for (const id of action.instances) this.#checkStop(id);
        this.#checkFloor(
          desired,
          pass,
          (id) => world.isActive(id),
          (id) => !action.instances.includes(id),
        );
        world.stop(action.instances, generation);
        return;
      default:
        action satisfies never;
    }
  }

  #ensure(desired: Desired, { decided }: Pass, replicas: number, leaving: readonly string[]): void {
    const { world } = this;
    assert.ok(desired.revision !== undefined && replicas <= desired.replicas, "asks for more than is wanted");
    const others = [...world.sims.values()].filter((sim) => sim.phase !== "exited");
    const started = world.ensure(desired.revision, replicas, leaving, this.generation);
    if (started === 0 || this.#setup.looks === "any") return;
    if (desired.strategy.type === "recreate") {
      for (const sim of others)
        if (!world.uncounted.has(sim.id))
          assert.ok(
            sim.revision.releaseHash === desired.revision.releaseHash &&
              sim.revision.restart === desired.revision.restart &&
              sim.phase !== "stopping" &&
              decided.draining[sim.id] === undefined,
            `started beside ${sim.id}`,
          );
      return;
    }
    const staying =
      others.filter((sim) => sim.phase !== "stopping" && decided.draining[sim.id] === undefined && !world.uncounted.has(sim.id)).length +
      started;
    assert.ok(staying <= desired.replicas + surge(desired), `${staying} instances pass the surge`);
  }

  /** Promise 3: out of every router, and without a request in flight or past its time. */
  #checkStop(id: string): void {
    const { world } = this;
    const sim = world.sims.get(id);
    if (sim?.exposed !== true || sim.phase === "exited" || sim.phase === "stopping") return;
    assert.ok(Object.hasOwn(this.memory.draining, id), `${id} is stopped before that was written down`);
    assert.ok(!world.isActive(id), `${id} is stopped while it gets requests`);
    const since = world.outSince.get(id) ?? world.time;
    const isOverdue = world.time - since >= sim.drainTimeout || world.lastJump >= since;
    assert.ok(world.inFlight(id) === 0 || isOverdue, `${id} is stopped with ${world.inFlight(id)} requests in flight`);
  }

  /**
   * The floor, by the truth of this moment; what fell out by itself since the planner looked is not its doing. What is exposed serves as long as it is active in
   * the routers, what is not as long as nobody stops it; `isRouted` and `isKept` tell how either will be after the action.
   */
  #checkFloor(desired: Desired, { seen, now, active }: Pass, isRouted: (id: string) => boolean, isKept: (id: string) => boolean): void {
    if (this.#setup.looks === "any" || desired.strategy.type !== "rolling" || desired.revision === undefined) return;
    const { world } = this;
    const floor = desired.replicas - Math.min(desired.strategy.maxUnavailable ?? 0, desired.replicas);
    const ready = new Set([...world.sims.values()].filter((sim) => this.#isReady(sim)).map(({ id }) => id));
    const exposed = new Map(seen.instances.map((instance) => [instance.id, instance.exposed]));
    const serves = (id: string): boolean => exposed.get(id) !== true || world.isActive(id);
    const servesOn = (id: string): boolean => (exposed.get(id) === true ? isRouted(id) : isKept(id));
    const isRoutedAsSeen = (id: string): boolean =>
      seen.traffic?.endpoints.some((endpoint) => endpoint.instance === id && endpoint.ready) === true;
    // An edge that started without its entry since the planner looked.
    const hasFallenOut = (id: string): boolean => !ready.has(id) || (exposed.get(id) === true && isRoutedAsSeen(id) && !active.has(id));
    const believed = seen.instances.filter(
      (instance) =>
        instance.phase === "running" && instance.ready && (!instance.exposed || this.memory.draining[instance.id] === undefined),
    );
    const steady = believed
      .filter(
        (instance) =>
          (desired.strategy.minReady === undefined || now - Date.parse(instance.readySince ?? "") >= desired.strategy.minReady) &&
          (!instance.exposed || isRoutedAsSeen(instance.id)),
      )
      .map(({ id }) => id);
    for (const group of [steady, believed.map(({ id }) => id)]) {
      if (!group.some((id) => ready.has(id) && serves(id) && !servesOn(id))) continue;
      const isLeft = (id: string): boolean => ready.has(id) && servesOn(id);
      const left = group.filter(isLeft).length;
      const lost = group.filter((id) => !isLeft(id) && hasFallenOut(id)).length;
      assert.ok(left + lost >= floor, `${left} available instances are left (${lost} fell out by themselves), ${floor} is the floor`);
    }
  }

  #isReady(sim: Sim): boolean {
    return sim.phase === "running" && sim.ready;
  }

  /** No more faults, and what is wanted can come up: how many passes it takes until everything is as wanted. */
  calm(limit: number): number {
    const { world } = this;
    world.broken.clear();
    // What ended for good is not started again; a restart is the way out.
    if (
      [...world.sims.values()].some(
        (sim) => sim.phase === "exited" && sim.revision.releaseHash === this.release && sim.revision.restart === this.restart,
      )
    )
      this.restart += 1;
    for (let count = 1; count <= limit; count += 1) {
      world.tick(250);
      const { progress } = this.pass({ obeyed: Number.POSITIVE_INFINITY, newTurn: count % 20 === 0, age: 0, slow: 0, late: undefined });
      if (progress.settled && world.late.length === 0) {
        assert.deepEqual(this.memory.draining, {}, "marks are forgotten when all is done");
        return count;
      }
    }
    assert.fail(
      `not settled after ${limit} quiet passes: ${JSON.stringify({ desired: this.desired, memory: this.memory, sims: [...world.sims.values()], entry: world.entry })}`,
    );
  }
}

function surge({ strategy, replicas }: Desired): number {
  const told = strategy.maxSurge ?? Math.max(1, Math.ceil(replicas / 4));
  return told === 0 && Math.min(strategy.maxUnavailable ?? 0, replicas) === 0 ? 1 : told;
}
