// People at work: each actor owns a stack and orders one thing after another, over the API, without waiting for what it ordered. What the server accepted is
// written down with what has to come of it. A call that got no answer is sent again with the same Idempotency-Key until it gets one.
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import type { Client } from "@berth/contract/client.ts";
import type { TestBerth, Files } from "../harness.ts";
import { ringing } from "./bell.ts";
import { behaving } from "./programs.ts";
import type { Random } from "./random.ts";

export type Operation = "up" | "deploy" | "scale" | "restart" | "rollback" | "stop" | "start" | "task" | "delete";

interface OrderedRollout {
  readonly component: string;
  readonly number: number;
  /** undefined: that of an older release, or of the same again. */ readonly version?: string;
  readonly ofRelease?: number;
}
interface OrderedTask {
  readonly number: number;
  readonly mark: string;
  /** Ordered before its stack was deleted: it may have been cancelled, and its row is gone. */ forgotten: boolean;
}

/** What one actor ordered of its stack, and how it has to end. */
export interface Ledger {
  readonly stack: string;
  readonly loaded: boolean;
  exists: boolean;
  replicas: number;
  stopped: boolean;
  rollouts: OrderedRollout[];
  tasks: OrderedTask[];
  readonly accepted: Partial<Record<Operation, number>>;
  refused: number;
  repeated: number;
  /** Calls that the server answered. */
  answered: number;
}

export interface ActorOptions {
  readonly berth: TestBerth;
  readonly stack: string;
  /** Under load through the router: only what must not lose a request. */
  readonly loaded: boolean;
  readonly chance: Random;
  readonly signal: AbortSignal;
  /** Longest pause between two orders, ms. */
  readonly pause: number;
  /** Port where release commands ring. */
  readonly bell: number;
  /** Waited for after the first order: on a busy machine, orders that overtake each other would leave nothing to answer. */
  readonly answers?: (() => Promise<void>) | undefined;
}

/** ms in which a call has to be answered, on a machine that is busy and by a server that is killed all the time. */
const patience = 240_000;

const everything: readonly (readonly [Operation, number])[] = [
  ["up", 5],
  ["deploy", 1],
  ["scale", 4],
  ["restart", 2],
  ["rollback", 2],
  ["stop", 1],
  ["start", 2],
  ["task", 6],
  ["delete", 0.5],
];
const harmless: readonly (readonly [Operation, number])[] = [
  ["up", 4],
  ["scale", 4],
  ["restart", 2],
  ["rollback", 2],
];

export const emptyLedger = (stack: string, loaded: boolean): Ledger => ({
  stack,
  loaded,
  exists: false,
  replicas: 2,
  stopped: false,
  rollouts: [],
  tasks: [],
  accepted: {},
  refused: 0,
  repeated: 0,
  answered: 0,
});

function projectOf(version: string, bell: number): Files {
  const store = { build: ".", command: "node server.js", volumes: ["data:/data"], "x-berth": { kind: "worker" } };
  return {
    ...behaving(version),
    ...ringing(bell),
    "compose.yaml": JSON.stringify({
      services: {
        web: { build: ".", command: "node server.js", ports: ["3000"], deploy: { replicas: 2 }, "x-berth": { kind: "web" } },
        store,
      },
      volumes: { data: {} },
    }),
  };
}

/** Orders until the signal; the ledger is complete when this resolves. */
export async function act(options: ActorOptions, ledger: Ledger): Promise<void> {
  const { chance, signal } = options;
  const actor = new Actor(options, ledger);
  await actor.perform("up");
  await options.answers?.();
  while (!signal.aborted) {
    await delay(chance.next() * options.pause, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    await actor.perform(ledger.exists ? chance.weighted(options.loaded ? harmless : everything) : "up");
  }
}

/** Orders the removal of the stack and waits until it is gone. */
export async function removeAll(options: ActorOptions, ledger: Ledger): Promise<void> {
  await new Actor(options, ledger).perform("delete");
}

class Actor {
  readonly #options: ActorOptions;
  readonly #ledger: Ledger;
  #version = 0;

  constructor(options: ActorOptions, ledger: Ledger) {
    this.#options = options;
    this.#ledger = ledger;
  }

  get #client(): Client {
    return this.#options.berth.client;
  }

  async perform(operation: Operation): Promise<void> {
    try {
      await this.#order(operation);
      this.#ledger.accepted[operation] = (this.#ledger.accepted[operation] ?? 0) + 1;
    } catch (error) {
      // A refusal with a reason is an answer: nothing was accepted. Anything else is a finding.
      if (!(error instanceof ApiError) || !["wrong_state", "plan_stale", "not_found", "conflict"].includes(error.code))
        throw new Error(`${operation} in ${this.#ledger.stack}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      this.#ledger.refused += 1;
    }
  }

  async #order(operation: Operation): Promise<void> {
    const { stack } = this.#ledger;
    const web = { params: { stack, component: "web" } };
    switch (operation) {
      case "up":
        return this.#up();
      case "deploy": {
        const deployment = await this.#answered((idempotencyKey) => this.#client.deployComponent({ ...web, body: {} }, { idempotencyKey }));
        // Released from the source of the release that serves now, which an order still on its way may replace: any version is right.
        this.#ordered(deployment.rollouts.map(({ component, number }) => ({ component, number })));
        return;
      }
      case "scale": {
        const replicas = this.#options.chance.between(1, 3);
        await this.#answered(() => this.#client.scaleComponent({ ...web, body: { replicas } }));
        this.#ledger.replicas = replicas;
        return;
      }
      case "restart": {
        const { rollout } = await this.#answered((idempotencyKey) => this.#client.restartComponent(web, { idempotencyKey }));
        if (rollout !== undefined) this.#ordered([{ component: "web", number: rollout }]);
        return;
      }
      case "rollback": {
        const { items } = await this.#answered(() => this.#client.listReleases({ ...web, query: { limit: 5 } }));
        if (items.length === 0) return;
        const release = this.#options.chance.pick(items).number;
        const { rollouts } = await this.#answered((idempotencyKey) =>
          this.#client.rollbackComponent({ ...web, body: { release } }, { idempotencyKey }),
        );
        this.#ordered(rollouts.map(({ component, number }) => ({ component, number, ofRelease: release })));
        return;
      }
      case "stop":
        await this.#answered(() => this.#client.stopComponent(web));
        this.#ledger.stopped = true;
        return;
      case "start":
        await this.#answered(() => this.#client.startComponent(web));
        this.#ledger.stopped = false;
        return;
      case "task":
        return this.#task();
      case "delete":
        return this.#delete();
      default:
        return operation satisfies never;
    }
  }

  async #up(): Promise<void> {
    const { stack } = this.#ledger;
    this.#version += 1;
    const version = `v${String(this.#version)}`;
    const files = projectOf(version, this.#options.bell);
    const plan = await this.#answered(() => this.#options.berth.plan(stack, files));
    const deployment = await this.#answered((idempotencyKey) =>
      this.#client.applyPlan({ params: { stack, plan: plan.id }, body: {} }, { idempotencyKey }),
    );
    if (!this.#ledger.exists) Object.assign(this.#ledger, { exists: true, replicas: 2, stopped: false });
    this.#ordered(deployment.rollouts.map(({ component, number }) => ({ component, number, version })));
  }

  async #task(): Promise<void> {
    const { stack } = this.#ledger;
    const mark = randomUUID();
    const command = {
      shell: `echo ${mark} >> "$BERTH_VOLUME_DATA/ran"; sleep 0.${String(this.#options.chance.between(0, 9))}; echo ${mark} >> "$BERTH_VOLUME_DATA/ended"`,
    };
    const task = await this.#answered((idempotencyKey) =>
      this.#client.createTask({ params: { stack, component: "store" }, body: { command } }, { idempotencyKey }),
    );
    this.#ledger.tasks.push({ number: task.number, mark, forgotten: false });
  }

  async #delete(): Promise<void> {
    const { stack } = this.#ledger;
    const volumes = this.#options.chance.next() < 0.5;
    // A repetition finds it gone: that is what was asked for.
    await this.#answered(() => this.#client.deleteStack({ params: { stack }, query: { volumes } })).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.code !== "not_found") throw error;
    });
    const ledger = this.#ledger;
    ledger.exists = false;
    ledger.rollouts = [];
    // With the volume goes the proof of what ran.
    ledger.tasks = volumes ? [] : ledger.tasks.map((task) => ({ ...task, forgotten: true }));
    for (;;) {
      const gone = await this.#answered(() => this.#client.showStack({ params: { stack } })).then(
        () => false,
        (error: unknown) => {
          if (error instanceof ApiError && error.code === "not_found") return true;
          throw error;
        },
      );
      if (gone) return;
      await delay(100);
    }
  }

  #ordered(rollouts: readonly OrderedRollout[]): void {
    this.#ledger.rollouts.push(...rollouts);
  }

  /** Asks with one key until there is an answer, for some minutes at most: the server may be dead, starting, or without its database or its edge. */
  async #answered<T>(ask: (idempotencyKey: string) => Promise<T>): Promise<T> {
    const key = randomUUID();
    const until = Date.now() + patience;
    const answers: string[] = [];
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await ask(key);
        this.#ledger.answered += 1;
        return answer;
      } catch (error) {
        answers.push(error instanceof ApiError || error instanceof ConnectionError ? error.code : String(error));
        if (!isPassing(error)) throw error;
        if (Date.now() > until) throw new Error(`no answer within ${String(patience)} ms but ${numbered(answers)}`, { cause: error });
        this.#ledger.repeated += 1;
        await delay(Math.min(50 * attempt, 500));
      }
    }
  }
}

const passing = new Set(["shutting_down", "too_many_requests", "database_unavailable", "idempotency_in_progress", "engine_unavailable"]);
function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof ApiError && passing.has(error.code);
}

/** How many of each, for people. */
export function numbered(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${String(count)} ${name}`).join(", ");
}
