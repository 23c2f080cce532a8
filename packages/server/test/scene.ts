// One component under the component loop, with the real database and the engine and router in memory: for tests that hold the loop at any instruction.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { transaction } from "../src/db/transaction.ts";
import { FakeTraffic } from "../src/engines/fake-traffic.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import type { Instance, Ref } from "../src/engines/engine.ts";
import type { ComponentLoopDeps } from "../src/reconcile/component/deps.ts";
import { passComponent } from "../src/reconcile/component/pass.ts";
import type { Commit } from "../src/reconcile/queue.ts";
import { findComponent, type ComponentRow } from "../src/resources/components/store.ts";
import { acceptRollouts, type Wanted } from "../src/resources/rollouts/accept.ts";
import { findRollout, type RolloutRow } from "../src/resources/rollouts/store.ts";
import { findStack } from "../src/resources/stacks/store.ts";
import type { TestServices } from "./services.ts";
import { plainBuild } from "./rows.ts";

const plan: BuildPlan = {
  kind: "procfile",
  root: ".",
  tools: [],
  steps: [],
  processes: { web: { command: { exec: ["app"] }, why: "test" } },
  env: {},
  caches: [],
  exclude: [],
  findings: [],
  warnings: [],
};
let made = 0;

const briefly = async (_ref: unknown, ms: number, signal: AbortSignal): Promise<void> => {
  await sleep(Math.min(ms, 5), undefined, { signal });
};

/** One that is made, with its engine at hand. */
export async function sceneOn<E extends FakeEngine>(
  services: TestServices,
  makeEngine: (options: { readonly now: () => number }) => E,
): Promise<{ readonly at: Scene; readonly engine: E }> {
  const made: E[] = [];
  const at = new Scene(services, (now) => {
    const engine = makeEngine({ now });
    made.push(engine);
    return engine;
  });
  await at.create();
  const [engine] = made;
  if (engine === undefined) throw new Error("no engine");
  return { at, engine };
}

export class Scene {
  readonly services: TestServices;
  readonly engine: FakeEngine;
  readonly traffic: FakeTraffic;
  readonly deps: ComponentLoopDeps;
  readonly ref: Ref = { stack: `scene-${(made += 1)}`, component: "app" };
  readonly signal = new AbortController().signal;
  /** Unix ms as every part but the database sees it. */
  now = Date.now();
  componentId = "";

  constructor(services: TestServices, makeEngine: (now: () => number) => FakeEngine = (now) => new FakeEngine({ now })) {
    this.services = services;
    this.engine = makeEngine(() => this.now);
    this.traffic = new FakeTraffic(this.engine);
    this.deps = {
      db: services.database.db,
      secretBox: services.deps.secretBox,
      clock: () => new Date(this.now),
      from: (at) => at,
      reachableSince: () => 0,
      isReachable: () => true,
      installation: () => ({ id: "test", epoch: 1 }),
      countRepair: () => undefined,
      places: { engine: () => this.engine, traffic: () => this.traffic, standard: "local", owns: () => true },
      waitForHint: briefly,
      overhear: briefly,
    };
  }

  async create(): Promise<void> {
    await this.services.handlers.createStack({ body: { name: this.ref.stack } }, this.services.call());
  }

  /** A rollout of this definition, from a build that has succeeded or is still on its way. */
  async deploy(
    spec: ComponentSpec,
    build: "succeeded" | "running" | "failed" = "succeeded",
    secretRefs: Wanted["secretRefs"] = {},
  ): Promise<number> {
    const {
      database: { db },
      handlers,
      call,
    } = this.services;
    await handlers.setComponent({ params: this.ref, body: spec }, call());
    this.componentId = (await this.row()).id;
    const stack = await this.#stack();
    const number = (
      await db
        .selectFrom("builds")
        .select(({ fn }) => fn.countAll<number>().as("n"))
        .where("stack_id", "=", stack.id)
        .executeTakeFirstOrThrow()
    ).n;
    const { id } = await db
      .insertInto("builds")
      .values({
        ...plainBuild,
        stack_id: stack.id,
        cluster_id: stack.clusterId,
        number: number + 1,
        source_id: null,
        source_digest: "sha256:0",
        build_key: randomBytes(4).toString("hex"),
        phase: build,
        artifact_digest: build === "succeeded" ? await this.#artifact() : null,
        plan: JSON.stringify(plan),
        cause: build === "failed" ? JSON.stringify({ code: "build_failed", params: {}, evidence: [] }) : null,
      })
      .returning("id")
      .executeTakeFirstOrThrow();
    return this.accept({ from: { build: id }, spec, secretRefs });
  }

  /** The newest build ends well. */
  async built(): Promise<void> {
    const {
      database: { db },
    } = this.services;
    await db
      .updateTable("builds")
      .set({ phase: "succeeded", artifact_digest: await this.#artifact() })
      .where("stack_id", "=", (await this.#stack()).id)
      .where("phase", "=", "running")
      .execute();
  }

  /** Accepts a rollout as services do. */
  async accept(wanted: Pick<Wanted, "from" | "spec"> & Partial<Pick<Wanted, "secretRefs">>): Promise<number> {
    const {
      database: { db },
      call,
    } = this.services;
    const stack = await this.#stack();
    return transaction(db, async (trx) => {
      const component = await findComponent(trx, stack.id, this.ref.component, { lock: true });
      if (component === undefined) throw new Error("no component");
      const accepted = await acceptRollouts(trx, call(), stack, [{ component, config: {}, secretRefs: {}, ...wanted }], "test");
      return accepted.rollouts[0]?.number ?? 0;
    });
  }

  /** One pass, as the holder of a lease that nobody takes. `of`: the row of the component's part in another cluster. */
  async pass(
    commit: Commit = (work) => transaction(this.services.database.db, work),
    of: string = this.componentId,
  ): Promise<number | undefined> {
    const {
      rows: [fence],
    } = await sql<{ next: number }>`select nextval('fences') as next`.execute(this.services.database.db);
    return (
      await passComponent(this.deps, of, {
        signal: this.signal,
        commit,
        fence: { installation: "test", epoch: 1, generation: fence?.next ?? 0 },
      })
    ).next;
  }

  /** Passes, with time going by between them, until the condition holds. */
  async passUntil(holds: () => Promise<boolean> | boolean, what: string, each = 100, most = 400): Promise<void> {
    for (let count = 0; count < most; count += 1) {
      if (await holds()) return;
      await this.pass();
      this.now += each;
    }
    throw new Error(
      `${what} did not come about in ${most} passes: ${JSON.stringify({ rollout: await this.rollout(), instances: await this.instances(), entry: this.traffic.entry(this.ref) })}`,
    );
  }

  async rolledOut(number: number): Promise<RolloutRow> {
    await this.passUntil(async () => (await this.rollout(number)).ended_at !== null, `the end of rollout ${number}`);
    return this.rollout(number);
  }

  async row(): Promise<ComponentRow> {
    const row = await findComponent(this.services.database.db, (await this.#stack()).id, this.ref.component);
    if (row === undefined) throw new Error("no component");
    return row;
  }

  async rollout(number?: number): Promise<RolloutRow> {
    const row = await findRollout(this.services.database.db, this.componentId, number ?? (await this.row()).last_rollout);
    if (row === undefined) throw new Error("no rollout");
    return row;
  }

  async instances(): Promise<readonly Instance[]> {
    return (await this.engine.observe(this.ref, this.signal))?.instances ?? [];
  }

  async #artifact(): Promise<string> {
    const { digest } = await this.services.deps.blobs.put(Readable.from([randomBytes(8)]));
    await this.services.database.db.insertInto("artifacts").values({ digest, kind: "bundle", size: 8 }).execute();
    return digest;
  }

  async #stack() {
    const row = await findStack(this.services.database.db, this.ref.stack);
    if (row === undefined) throw new Error("no stack");
    return {
      id: row.id,
      name: row.name,
      teamId: row.team_id,
      team: "default",
      clusterId: row.cluster_id,
      cluster: "local",
      domain: row.domain,
      runEnv: row.run_env,
      drift: row.drift,
      revision: row.revision,
      namespace: null,
      deleting: false,
    };
  }
}
