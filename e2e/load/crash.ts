// The crash test: people order, users ask through the router, and processes are killed at random instants. Short and long form differ by numbers only.
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { isFree } from "../../packages/server/src/edge/agent/ports.ts";
import { TestBerth, serverCommand, until } from "../harness.ts";
import { hangBell, type Bell } from "./bell.ts";
import { nothingLeft, nothingUncaught, ordersKept, processesLeft, releasesRanOnce, settled } from "./invariants.ts";
import { killAll, ServiceManager, type Victim } from "./killer.ts";
import { startLoad } from "./load.ts";
import { accessLineOf, edgeCounter, Interruptions, startOf } from "./machine.ts";
import { randomFrom } from "./random.ts";
import { act, emptyLedger, numbered, removeAll, type Ledger } from "./scenario.ts";
import { judge, told, type Kill, type Verdict } from "./verdict.ts";

export interface CrashOptions {
  readonly seed: string;
  readonly kills: Readonly<Partial<Record<Victim, number>>>;
  /** Longest time between two kills, ms. */
  readonly within: number;
  /** Stacks that are worked on freely, and stacks that are under load meanwhile. */
  readonly stacks: number;
  readonly loadedStacks: number;
  readonly connections: number;
  readonly say: (line: string) => void;
}

export interface CrashResult {
  /** What is wrong, as sentences; none is the aim. */
  readonly findings: readonly string[];
  readonly kills: number;
  readonly requests: number;
  readonly interrupted: number;
}

export const newSeed = (): string => randomBytes(4).toString("hex");

export async function crash(options: CrashOptions): Promise<CrashResult> {
  const { say } = options;
  const chance = randomFrom(options.seed);
  const apiPort = await freePort();
  const berth = new TestBerth({ BERTH_PORT: String(apiPort) }, { routerLimits: { restFrom: 10 } });
  const manager = new ServiceManager(serverCommand(), berth.env, berth.home);
  const bell = await hangBell();
  try {
    manager.start();
    await berth.connect(`http://127.0.0.1:${String(apiPort)}`);
    return await run(berth, manager, bell, apiPort, options, chance);
  } catch (error) {
    // The home goes with the test: what the server said of its own failures, and how it ended, is shown now or never.
    say(
      berth
        .log()
        .split("\n")
        .filter((line) => line.includes('"level":50') || (line !== "" && !line.startsWith("{")))
        .slice(-25)
        .join("\n"),
    );
    say(`the control plane was started ${String(manager.starts)} times`);
    // What follows may fail for the same reason, and would be all that is told.
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
    throw error;
  } finally {
    await manager.stop();
    await berth.stop();
    await bell.close();
  }
}

async function run(
  berth: TestBerth,
  manager: ServiceManager,
  bell: Bell,
  apiPort: number,
  options: CrashOptions,
  chance: ReturnType<typeof randomFrom>,
): Promise<CrashResult> {
  const { say } = options;
  const ledgers = [
    ...Array.from({ length: options.stacks }, (_, at) => emptyLedger(`free${String(at)}`, false)),
    ...Array.from({ length: options.loadedStacks }, (_, at) => emptyLedger(`busy${String(at)}`, true)),
  ];
  const done = new AbortController();
  const hostOf = (ledger: Ledger): string => `web.${ledger.stack}.localhost`;
  const answers = async (ledger: Ledger): Promise<void> => {
    const look = (): Promise<boolean> =>
      berth.get(hostOf(ledger), "/echo?id=x").then(
        ({ status }) => status === 200,
        () => false,
      );
    await until(
      async () => (await look()) || undefined,
      `${hostOf(ledger)} to answer`,
      120_000,
      () => berth.log(),
    );
  };
  const busy = ledgers.filter(({ loaded }) => loaded);
  const begun = new Map(busy.map((ledger) => [ledger, Promise.withResolvers<void>()]));
  const actors = ledgers.map((ledger) => ({
    berth,
    stack: ledger.stack,
    loaded: ledger.loaded,
    chance: chance.fork(ledger.stack),
    signal: done.signal,
    pause: 700,
    bell: bell.port,
    answers: ledger.loaded ? () => answers(ledger).then(begun.get(ledger)?.resolve) : undefined,
  }));
  const acting = Promise.all(ledgers.map((ledger, at) => act(actors[at] ?? fail(), ledger)));
  // An actor that failed ends the test, but not before everything is stopped.
  acting.catch(() => undefined);
  await Promise.race([acting, Promise.all([...begun.values()].map(({ promise }) => promise))]);
  const load = startLoad({ seed: options.seed, ...berth.router, targets: busy.map(hostOf), connections: options.connections, pause: 20 });
  const kills: Kill[] = [];
  const interruptions = new Interruptions(berth.home);
  const looking = setInterval(() => interruptions.look(), 2_000);
  try {
    await Promise.race([
      acting,
      killAll({
        home: berth.home,
        manager,
        routerPort: berth.router.port,
        chance: chance.fork("kills"),
        counts: options.kills,
        within: options.within,
        signal: done.signal,
        answers: () => sum(ledgers, ({ answered }) => answered),
        life: 3 * ledgers.length,
        onKill: (kill) => {
          kills.push(kill);
          if (kills.length % 50 === 0)
            say(
              `${String(kills.length)} kills, ${String(load.requests)} requests, ${String(load.faults)} of them not answered as they should be`,
            );
        },
      }),
    ]);
  } finally {
    done.abort();
    clearInterval(looking);
  }
  await acting;
  // Of one stack at least nothing may be left in the end.
  const [first] = ledgers;
  if (first !== undefined) await removeAll(actors[0] ?? fail(), first);
  say(
    `seed ${options.seed}: ${String(kills.length)} kills (${numbered(kills.map(({ victim }) => victim))}), the control plane was started ${String(manager.starts)} times`,
  );
  await settled(berth, ledgers, 300_000);
  const report = await load.stop();
  // What a router has to say it has written by then.
  let verdict = judge(report.faults, kills, interruptions.look());
  const written = Date.now() + 30_000;
  for (; verdict.hidden.length > 0 && Date.now() < written; await delay(200)) verdict = judge(report.faults, kills, interruptions.look());
  const { byRouter, byInstance } = verdict.interrupted;
  const counted = await edgeCounter(berth.home, "berth_edge_interrupted_total");
  say(
    `orders: ${numbered(ledgers.flatMap(operationsOf))}; ${String(sum(ledgers, (one) => one.refused))} refused, ${String(sum(ledgers, (one) => one.repeated))} asked again`,
  );
  say(
    `requests: ${String(report.requests)} over ${String(report.connections)} connections, slowest ${String(Math.round(report.slowest))} ms; ${String(verdict.failed.length)} failed; interrupted: ${String(byRouter.length)} with their router, ${String(byInstance.length)} with their instance, each of which the edge reports (its counter says ${String(counted)}); ${String(verdict.reconnected.length)} connected anew`,
  );
  const findings = complaints(verdict, kills, (id) => accessLineOf(berth.home, id));
  say(`release commands: ${String(bell.rung.size)} ran`);
  findings.push(
    ...(await ordersKept(berth, ledgers)),
    ...(await releasesRanOnce(berth, bell.rung)),
    ...(await nothingLeft(berth, apiPort, manager.pid ?? 0)),
  );
  await manager.stop();
  await berth.server("stop", "--all");
  const left = await processesLeft(berth.home);
  findings.push(...left, ...nothingUncaught(berth.home));
  for (const { pid } of kills)
    if (startOf(pid) !== undefined && left.some((text) => text.includes(` ${String(pid)} `)))
      findings.push(`${String(pid)} was killed and lives`);
  for (const finding of findings) say(finding);
  return { findings, kills: kills.length, requests: report.requests, interrupted: byRouter.length + byInstance.length };
}

/** What clients saw and no kill explains, and where clients and the edge tell different stories. */
function complaints({ failed, hidden, made }: Verdict, kills: readonly Kill[], lineOf: (requestId: string) => string): string[] {
  const says = (faults: Verdict["failed"]): string => [told(faults, kills), ...faults.slice(0, 5).map(({ id }) => lineOf(id))].join("\n");
  return [
    ...(failed.length === 0 ? [] : [`${String(failed.length)} requests failed:\n${says(failed)}`]),
    ...(hidden.length === 0 ? [] : [`${String(hidden.length)} requests were interrupted, and the edge does not say so:\n${says(hidden)}`]),
    ...(made.length === 0 ? [] : [`the edge reports as interrupted what its clients got whole: ${made.join(" ")}`]),
  ];
}

function fail(): never {
  throw new Error("every ledger has its actor");
}

function operationsOf(ledger: Ledger): string[] {
  return Object.entries(ledger.accepted).flatMap(([operation, count]) => Array.from({ length: count }, () => operation));
}

function sum<T>(list: readonly T[], of: (item: T) => number): number {
  return list.reduce((total, item) => total + of(item), 0);
}

/** One that stays free while the control plane is dead: not of those that the system gives to whoever asks for any, and to connections, nor of Berth's own for instances. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 1_000);
    if (await isFree(port)) return port;
  }
}
