// One supervised instance: started, watched, probed, started again after a pause, ended with grace. Everything it knows is on disk before it matters,
// so that another agent process can go on with the same process ids (promise 2). It decides nothing about how many there should be.
import { mkdirSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Instance as InstanceView } from "../../engines/engine.ts";
import type { Group } from "../../sandbox/cgroups.ts";
import { writeDurably } from "../../os/files.ts";
import { isAlive } from "../../os/process.ts";
import { CauseFinder } from "./causes.ts";
import { runCommand } from "./command.ts";
import { exitCause } from "../../engines/exitcause.ts";
import { portOwner } from "./diagnose.ts";
import { errorText, touchFolder, writeJson } from "./files.ts";
import { doorkeepers, intruderAt, type Listener } from "./listening.ts";
import { makePipes, writeProgram, type Beside, type Program } from "./launch.ts";
import { programOf, StartRefused, type Machine } from "./machine.ts";
import { hasPipes, Pipes } from "./pipes.ts";
import type { Prober, StallWatch } from "./prober.ts";
import { ownPorts } from "./own-ports.ts";
import { createProber, takeOut } from "./probing.ts";
import { signalAll, signalGroup, type TreeUsage } from "./procfs.ts";
import { freshState, orderEnd, readState, startsAgain, type Spec, type State } from "./record.ts";
import { Run } from "./run.ts";
import { claimRun, endShim, exitedAt, pidOfProgram, readExit, readPids, spawnShim, type ExitStatus } from "./shim.ts";
import { Steps } from "./steps.ts";
import { isReady, viewOf } from "./view.ts";

/** ms: pause before the first new start, the longest pause, how long a shim may take to report, how long its exit file may lag behind, and after which time an instance counts as having come up. */
const backoff = { first: 100, most: 30_000 };
const launchPatience = 10_000;
const exitPatience = 1_000;
const proven = 10_000;

export interface InstanceDeps {
  readonly machine: Machine;
  readonly stalls: StallWatch;
  /** Something that `observe` shows has changed. */
  readonly onChange: (instance: Supervised) => void;
  readonly onReady: (instance: Supervised, ready: boolean) => void;
  /** It ended for good and all its processes are gone. */
  readonly onGone: (instance: Supervised) => void;
}

export class Supervised {
  readonly spec: Spec;
  readonly dir: string;
  readonly #deps: InstanceDeps;
  readonly #state: State;
  readonly #run: Run;
  #pipes: Pipes | undefined;
  #watcher: FSWatcher | undefined;
  #prober: Prober | undefined;
  #timer: NodeJS.Timeout | undefined;
  #program: Program | undefined;
  readonly #steps: Steps;
  #deadSince: number | undefined;
  /** Sockets behind its ports, as they were when they were seen to be its own. */
  #doors: string | undefined;
  readonly #causes: CauseFinder;

  constructor(spec: Spec, dir: string, state: State, deps: InstanceDeps) {
    this.spec = spec;
    this.dir = dir;
    this.#state = state;
    this.#deps = deps;
    this.#run = new Run(deps.machine, spec.id, state);
    this.#causes = new CauseFinder(deps.machine, spec);
    this.#steps = new Steps(
      () => this.#step(),
      (error) => deps.machine.say("instance step failed", { instance: spec.id, error: errorText(error) }),
    );
  }

  /** Makes the pipes, writes the order down and begins. After this returned, a crash of the agent does not lose the instance. */
  static async create(spec: Spec, dir: string, deps: InstanceDeps): Promise<Supervised> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    await makePipes(dir, deps.machine.stacks.open(spec.workload.stackId).user);
    writeJson(join(dir, "log.json"), {
      stack: spec.ref.stack,
      component: spec.ref.component,
      instance: spec.id,
      secrets: spec.workload.secretValues,
    });
    touchFolder(dir);
    // Whoever asks the agent something meanwhile does not wait for the disk.
    await writeDurably(join(dir, "spec.json"), JSON.stringify(spec));
    const instance = new Supervised(spec, dir, freshState(deps.machine.boot), deps);
    instance.#open();
    instance.advance();
    return instance;
  }

  /** Goes on with an instance of an earlier agent process. */
  static adopt(spec: Spec, dir: string, deps: InstanceDeps): Supervised {
    const { machine } = deps;
    const state = readState(join(dir, "state.json"), machine.boot);
    const instance = new Supervised(spec, dir, state, deps);
    instance.#open();
    if (state.boot !== machine.boot) instance.#afterReboot();
    else if (state.phase === "running") instance.#probe();
    else if (state.phase === "launched") instance.#resumeLaunch();
    // Not before the caller knows it: it may have ended meanwhile, and then its first step is its last.
    queueMicrotask(() => instance.advance());
    return instance;
  }

  /** Holds the pipes of an instance that ended for good, until its last lines are read. */
  static departed(spec: Spec, dir: string, deps: InstanceDeps): Supervised {
    const instance = new Supervised(spec, dir, { ...readState(join(dir, "state.json"), deps.machine.boot), phase: "exited" }, deps);
    if (hasPipes(dir)) instance.#pipes = new Pipes(dir);
    return instance;
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

  /** Nothing is due but its end, and of that a file in its folder tells: a sweep looks for one that nothing told of (its shim was killed too). */
  get steady(): boolean {
    return this.#state.phase === "running" && this.ready && this.#state.ending === undefined;
  }

  /** Leaves the process running and lets go of everything this agent holds. */
  close(): void {
    this.#steps.close();
    clearTimeout(this.#timer);
    this.#prober?.stop();
    this.#watcher?.close();
    this.#pipes?.close();
    this.#pipes = undefined;
  }

  /** SIGTERM now, SIGKILL to everything left after `grace` ms. A shorter grace of a later call wins. */
  stop(grace: number): void {
    if (orderEnd(this.#state, this.#deps.machine.now() + grace)) {
      this.#prober?.stop();
      this.#notReady();
    }
    this.#save();
    this.advance();
  }

  /** Ends the current run for a reason of Berth's own; the restart policy decides what follows. */
  end(why: Cause): void {
    const state = this.#state;
    if (state.ending !== undefined || (state.phase !== "running" && state.phase !== "launched")) return;
    this.#prober?.stop();
    state.ending = why;
    state.killAt = this.#deps.machine.now() + this.spec.workload.gracePeriod;
    this.#notReady();
    this.#save();
    this.advance();
  }

  /** Looks at the world and does what is due. Cheap when nothing is; called on every hint and by a sweep. */
  advance(): void {
    this.#steps.wish();
  }

  async #step(): Promise<void> {
    const state = this.#state;
    const now = this.#deps.machine.now();
    switch (state.phase) {
      case "waiting":
        if (now >= state.wakeAt) await this.#launch();
        else this.#wake(state.wakeAt - now);
        return;
      case "launched":
      case "running":
        return this.#follow(now);
      case "stopping":
        return this.#end(now);
      case "exited":
        return;
      default:
        throw new Error(`unknown phase ${String(state.phase satisfies never)}`);
    }
  }

  async #launch(): Promise<void> {
    const { machine } = this.#deps;
    const state = this.#state;
    const run = state.run + 1;
    let group: { readonly name: string; readonly group: Group } | undefined;
    try {
      this.#program = await this.#newProgram();
      group = machine.groups?.begin(this.id, run, this.spec.workload.resources);
      writeProgram(this.#program, group?.group);
    } catch (error) {
      if (group !== undefined) machine.groups?.end(group.name);
      return this.#cannotStart(error instanceof StartRefused ? error.failure : cause("start_failed", { reason: errorText(error) }));
    }
    if (this.#steps.closed || this.#state.phase !== "waiting") return;
    Object.assign(state, {
      phase: "launched",
      run,
      sandboxed: this.#program.view !== undefined,
      live: true,
      boot: machine.boot,
      startedAt: machine.now(),
      started: false,
      ready: false,
    } satisfies Partial<State>);
    for (const key of ["shim", "program", "readySince", "ending", "killAt", "termed", "group"] as const) delete state[key];
    if (group !== undefined) state.group = group.name;
    // Before the start: whoever finds this record knows that a process of this run may exist.
    this.#save();
    try {
      await spawnShim(machine.shim, this.dir, state.run);
    } catch (error) {
      // The machine is out of processes or memory: tried again after a pause, like a crash.
      return this.#cannotStart(cause("start_failed", { reason: errorText(error) }));
    }
    this.#wake(launchPatience);
  }

  #cannotStart(why: Cause): void {
    if (this.#steps.closed || this.#state.phase === "stopping") return;
    this.#state.lastCause = why;
    if (this.spec.task === undefined) this.#startLater();
    else this.#rest();
  }

  /** launched, running: takes note of the process and of its end. */
  #follow(now: number): void {
    const state = this.#state;
    this.#learnPids();
    if (state.phase === "launched" && state.program !== undefined) {
      state.phase = "running";
      this.#save();
      this.#probe();
      this.#deps.onChange(this);
    }
    if (state.ending !== undefined) this.#signalWhenDue(now);
    const exit = this.#exitNow(now);
    if (exit !== undefined) this.#ended(exit);
    else if (state.phase === "launched" && now - (state.startedAt ?? now) > launchPatience) {
      // One that has it already must not begin beside the next run.
      if (!claimRun(this.dir, state.run)) endShim(this.dir, state.run);
      this.#run.kill();
      this.#cannotStart(cause("start_failed", { reason: "the process did not begin" }));
    }
  }

  #learnPids(): void {
    if (this.#state.program !== undefined || this.#state.run === 0) return;
    const pids = readPids(this.dir, this.#state.run, this.#state.sandboxed === true);
    if (pids !== undefined) Object.assign(this.#state, pids);
  }

  /** How the current run ended; undefined while it lives. A program whose shim was killed leaves no status. */
  #exitNow(now: number): ExitStatus | undefined {
    const state = this.#state;
    const exit = readExit(this.dir, state.run);
    if (exit !== undefined) return exit;
    if (state.program === undefined || isAlive(state.program)) {
      this.#deadSince = undefined;
      return undefined;
    }
    this.#deadSince ??= now;
    return now - this.#deadSince > exitPatience || (state.shim !== undefined && !isAlive(state.shim)) ? {} : undefined;
  }

  #signalWhenDue(now: number): void {
    const state = this.#state;
    if (state.program === undefined) return;
    if (state.termed !== true) {
      state.termed = true;
      this.#save();
      signalGroup(state.program, "SIGTERM");
      this.#wake(Math.max(0, (state.killAt ?? now) - now));
    }
    if (now >= (state.killAt ?? now)) this.#run.kill();
  }

  #ended(exit: ExitStatus): void {
    const { machine } = this.#deps;
    const state = this.#state;
    this.#prober?.stop();
    this.#deadSince = undefined;
    const trouble = this.#run.trouble();
    const left = exit.left ?? (state.sandboxed === true ? [] : this.#run.members().map((one) => one.name));
    state.lastEnd = {
      ...(trouble === undefined ? {} : { trouble }),
      ...(exit.unmade === undefined ? {} : { unmade: exit.unmade }),
      ...(left.length === 0 ? {} : { left: left.slice(0, 5) }),
    };
    // A child that outlived its program would hold the port and the volume against the next run.
    this.#run.kill();
    this.#run.close();
    endShim(this.dir, state.run);
    this.#notReady();
    const { ranFor } = this.#noteExit(exit);
    // Without a check only time tells that it had come up.
    state.everReady ||= ranFor >= proven;
    const wanted = startsAgain(this.spec, state, exit.exitCode);
    state.lastCause = state.ending ?? exitCause({ ...this.spec, ownerOf: portOwner }, state, exit, []);
    this.#causes.forget();
    if (ranFor >= machine.steadyAfter) state.failures = 0;
    state.live = false;
    for (const key of ["ending", "killAt", "termed", "shim", "program", "group"] as const) delete state[key];
    if (wanted) this.#startLater();
    else this.#rest();
  }

  #noteExit(exit: ExitStatus): NonNullable<State["lastExit"]> {
    const at = exitedAt(this.dir, this.#state.run) ?? this.#deps.machine.now();
    this.#state.lastExit = {
      at: new Date(at).toISOString(),
      ...exit,
      ranFor: Math.max(0, at - (this.#state.startedAt ?? at)),
      outOfMemory: (this.#state.lastEnd?.trouble?.memoryKills ?? 0) > 0,
    };
    return this.#state.lastExit;
  }

  #rest(): void {
    Object.assign(this.#state, { phase: "exited", live: false } satisfies Partial<State>);
    this.#save();
    this.#deps.onChange(this);
  }

  #startLater(): void {
    const state = this.#state;
    const pause = Math.min(backoff.most, backoff.first * 2 ** state.failures);
    Object.assign(state, {
      phase: "waiting",
      live: false,
      failures: Math.min(20, state.failures + 1),
      wakeAt: this.#deps.machine.now() + pause,
    } satisfies Partial<State>);
    if (state.run > 0) state.restarts += 1;
    this.#save();
    this.#wake(pause);
    this.#deps.onChange(this);
  }

  #end(now: number): void {
    const state = this.#state;
    this.#learnPids();
    // Launched a moment ago: either the shim reports soon, or it never had the right to begin.
    const unknown = state.live && state.program === undefined && readExit(this.dir, state.run) === undefined;
    if (unknown && now - (state.startedAt ?? now) < launchPatience && !claimRun(this.dir, state.run)) return;
    this.#signalWhenDue(now);
    if (state.live && state.program !== undefined && this.#exitNow(now) === undefined) return;
    const left = this.#run.members();
    if (left.length > 0) return now >= (state.killAt ?? now) ? this.#run.kill() : signalAll(left, "SIGTERM");
    this.#run.close();
    state.lastEnd = {};
    if (state.live) {
      this.#noteExit(readExit(this.dir, state.run) ?? {});
      endShim(this.dir, state.run);
    }
    this.#rest();
    this.#deps.onGone(this);
  }

  /** The earlier agent died between the record and the shim's report: if no shim has claimed the run, none ever will. */
  #resumeLaunch(): void {
    this.#learnPids();
    const state = this.#state;
    if (state.program !== undefined || readExit(this.dir, state.run) !== undefined || !claimRun(this.dir, state.run)) return;
    if (this.spec.task === undefined) Object.assign(state, { phase: "waiting", live: false, wakeAt: 0 } satisfies Partial<State>);
    else this.#cannotStart(cause("run_lost", { reason: "Berth was ended while it started" }));
  }

  #afterReboot(): void {
    const state = this.#state;
    const told = state.phase;
    state.live = false;
    for (const key of ["shim", "program", "ending", "termed", "group"] as const) delete state[key];
    Object.assign(state, { boot: this.#deps.machine.boot, ready: false, failures: 0, wakeAt: 0 } satisfies Partial<State>);
    if (told === "launched" || told === "running") {
      state.phase = this.spec.task === undefined ? "waiting" : "exited";
      if (this.spec.task !== undefined) state.lastCause = cause("run_lost", { reason: "the machine was restarted meanwhile" });
    }
    this.#save();
  }

  #probe(): void {
    const { machine, stalls, onReady, onChange } = this.#deps;
    this.#prober?.stop();
    this.#prober = createProber({
      workload: this.spec.workload,
      place: ownPorts(this.spec, () => this.#run.members()),
      state: this.#state,
      stalls,
      now: machine.now,
      run: (command, signal) => this.run(command, signal),
      onReady: (ready) => onReady(this, ready),
      onChange: () => {
        this.#save();
        onChange(this);
      },
      onFailed: (why) => this.end(why),
    });
    this.#doors = undefined;
    this.#prober.start();
  }

  /** Runs a command beside the program: same user, folder, environment and volumes. */
  async run(command: Program["command"], signal: AbortSignal): Promise<{ readonly code: number | undefined; readonly output: string }> {
    return runCommand(await this.program(command, false), this.beside(), signal);
  }

  beside(): Beside {
    return this.#run.beside();
  }

  async program(command: Program["command"], tty: boolean): Promise<Program> {
    this.#program ??= await this.#newProgram();
    const { view, ...rest } = this.#program;
    // A run that an earlier version of Berth began without a sandbox has none to join.
    const without = view === undefined || (this.#state.live && this.#state.sandboxed !== true);
    return { ...rest, ...(without ? {} : { view }), command, tty };
  }

  #newProgram(): Promise<Program> {
    const {
      id,
      dir,
      spec: { workload, ports, task },
    } = this;
    return programOf(this.#deps.machine, { id, dir, workload, command: task?.command ?? workload.command, ports, tty: task?.tty ?? false });
  }

  #notReady(): void {
    takeOut(this.#state, (ready) => this.#deps.onReady(this, ready));
  }

  /** What `observe` shows. Evidence for the cause is gathered here, not earlier: log lines arrive a little after the exit. */
  async view(): Promise<InstanceView> {
    const why = await this.#causes.find(this.#state, () => this.#run.members());
    return viewOf(this.spec, this.#state, pidOfProgram(this.#state), this.ready ? undefined : why);
  }

  /**
   * Looks whether its own processes still answer on its ports, and takes it out of traffic when somebody else does: whoever listens after it closed its
   * socket, or shares it. `open` are all listening sockets of this machine.
   */
  checkDoors(open: readonly Listener[]): void {
    if (!this.ready) return;
    const ports = Object.values(this.spec.ports);
    const keepers = ports
      .map((port) =>
        doorkeepers(port, open)
          .map((one) => one.inode)
          .join("+"),
      )
      .join(",");
    if (keepers === this.#doors) return;
    // Nobody answers there any more: the probe says so at once instead of at its next turn.
    if (ports.some((port) => doorkeepers(port, open).length === 0)) this.#prober?.hurry();
    const members = this.#run.members();
    if (ports.some((port) => intruderAt(port, members, open) !== undefined)) this.#prober?.distrust();
    else this.#doors = keepers;
  }

  usage(): TreeUsage {
    return this.#state.phase === "waiting" || this.#state.phase === "exited"
      ? { cpuSeconds: 0, memory: 0, processes: 0 }
      : this.#run.usage();
  }

  #open(): void {
    this.#pipes = new Pipes(this.dir);
    this.#watcher = watch(this.dir, (_event, name) => {
      if (name?.startsWith("pid-") === true || name?.startsWith("info-") === true || name?.startsWith("exit-") === true) this.advance();
    });
    this.#watcher.on("error", (error) => this.#deps.machine.say("watch failed", { instance: this.id, error: error.message }));
  }

  #wake(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.advance(), ms);
  }

  #save(): void {
    writeJson(join(this.dir, "state.json"), this.#state);
  }
}
