// Keeps what the agent knows in step with the daemon: one stream of events for all containers, and a look at everything when the stream was away.
import type { Say } from "../complaints.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { label, readOrder, type ContainerOrder } from "../../engines/docker/labels.ts";
import { errorText } from "../agent/files.ts";
import type { Contained } from "./contained.ts";
import type { Daemon, DaemonEvent } from "./daemon.ts";

/** ms: how long an unreachable daemon is left alone, and how often everything is looked at even without a hint. */
const pause = { first: 200, most: 5_000 };
const resyncPeriod = 60_000;
/** Of so many looks at what seems to be as it should one is close: a run that began unnoticed does not show in the daemon's list. */
const closeLook = 10;

/** Who is told: instances and tasks. */
export interface Watched {
  adopt(order: ContainerOrder, container: string): void;
  members(): Iterable<Contained>;
  started(): void;
}

export interface WatchDeps {
  readonly daemon: Daemon;
  readonly instances: Watched;
  readonly tasks: Watched;
  readonly say: Say;
}

/** Actions that change nothing that Berth looks at: those of health checks and of exec calls come by the hundred. */
const irrelevant = /^(exec_|health_status|attach|top|resize|archive-|export|copy|commit)/;

/** Runs until the signal. `onFirst` is called when everything that the daemon has is known, `onAway` whenever it cannot be reached. */
export async function watchDaemon(
  deps: WatchDeps,
  onFirst: () => Promise<void>,
  onAway: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let wait = pause.first;
  let first = true;
  while (!signal.aborted) {
    const life = new AbortController();
    const both = AbortSignal.any([signal, life.signal]);
    const events = follow(deps, both);
    // Awaited below, after what the daemon has.
    events.catch(() => undefined);
    try {
      await adoptAll(deps);
      if (first) {
        deps.instances.started();
        deps.tasks.started();
        await onFirst();
        first = false;
      }
      wait = pause.first;
      let round = 0;
      const resync = setInterval(() => {
        round += 1;
        // When the daemon is away the stream ends as well, and that is told below.
        lookAgain(deps, round).catch((error: unknown) => deps.say("not looked at", { error: errorText(error) }));
      }, resyncPeriod);
      await events.finally(() => clearInterval(resync));
    } catch (error) {
      if (signal.aborted) return;
      onAway(error);
      deps.say("daemon away", { daemon: deps.daemon.api.name, error: errorText(error) });
    }
    life.abort();
    await events.catch(() => undefined);
    await sleep(wait, undefined, { signal }).catch(() => undefined);
    wait = Math.min(pause.most, wait * 2);
  }
}

async function adoptAll(deps: WatchDeps): Promise<void> {
  const { daemon, instances, tasks, say } = deps;
  for (const id of (await daemon.list()).keys()) {
    const seen = await daemon.inspect(id);
    if (seen === undefined) continue;
    const order = orderOf(seen.Config.Labels ?? {}, seen.Config.Env ?? []);
    if (order === undefined) say("container of another version", { container: seen.Name });
    else (order.task === undefined ? instances : tasks).adopt(order, id);
  }
  lookAtAll(deps);
}

/** The order of a container of Berth's; undefined for one that this version cannot read. */
function orderOf(labels: Readonly<Record<string, string>>, environment: readonly string[]): ContainerOrder | undefined {
  const role = labels[label.role];
  return role === "instance" || role === "task" ? readOrder(labels, environment) : undefined;
}

function lookAtAll({ instances, tasks }: WatchDeps): void {
  for (const one of [...instances.members(), ...tasks.members()]) one.look();
}

/** By one call to the daemon, however many there are; what is not as it should be gets a look of its own. */
async function lookAgain({ daemon, instances, tasks }: WatchDeps, round: number): Promise<void> {
  const states = await daemon.list();
  for (const [place, one] of [...instances.members(), ...tasks.members()].entries())
    if (one.state.phase !== "running" || states.get(one.container) !== "running" || (place + round) % closeLook === 0) one.look();
}

async function follow({ daemon, instances, tasks }: WatchDeps, signal: AbortSignal): Promise<void> {
  for await (const event of daemon.events(signal)) {
    if (irrelevant.test(event.Action)) continue;
    const ended = endOf(event);
    for (const one of [...instances.members(), ...tasks.members()]) {
      if (one.container !== event.Actor.ID) continue;
      if (ended === undefined) one.look();
      else one.noteEnd(ended.exitCode, ended.at);
    }
  }
}

function endOf({ Action, Actor, timeNano, time }: DaemonEvent): { readonly exitCode: number; readonly at: number } | undefined {
  const code = Actor.Attributes["exitCode"] ?? Actor.Attributes["containerExitCode"];
  if (Action !== "die" && Action !== "died") return undefined;
  if (code === undefined) return undefined;
  return { exitCode: Number(code), at: Math.floor(timeNano === undefined ? (time ?? 0) * 1_000 : timeNano / 1e6) };
}
