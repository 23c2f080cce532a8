// Ends processes of one Berth with SIGKILL at random instants, and starts the control plane again as a service manager would. Everything else has to come
// back by itself.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, openSync, closeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { clientPorts, edgePids, freeze, gone, isDatabaseReady, postmasterPid, runningInstances, startOf } from "./machine.ts";
import type { Random } from "./random.ts";
import type { Kill } from "./verdict.ts";

export const victims = ["control plane", "router", "edge primary", "agent", "collector", "instance", "database"] as const;
export type Victim = (typeof victims)[number];

/** `Restart=always`: as long as it is not told to stop, the control plane is started again at once. */
export class ServiceManager {
  readonly #command: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #home: string;
  #child: ChildProcess | undefined;
  #stopping = false;
  starts = 0;

  constructor(command: readonly string[], env: Readonly<Record<string, string>>, home: string) {
    this.#command = command;
    this.#env = env;
    this.#home = home;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    mkdirSync(join(this.#home, "logs"), { recursive: true, mode: 0o700 });
    const log = openSync(join(this.#home, "logs", "server.log"), "a", 0o600);
    const [program = "", ...args] = this.#command;
    const child = spawn(program, [...args, "server", "run"], {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...this.#env },
      cwd: this.#home,
    });
    closeSync(log);
    this.#child = child;
    this.starts += 1;
    child.once("exit", () => {
      this.#child = undefined;
      // A service manager waits a moment, so that a program that cannot start does not eat the machine.
      if (!this.#stopping)
        setTimeout(() => {
          if (!this.#stopping) this.start();
        }, 100);
    });
  }

  /** Ends it in good order and starts no more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => {
      child.once("exit", () => {
        resolve();
      });
    });
    child.kill("SIGTERM");
    await gone;
  }
}

export interface KillerOptions {
  readonly home: string;
  readonly manager: ServiceManager;
  /** Of the public listener. */
  readonly routerPort: number;
  readonly chance: Random;
  readonly counts: Readonly<Partial<Record<Victim, number>>>;
  /** Longest time between two kills, ms; each is at a random instant within it. */
  readonly within: number;
  readonly onKill: (kill: Kill) => void;
  /** Calls that the control plane has answered until now. */
  readonly answers: () => number;
  /** So many calls have to be answered between two kills of the control plane now and then: one that never came up would never be killed in the middle of its work. */
  readonly life: number;
  /** Ends the killing before its time. */
  readonly signal: AbortSignal;
}

/** Kills as often as the counts say, in a random order. A victim that is on its way up is waited for, a control plane only sometimes: half-started it is one, too. */
export async function killAll(options: KillerOptions): Promise<Kill[]> {
  const { chance, counts, within, signal } = options;
  const order = shuffled(
    victims.flatMap((victim) => Array.from({ length: counts[victim] ?? 0 }, () => victim)),
    chance,
  );
  const kills: Kill[] = [];
  let seen = new Map<Victim, number>();
  let stillborn = 0;
  let answers = options.answers();
  for (const victim of order) {
    if (victim === "control plane") {
      stillborn = options.answers() - answers < options.life ? stillborn + 1 : 0;
      if (stillborn >= mostStillborn) {
        await answered(options, options.answers() + options.life);
        stillborn = 0;
      }
      answers = options.answers();
    }
    await delay(chance.next() * within, undefined, { signal });
    let kill: Kill | undefined;
    while (kill === undefined) kill = await end(victim, await find(options, victim, seen.get(victim)), options.routerPort);
    kills.push(kill);
    options.onKill(kill);
    seen = new Map([...seen, [victim, kill.pid]]);
  }
  return kills;
}

/** Of the control planes in a row that may be killed before they did much. */
const mostStillborn = 3;

async function answered({ answers, signal }: KillerOptions, wanted: number): Promise<void> {
  const until = Date.now() + 120_000;
  while (answers() < wanted) {
    if (Date.now() > until) throw new Error("the control plane answered nothing for two minutes, in which nothing was killed");
    await delay(50, undefined, { signal });
  }
}

/** Of a router it is noted which connections die with it: those and no others may break. undefined: it ended by itself before it was killed. */
async function end(victim: Victim, found: Found, routerPort: number): Promise<Kill | undefined> {
  const { pid } = found;
  const from = now();
  let connections: { readonly connections?: readonly number[] } = {};
  try {
    try {
      if (victim === "router") {
        await freeze(pid);
        connections = { connections: clientPorts(pid, routerPort) };
      }
    } finally {
      process.kill(pid, "SIGKILL");
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return undefined;
    throw error;
  }
  await gone(pid);
  return { victim, from, to: now(), ...found, ...connections };
}

interface Found {
  readonly pid: number;
  readonly instance?: string;
  readonly target?: string;
}

const now = (): number => performance.timeOrigin + performance.now();

function shuffled<T>(list: readonly T[], chance: Random): T[] {
  return list
    .map((item) => [chance.next(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}

/** One that lives now, and is not the one that was killed last. */
async function find(options: KillerOptions, victim: Victim, last: number | undefined): Promise<Found> {
  const { chance, signal } = options;
  const until = Date.now() + 180_000;
  for (let waited = false; ; waited = true) {
    const found = await candidates(options, victim);
    const alive = found.filter(({ pid }) => pid !== last && startOf(pid) !== undefined);
    if (alive.length > 0 && !waited) return chance.pick(alive);
    // One that was waited for is left alone for a moment: killed as soon as it shows, it would never be killed in the middle of its work.
    if (alive.length > 0) {
      await delay(chance.next() * options.within, undefined, { signal });
      return find(options, victim, last);
    }
    if (Date.now() > until) throw new Error(`no ${victim} came back within three minutes`);
    await delay(10, undefined, { signal });
  }
}

async function candidates({ home, manager }: KillerOptions, victim: Victim): Promise<Found[]> {
  const one = (pid: number | null | undefined): Found[] => (pid === undefined || pid === null ? [] : [{ pid }]);
  switch (victim) {
    case "control plane":
      return one(manager.pid);
    case "database":
      // One that is killed whenever it begins to come up would be gone all the time, and nothing could be killed in the middle of its work.
      return one(isDatabaseReady(home) ? postmasterPid(home) : undefined);
    case "instance":
      return runningInstances(home)
        .filter(({ task }) => !task)
        .map(({ pid, id, stack, component }) => ({ pid, instance: id, target: `${component}.${stack}.localhost` }));
    case "router":
      return ((await edgePids(home))?.workers ?? []).map((pid) => ({ pid }));
    case "edge primary":
      return one((await edgePids(home))?.primary);
    case "agent":
      return one((await edgePids(home))?.agent);
    case "collector":
      return one((await edgePids(home))?.collector);
    default:
      return victim satisfies never;
  }
}
