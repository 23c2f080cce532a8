// One container that Berth made: started, watched, probed, ended with grace. The daemon keeps the order that it was made by and starts it again after a crash;
// what only Berth knows (readiness, causes, an order to stop) lies in a small file, so that another agent process goes on (promise 2).
import type { Say } from "../complaints.ts";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { DockerError } from "../../docker/errors.ts";
import { diskFullCause, saysDiskFull, scarceRoomOf } from "../../docker/room.ts";
import { portNumbers } from "../../core/ports.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import type { Instance as InstanceView } from "../../engines/engine.ts";
import { errorText, touchFolder, writeJson } from "../agent/files.ts";
import type { Prober, StallWatch } from "../agent/prober.ts";
import { createProber, takeOut } from "../agent/probing.ts";
import { freshState, orderEnd, readState, startsAgain, type State } from "../agent/record.ts";
import { Steps } from "../agent/steps.ts";
import { isReady, viewOf } from "../agent/view.ts";
import type { Daemon, Inspected } from "./daemon.ts";
import { containerCause, endCause, exitOf, startCause, type Subject } from "./causes.ts";
import { runInContainer } from "./exec.ts";

/** ms: pauses before Berth itself starts what the daemon did not, the time after which an instance counts as having come up, and the one after which it counts as steady. */
const backoff = { first: 1_000, most: 30_000 };
const proven = 10_000;
const steadyAfter = 60_000;
/** ms between two looks at the port of a component that named no probe: the daemon tells of its end, and the router of a refused connection. */
const unaskedPeriod = 30_000;

export interface ContainedDeps {
  readonly daemon: Daemon;
  /** Folders of instances or of tasks. */
  readonly folder: string;
  readonly logsDir: string;
  readonly stalls: StallWatch;
  readonly now: () => number;
  readonly say: Say;
  /** Something that `observe` shows has changed. */
  readonly onChange: (one: Contained) => void;
  readonly onReady: (one: Contained, ready: boolean) => void;
  /** It ended for good, or somebody removed it. */
  readonly onGone: (one: Contained) => void;
}

export class Contained {
  readonly spec: ContainerOrder;
  /** The daemon's id. */
  readonly container: string;
  readonly dir: string;
  readonly #deps: ContainedDeps;
  readonly #state: State;
  readonly #subject: Subject;
  #prober: Prober | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Of the run that is probed: its start. */
  #probed: number | undefined;
  /** How a run ended that was over before anybody looked. */
  #told: { readonly exitCode: number; readonly at: number } | undefined;
  /** What kept its place from starting it last. */
  #refused: string | undefined;
  readonly #looks: Steps;

  constructor(order: ContainerOrder, container: string, deps: ContainedDeps) {
    this.spec = order;
    this.container = container;
    this.dir = join(deps.folder, order.id);
    this.#deps = deps;
    // Containers outlive a boot of the machine.
    this.#state = readState(join(this.dir, "state.json"), "");
    this.#subject = {
      id: order.id,
      workload: order.workload,
      ports: portNumbers(order.workload.ports),
      ...(order.task === undefined ? {} : { task: order.task }),
    };
    this.#looks = new Steps(
      () => this.#step(),
      (error) => deps.say("container not looked at", { instance: order.id, error: errorText(error) }),
    );
  }

  /** The folder for one that was just made, or whose folder was lost. The collector reads its output from then on. */
  static open(order: ContainerOrder, container: string, deps: ContainedDeps): Contained {
    const dir = join(deps.folder, order.id);
    if (!existsSync(join(dir, "log.json"))) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      if (!existsSync(join(dir, "state.json"))) writeJson(join(dir, "state.json"), freshState(""));
      writeJson(join(dir, "log.json"), {
        stack: order.ref.stack,
        component: order.ref.component,
        instance: order.id,
        secrets: order.workload.secretValues,
        container: { id: container, tty: order.task?.tty === true, of: deps.daemon.outputOf },
      });
      touchFolder(dir);
    }
    return new Contained(order, container, deps);
  }

  get id(): string {
    return this.spec.id;
  }
  get state(): Readonly<State> {
    return this.#state;
  }
  get ready(): boolean {
    return isReady(this.#state);
  }
  get stopping(): boolean {
    return this.#state.phase === "stopping";
  }

  /** Lets go of it; it runs on. */
  close(): void {
    this.#looks.close();
    clearTimeout(this.#timer);
    this.#prober?.stop();
  }

  /** SIGTERM now, SIGKILL after `grace` ms. A shorter grace of a later call wins. */
  stop(grace: number): void {
    if (orderEnd(this.#state, this.#deps.now() + grace)) {
      this.#prober?.stop();
      this.#notReady();
    }
    this.#save();
    this.look();
  }

  /** Ends the current run for a reason of Berth's own; the restart policy decides what follows. */
  end(why: Cause): void {
    const state = this.#state;
    if (state.ending !== undefined || state.phase !== "running") return;
    this.#prober?.stop();
    state.ending = why;
    this.#notReady();
    this.#save();
    const { gracePeriod } = this.spec.workload;
    const seconds = Math.ceil(gracePeriod / 1_000);
    const again = this.spec.task === undefined && this.spec.workload.restart !== "never";
    const ending = again ? this.#deps.daemon.restart(this.container, seconds) : this.#deps.daemon.stop(this.container, seconds);
    this.#mind(ending, "not ended");
  }

  /** A run ended, says the daemon: it may have begun the next one already. */
  noteEnd(exitCode: number, at: number): void {
    this.#told = { exitCode, at };
    this.look();
  }

  /** Asks the daemon how it is and does what is due. Called on every hint and by a sweep. */
  look(): void {
    this.#looks.wish();
  }

  async #step(): Promise<void> {
    const { phase } = this.#state;
    if (phase === "exited" && existsSync(join(this.dir, "ended"))) return;
    const seen = await this.#deps.daemon.inspect(this.container);
    if (this.#looks.closed) return;
    if (seen === undefined) return this.#gone();
    this.#follow(seen);
    if (this.stopping) return this.#end(seen);
    await this.#startIfDue(seen);
  }

  /** Takes note of runs that began and ended. */
  #follow(seen: Inspected): void {
    const state = this.#state;
    const began = instant(seen.State.StartedAt);
    const isNew = began !== undefined && began !== state.startedAt;
    if (isNew) {
      if (state.live) this.#ended(this.#told === undefined ? {} : exitOf(this.#told.exitCode), this.#told?.at ?? began);
      this.#begin(began, seen);
    }
    if (seen.State.Running && !seen.State.Restarting) {
      if (seen.leaving === true) this.#leave();
      else if (state.phase !== "stopping" && this.#probed !== began) this.#probe(began);
      return;
    }
    if (seen.refused !== undefined && state.phase !== "stopping") this.#refuse(seen.refused);
    if (state.live) this.#ended(exitOf(seen.State.ExitCode, seen.State.OOMKilled), instant(seen.State.FinishedAt) ?? this.#deps.now());
  }

  /** Its place ends it, and starts it again elsewhere: no new requests from now on. */
  #leave(): void {
    this.#prober?.stop();
    this.#notReady();
    this.#deps.onChange(this);
  }

  /** The place cannot start the next run, and goes on trying. */
  #refuse(reason: string): void {
    const state = this.#state;
    if (this.#refused === reason) return;
    this.#refused = reason;
    state.lastCause = startCause(this.#subject, { message: reason });
    state.run = Math.max(1, state.run);
    this.#save();
    this.#deps.onChange(this);
  }

  #begin(at: number, seen: Inspected): void {
    const state = this.#state;
    state.run += 1;
    if (state.run > 1) state.restarts += 1;
    state.restarts = Math.max(state.restarts, seen.RestartCount);
    Object.assign(state, { live: true, startedAt: at, started: false, ready: false } satisfies Partial<State>);
    delete state.readySince;
    delete state.ending;
    if (state.phase !== "stopping") state.phase = "running";
    this.#told = undefined;
    this.#refused = undefined;
    this.#save();
    // The collector opens the log again.
    writeJson(join(this.dir, "run"), state.run);
    touchFolder(this.dir);
    this.#deps.onChange(this);
  }

  #ended(exit: ReturnType<typeof exitOf>, at: number): void {
    const state = this.#state;
    this.#prober?.stop();
    this.#probed = undefined;
    this.#notReady();
    const ranFor = Math.max(0, at - (state.startedAt ?? at));
    const { outOfMemory = false, ...how } = exit;
    state.lastExit = { at: new Date(at).toISOString(), ...how, ranFor, outOfMemory };
    state.lastEnd = outOfMemory ? { trouble: { memoryKills: 1, memoryPeak: undefined, processesRefused: 0 } } : {};
    state.everReady ||= ranFor >= proven;
    state.lastCause = state.ending ?? endCause(this.#subject, state, exit, []);
    state.live = false;
    if (ranFor >= steadyAfter) state.failures = 0;
    const wanted = startsAgain(this.spec, state, exit.exitCode);
    delete state.ending;
    if (state.phase !== "stopping") {
      state.phase = wanted ? "waiting" : "exited";
      state.wakeAt = at + Math.min(backoff.most, backoff.first * 2 ** state.failures);
      state.failures = Math.min(20, state.failures + 1);
    }
    this.#save();
    this.#deps.onChange(this);
  }

  /** What is new, and what the daemon does not start again by itself: after a stop by hand, or where it has no policy that works. */
  async #startIfDue(seen: Inspected): Promise<void> {
    const state = this.#state;
    if (seen.State.Running || seen.State.Restarting || state.phase === "exited" || state.phase === "stopping") return;
    const wait = state.run === 0 ? 0 : state.wakeAt - this.#deps.now();
    if (wait > 0) return this.#wake(wait);
    try {
      await this.#deps.daemon.start(this.container);
      this.look();
    } catch (error) {
      if (!(error instanceof DockerError)) throw error;
      if (error.status === 404) return this.#gone();
      state.lastCause = saysDiskFull(error.message)
        ? await diskFullCause(this.#deps.daemon.api, "its container", error.message)
        : startCause(this.#subject, error);
      state.phase = this.spec.task === undefined ? "waiting" : "exited";
      state.run = Math.max(1, state.run);
      state.wakeAt = this.#deps.now() + Math.min(backoff.most, backoff.first * 2 ** state.failures);
      state.failures = Math.min(20, state.failures + 1);
      this.#save();
      this.#wake(state.wakeAt - this.#deps.now());
      this.#deps.onChange(this);
    }
  }

  #end(seen: Inspected): void {
    const state = this.#state;
    const now = this.#deps.now();
    if (!seen.State.Running && !seen.State.Restarting) {
      // A start of ours may be on its way: the stop below is then asked once more.
      if (seen.State.Status !== "created" || state.termed === true) return this.#rest();
    }
    const left = (state.killAt ?? now) - now;
    if (state.termed !== true) {
      state.termed = true;
      this.#save();
      // Also ends the daemon's own starting again.
      this.#mind(
        this.#deps.daemon.stop(this.container, Math.max(0, Math.ceil(left / 1_000))).finally(() => this.look()),
        "not stopped",
      );
    }
    if (left > 0) this.#wake(left);
    else
      this.#mind(
        this.#deps.daemon.kill(this.container, "SIGKILL").finally(() => this.#wake(200)),
        "not killed",
      );
  }

  #rest(): void {
    Object.assign(this.#state, { phase: "exited", live: false } satisfies Partial<State>);
    this.#save();
    this.#deps.onChange(this);
    this.#deps.onGone(this);
  }

  /** Somebody removed the container. */
  #gone(): void {
    this.#prober?.stop();
    this.#notReady();
    Object.assign(this.#state, { phase: "exited", live: false } satisfies Partial<State>);
    this.#state.lastCause ??= cause("run_lost", { reason: "its container was removed" });
    this.#save();
    this.#deps.onChange(this);
    this.#deps.onGone(this);
  }

  #probe(began: number | undefined): void {
    const { stalls, now, onReady, onChange } = this.#deps;
    this.#prober?.stop();
    this.#probed = began;
    this.#prober = createProber({
      workload: this.spec.workload,
      // A container has a network of its own: nobody else answers at its address.
      place: { host: this.spec.address, ports: this.#subject.ports, mapped: {}, unaskedPeriod, confirm: () => true },
      state: this.#state,
      stalls,
      now,
      run: (command, signal) => this.run(command, signal),
      onReady: (ready) => onReady(this, ready),
      onChange: () => {
        this.#save();
        onChange(this);
      },
      onFailed: (why) => this.end(why),
    });
    this.#prober.start();
  }

  /** Runs a command in it, as its user and with its environment. */
  run(command: Command, signal: AbortSignal): Promise<{ readonly code: number | undefined; readonly output: string }> {
    return runInContainer(this.#deps.daemon, this.container, command, signal);
  }

  /** What `observe` shows. */
  async view(): Promise<InstanceView> {
    const { logsDir, now } = this.#deps;
    const why =
      this.ready || this.stopping
        ? undefined
        : await containerCause({
            subject: this.#subject,
            ref: this.spec.ref,
            state: this.#state,
            logsDir,
            dir: this.dir,
            now,
            scarceRoom: () => scarceRoomOf(this.#deps.daemon.api),
            run: (command, signal) => this.run(command, signal),
          });
    const { id, track, restart, workload, address } = this.spec;
    return viewOf({ id, track, restart, workload, ports: this.#subject.ports, host: address }, this.#state, undefined, why);
  }

  #notReady(): void {
    takeOut(this.#state, (ready) => this.#deps.onReady(this, ready));
  }

  #mind(work: Promise<unknown>, what: string): void {
    work.catch((error: unknown) => this.#deps.say(what, { instance: this.id, error: errorText(error) }));
  }

  #wake(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), ms);
  }

  #save(): void {
    writeJson(join(this.dir, "state.json"), this.#state);
  }
}

/** Unix ms; undefined for the year 1, which stands for never. */
function instant(text: string): number | undefined {
  const at = Date.parse(text);
  return Number.isNaN(at) || at <= 0 ? undefined : at;
}
