// The router processes: started, asked, replaced. An order counts as obeyed only when every living router said so; a router that does not answer is killed and replaced.
import cluster, { type Worker } from "node:cluster";
import type { EdgeConfig } from "../config.ts";
import type { Ref } from "../../engines/engine.ts";
import type { FromRouter, InstanceCounts, ListenerProblem, MetricsSnapshot, StoredEntry, ToRouter, TrackMetrics } from "../ipc.ts";
import { nextPause } from "./children.ts";
import { mergeSnapshots, retired } from "./metrics.ts";

/** ms a router has for an answer: far beyond what work takes, so only one that hangs is killed. */
const answerWithin = 10_000;

type Init = Extract<ToRouter, { type: "init" }>;
type Asked = Extract<ToRouter, { seq: number }>;
type Question = Asked extends infer Q ? (Q extends Asked ? Omit<Q, "seq"> : never) : never;

export interface FleetDeps {
  readonly config: EdgeConfig;
  readonly routerFile: string;
  /** What a new router has to know, as of now. */
  readonly init: () => Init;
  readonly keepMetrics: (track: TrackMetrics) => boolean;
  readonly log: (level: "info" | "warn" | "error", message: string, fields: Record<string, unknown>) => void;
}

interface Router {
  readonly worker: Worker;
  readonly startedAt: number;
  /** A `deaf` one hears nothing yet: it gets all there is by `init`. */
  state: "deaf" | "starting" | "serving" | "retiring";
  readonly pending: Map<number, (answer: FromRouter | undefined) => void>;
  readonly ready: Promise<string | undefined>;
  settleReady: (problem: string | undefined) => void;
  problems: readonly ListenerProblem[];
  last: MetricsSnapshot | undefined;
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #routers = new Set<Router>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #gone: MetricsSnapshot = mergeSnapshots([]);
  #seq = 0;
  #pause = 0;
  #stopping = false;
  restarts = 0;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    // The primary never accepts: routers accept from the shared socket.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ exec: deps.routerFile, args: [], execArgv: [] });
  }

  get pids(): number[] {
    return [...this.#routers].flatMap(({ worker }) => (worker.process.pid === undefined ? [] : [worker.process.pid]));
  }

  /** Resolves when all routers accept; throws with the first one's problem otherwise. */
  async start(): Promise<void> {
    const started = Array.from({ length: this.#deps.config.workers }, () => this.#fork());
    const problems = (await Promise.all(started.map((router) => router.ready))).filter((problem) => problem !== undefined);
    if (problems[0] !== undefined) throw new Error(`the routers cannot listen on ${problems[0]}`);
  }

  /** Puts an entry in force; resolves when every router has it. */
  async apply(stored: StoredEntry): Promise<void> {
    await this.#askAll({ type: "entry", stored });
  }

  readiness(instances: [string, boolean][]): void {
    if (instances.length > 0) this.#tellAll({ type: "readiness", instances });
  }

  tellAll(message: Extract<ToRouter, { type: "retryListeners" | "reopenLog" }>): void {
    this.#tellAll(message);
  }

  /** Counts per instance, retiring routers included: their requests are in flight all the same. */
  async counts(ref: Ref): Promise<InstanceCounts[]> {
    const sums = new Map<string, InstanceCounts>();
    for (const answer of await this.#askAll({ type: "applied", ref })) {
      if (answer.type !== "appliedAnswer") continue;
      for (const one of answer.instances) {
        const known = sums.get(one.instance);
        sums.set(one.instance, known === undefined ? one : { instance: one.instance, inFlight: known.inFlight + one.inFlight, requests: known.requests + one.requests, errors: known.errors + one.errors });
      }
    }
    return [...sums.values()];
  }

  async metrics(): Promise<MetricsSnapshot> {
    await this.#askAll({ type: "metrics" });
    this.#gone = retired(this.#gone, this.#deps.keepMetrics);
    return mergeSnapshots([this.#gone, ...[...this.#routers].flatMap((router) => router.last ?? [])]);
  }

  problems(): ListenerProblem[] {
    const seen = new Map<string, ListenerProblem>();
    for (const router of this.#routers) if (router.state !== "retiring") for (const problem of router.problems) seen.set(`${problem.ref.stack}/${problem.ref.component} ${problem.host} ${String(problem.port)}`, problem);
    return [...seen.values()];
  }

  /** Replaces every router: a new one accepts before the old one stops, so no connection is lost. */
  async reload(): Promise<void> {
    for (const old of [...this.#routers]) if (old.state === "serving") await this.#replace(old);
  }

  /** Lets open requests finish for `grace` ms. */
  async stop(grace: number): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const router of this.#routers) if (router.state === "deaf") router.worker.process.kill("SIGKILL");
    const exits = [...this.#routers].map((router) => new Promise<void>((resolve) => { router.worker.once("exit", () => { resolve(); }); }));
    this.#tellAll({ type: "retire", grace });
    const killer = setTimeout(() => { for (const { worker } of this.#routers) worker.process.kill("SIGKILL"); }, grace + 2_000);
    await Promise.all(exits);
    clearTimeout(killer);
  }

  async #replace(old: Router): Promise<void> {
    const router = this.#fork();
    const problem = await router.ready;
    if (problem !== undefined || this.#stopping) {
      router.worker.process.kill("SIGKILL");
      throw new Error(`a new router cannot take over: ${problem ?? "stopping"}`);
    }
    old.state = "retiring";
    this.#tell(old, { type: "retire", grace: this.#deps.config.retireTimeout });
  }

  #fork(): Router {
    const worker = cluster.fork();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const router: Router = { worker, startedAt: performance.now(), state: "deaf", pending: new Map(), ready: promise, settleReady: resolve, problems: [], last: undefined };
    this.#routers.add(router);
    worker.on("message", (message: FromRouter) => { this.#hear(router, message); });
    worker.on("error", (error) => { this.#deps.log("warn", "a router's channel failed", { err: error.message }); });
    worker.once("exit", (code, signal) => { this.#ended(router, code, signal); });
    return router;
  }

  #hear(router: Router, message: FromRouter): void {
    switch (message.type) {
      case "hearing":
        router.state = "starting";
        this.#tell(router, this.#deps.init());
        return;
      case "listening":
        router.state = router.state === "starting" ? "serving" : router.state;
        router.settleReady(undefined);
        return;
      case "failed": router.settleReady(`${message.message}: ${message.code}`); return;
      case "listeners": router.problems = message.problems; return;
      case "metricsAnswer": router.last = message.snapshot; this.#answer(router, message.seq, message); return;
      case "ack": case "appliedAnswer": this.#answer(router, message.seq, message); return;
      case "broken":
        this.#deps.log("error", "a router caught an unexpected error and is replaced", { pid: router.worker.process.pid, reason: message.reason });
        if (router.state === "serving" && !this.#stopping) void this.#replace(router).catch((error: unknown) => { this.#deps.log("error", "a router could not be replaced", { reason: String(error) }); });
        return;
      default: message satisfies never;
    }
  }

  #ended(router: Router, code: number, signal: string): void {
    this.#routers.delete(router);
    router.settleReady(`the router ended (${signal === "" || signal === null ? `exit code ${String(code)}` : signal})`);
    for (const answer of router.pending.values()) answer(undefined);
    router.pending.clear();
    if (router.last !== undefined) this.#gone = mergeSnapshots([this.#gone, retired(router.last, this.#deps.keepMetrics)]);
    if (this.#stopping || router.state === "retiring") return;
    this.restarts += 1;
    this.#deps.log("warn", "a router ended and is started again", { pid: router.worker.process.pid, code, signal });
    // The first replacement comes at once: the other routers carry its share meanwhile.
    const lived = performance.now() - router.startedAt;
    const pause = lived > 5_000 ? 0 : this.#pause;
    this.#pause = nextPause(lived > 5_000 ? 0 : this.#pause, lived);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopping) this.#fork();
    }, pause);
    this.#timers.add(timer);
  }

  #tell(router: Router, message: ToRouter): void {
    if (router.state !== "deaf" && router.worker.isConnected()) router.worker.send(message, () => undefined);
  }

  #tellAll(message: ToRouter): void {
    for (const router of this.#routers) this.#tell(router, message);
  }

  async #askAll(question: Question): Promise<FromRouter[]> {
    const answers = await Promise.all([...this.#routers].map((router) => this.#ask(router, question)));
    return answers.filter((answer) => answer !== undefined);
  }

  /** undefined: the router ended before it answered, or does not serve yet; it gets everything when it starts. */
  #ask(router: Router, question: Question): Promise<FromRouter | undefined> {
    if (router.state === "deaf" || !router.worker.isConnected()) return Promise.resolve(undefined);
    this.#seq += 1;
    const seq = this.#seq;
    return new Promise((resolve) => {
      const killer = setTimeout(() => {
        this.#deps.log("error", "a router does not answer and is killed", { pid: router.worker.process.pid, question: question.type });
        router.worker.process.kill("SIGKILL");
      }, answerWithin);
      router.pending.set(seq, (answer) => {
        clearTimeout(killer);
        resolve(answer);
      });
      this.#tell(router, { ...question, seq } as Asked);
    });
  }

  #answer(router: Router, seq: number, message: FromRouter): void {
    const settle = router.pending.get(seq);
    router.pending.delete(seq);
    settle?.(message);
  }
}
