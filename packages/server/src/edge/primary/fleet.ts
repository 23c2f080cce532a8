// The router processes: started, asked, replaced. An order counts as obeyed only when every living router said so, those of an earlier primary included, since they
// serve until their last connection is closed; a router that does not answer is killed and replaced.
import type { EdgeConfig } from "../config.ts";
import type { Ref } from "../../engines/engine.ts";
import type { HostProof } from "../../engines/traffic.ts";
import type {
  FromRouter,
  InstanceCounts,
  ListenerProblem,
  MetricsSnapshot,
  StoredEntry,
  TlsOrders,
  ToRouter,
  TrackMetrics,
} from "../ipc.ts";
import { nextPause } from "./children.ts";
import { forkRouter, type Greeting, type Link, type LinkEvents } from "./link.ts";
import { addCounts, interruptedBy, mergeSnapshots, retired } from "./metrics.ts";
import { Questions, type Question } from "./questions.ts";
import { Sharing, type Sharer } from "./sharing.ts";
import type { Sockets } from "./sockets.ts";

type Init = Extract<ToRouter, { type: "init" }>;

export interface FleetDeps {
  readonly config: EdgeConfig;
  readonly routerFile: string;
  /** ms that a router may take until it accepts. */
  readonly startWithin: number;
  readonly sockets: Sockets;
  /** What a new router has to know, as of now. */
  readonly init: (place: number) => Init;
  /** Whether routers have to know what others serve of it. */
  readonly isLimited: (ref: Ref) => boolean;
  readonly keepMetrics: (track: TrackMetrics) => boolean;
  /** What routers of earlier primaries counted. */
  readonly counted: MetricsSnapshot | undefined;
  readonly log: (level: "info" | "warn" | "error", message: string, fields: Record<string, unknown>) => void;
}

interface Router extends Sharer {
  readonly link: Link;
  readonly startedAt: number;
  /**
   * A `deaf` one hears nothing yet: it gets all there is by `init`. One that is `replacing` serves on until another one accepts in its place. A `former` one was
   * started by an earlier primary and accepts still.
   */
  state: "deaf" | "starting" | "serving" | "replacing" | "former" | "retiring";
  /** Whose place it takes once it accepts. */
  predecessor: Router | undefined;
  readonly questions: Questions;
  readonly ready: Promise<string | undefined>;
  settleReady: (problem: string | undefined) => void;
  problems: readonly ListenerProblem[];
  /** Why HTTPS is not open there. */
  secureProblem: string | undefined;
  last: MetricsSnapshot | undefined;
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #routers = new Set<Router>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #sharing: Sharing<Router>;
  #gone: MetricsSnapshot;
  #forks = 0;
  #pause = 0;
  #stopping = false;
  /** Our routers accept, and no others. */
  #alone = false;
  restarts = 0;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#sharing = new Sharing({
      isLimited: deps.isLimited,
      routers: this.#routers,
      tell: (router, inFlight) => {
        if (accepts(router) || router.state === "starting") this.#tell(router, { type: "elsewhere", inFlight });
      },
    });
    this.#gone = mergeSnapshots(deps.counted === undefined ? [] : [deps.counted]);
  }

  get pids(): number[] {
    return [...this.#routers].flatMap(({ link }) => link.pid ?? []);
  }

  /** Every router that there should be accepts. */
  get isWhole(): boolean {
    const ours = [...this.#routers].filter(({ state }) => state !== "retiring");
    return ours.length === this.#deps.config.workers && ours.every(({ state }) => state === "serving");
  }

  /** What those counted that are gone. */
  get counted(): MetricsSnapshot {
    return this.#gone;
  }

  /** Resolves when all routers accept; throws with the first one's problem otherwise. */
  async start(): Promise<void> {
    const started = Array.from({ length: this.#deps.config.workers }, () => this.#fork());
    const problems = (await Promise.all(started.map((router) => router.ready))).filter((problem) => problem !== undefined);
    if (problems[0] !== undefined) throw new Error(`the routers cannot listen on ${problems[0]}`);
    // What was handed on and nobody wants any more.
    this.#deps.sockets.closeUnused();
  }

  /** Takes in a router of an earlier primary: from now on it obeys like the others. One that comes late is not needed for accepting any more. */
  adopt(greeting: Greeting, link: Link): LinkEvents {
    const router = this.#add(link, greeting.role === "accepting" ? "former" : "retiring");
    const { entries, readiness } = this.#deps.init(0);
    void this.#ask(router, { type: "sync", entries, readiness });
    if (this.#stopping) this.#tell(router, { type: "retire", grace: 0 });
    else if (this.#alone) this.#retire(router);
    return this.#eventsOf(router);
  }

  /** Ends the accepting of those that were adopted: our own accept. */
  retireFormer(): void {
    this.#alone = true;
    for (const router of this.#routers) if (router.state === "former") this.#retire(router);
  }

  /** Puts an entry in force; resolves when every router has it. */
  async apply(stored: StoredEntry): Promise<void> {
    await this.#askAll({ type: "entry", stored });
    this.#sharing.applied(stored.ref);
  }

  /** Certificates for what is accepted from now on; resolves when every router that accepts has them. One of an earlier primary accepts no more. */
  async secure(orders: TlsOrders): Promise<void> {
    const accepting = [...this.#routers].filter((router) => accepts(router) || router.state === "starting");
    await Promise.all(accepting.map((router) => this.#ask(router, { type: "tls", orders })));
  }

  /** What hosts are proved with; resolves when every router that accepts has it. */
  async prove(proofs: readonly HostProof[]): Promise<void> {
    const accepting = [...this.#routers].filter((router) => accepts(router) || router.state === "starting");
    await Promise.all(accepting.map((router) => this.#ask(router, { type: "proofs", proofs })));
  }

  /** Why HTTPS is not open on some router. */
  get secureProblem(): string | undefined {
    return [...this.#routers].find((router) => accepts(router) && router.secureProblem !== undefined)?.secureProblem;
  }

  readiness(instances: [string, boolean][]): void {
    if (instances.length > 0) this.#tellAll({ type: "readiness", instances });
  }

  tellAll(message: Extract<ToRouter, { type: "retryListeners" | "reopenLog" }>): void {
    this.#tellAll(message);
  }

  /** Counts per instance, retiring routers included: their requests are in flight all the same. */
  async counts(ref: Ref): Promise<InstanceCounts[]> {
    const answers = await this.#askAll({ type: "applied", ref });
    return addCounts(answers.flatMap((answer) => (answer.type === "appliedAnswer" ? answer.instances : [])));
  }

  async metrics(): Promise<MetricsSnapshot> {
    await this.#askAll({ type: "metrics" });
    this.#gone = retired(this.#gone, this.#deps.keepMetrics);
    return mergeSnapshots([this.#gone, ...[...this.#routers].flatMap((router) => router.last ?? [])]);
  }

  problems(): ListenerProblem[] {
    const seen = new Map<string, ListenerProblem>();
    for (const router of this.#routers)
      if (accepts(router) || router.state === "starting")
        for (const problem of router.problems)
          seen.set(`${problem.ref.stack}/${problem.ref.component} ${problem.host} ${String(problem.port)}`, problem);
    return [...seen.values()];
  }

  /** Replaces every router: a new one accepts before the old one stops, so no connection is lost. A broken one is being replaced already. */
  async reload(): Promise<void> {
    for (const old of [...this.#routers]) if (old.state === "serving" && this.#routers.has(old)) await this.#replace(old);
  }

  /** Lets every router go on without this primary; the next one adopts them. */
  leave(): void {
    this.#stopping = true;
    this.#sharing.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    for (const router of this.#routers) {
      this.#tell(router, { type: "leave" });
      if (router.state === "deaf") router.link.kill();
      router.link.leave();
    }
    this.#routers.clear();
  }

  /** Lets open requests finish for `grace` ms. */
  async stop(grace: number): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const router of this.#routers) if (router.state === "deaf") router.link.kill();
    this.#tellAll({ type: "retire", grace });
    const killer = setTimeout(() => {
      for (const { link } of this.#routers) link.kill();
    }, grace + 2_000);
    while (this.#routers.size > 0)
      await new Promise<void>((resolve) => {
        this.#onEnded = resolve;
      });
    clearTimeout(killer);
  }

  #onEnded: () => void = () => undefined;

  /** Throws when no new one can take its place: the old one serves on then. At most one at a time for each old one. */
  async #replace(old: Router): Promise<void> {
    const router = this.#fork();
    old.state = "replacing";
    router.predecessor = old;
    const problem = await router.ready;
    router.predecessor = undefined;
    const place = this.#routers.has(old);
    if (problem === undefined && !this.#stopping) {
      if (place) this.#retire(old);
      return;
    }
    if (place) {
      old.state = "serving";
      // Nobody misses it, so none is started in its place.
      router.state = "retiring";
    }
    router.link.kill();
    throw new Error(`a new router cannot take over: ${problem ?? "stopping"}`);
  }

  /** Tries until it is replaced: what broke may be broken in ways that clients notice. Ever more slowly, since whatever breaks routers may break the new ones too. */
  async #replaceBroken(old: Router): Promise<void> {
    for (let lived = performance.now() - old.startedAt; ; lived = 0) {
      old.state = "replacing";
      await this.#pauseAfter(lived);
      if (this.#stopping || !this.#routers.has(old)) return;
      try {
        await this.#replace(old);
        return;
      } catch (error) {
        this.#deps.log("error", "a router could not be replaced", { pid: old.link.pid, reason: String(error) });
      }
    }
  }

  /** Starts one in a place that is free. */
  async #restart(lived: number): Promise<void> {
    await this.#pauseAfter(lived);
    if (this.#stopping) return;
    let router: Router;
    try {
      router = this.#fork();
    } catch (error) {
      // The machine has no room for it now.
      this.#deps.log("error", "a router could not be started", { reason: String(error) });
      return this.#restart(0);
    }
    const problem = await router.ready;
    // When it ends, the next one is started.
    if (problem !== undefined) router.link.kill();
  }

  /** The pause before the next start, after a router that lived so long. There is none at first: other routers carry its share meanwhile. */
  #pauseAfter(lived: number): Promise<void> {
    const pause = lived > 5_000 ? 0 : this.#pause;
    this.#pause = nextPause(pause, lived);
    return new Promise((resolve) => {
      this.#after(pause, resolve);
    });
  }

  /** Unless this fleet stops before. */
  #after(ms: number, work: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #retire(router: Router): void {
    router.state = "retiring";
    this.#tell(router, { type: "retire", grace: this.#deps.config.retireTimeout });
    this.#deps.sockets.forget(router);
  }

  #fork(): Router {
    const link = forkRouter(this.#deps.routerFile);
    const router = this.#add(link, "deaf");
    link.hear(this.#eventsOf(router));
    const late = this.#after(this.#deps.startWithin, () => {
      router.settleReady("it takes too long to start");
    });
    void router.ready.then(() => {
      this.#timers.delete(late);
      clearTimeout(late);
    });
    return router;
  }

  #add(link: Link, state: Router["state"]): Router {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const router: Router = {
      link,
      startedAt: performance.now(),
      state,
      predecessor: undefined,
      questions: new Questions(),
      ready: promise,
      settleReady: resolve,
      problems: [],
      secureProblem: undefined,
      last: undefined,
      inFlight: [],
      shares: false,
    };
    this.#routers.add(router);
    return router;
  }

  #eventsOf(router: Router): LinkEvents {
    return {
      onMessage: (message) => {
        this.#hear(router, message);
      },
      onError: (error) => {
        this.#deps.log("warn", "a router's channel failed", { err: error.message });
      },
      onEnd: (code, signal) => {
        this.#ended(router, code, signal);
      },
    };
  }

  #hear(router: Router, message: FromRouter): void {
    switch (message.type) {
      case "hearing":
        router.state = "starting";
        this.#forks += 1;
        this.#tell(router, this.#deps.init(this.#forks % this.#deps.config.workers));
        return;
      case "listening":
        router.state = router.state === "starting" ? "serving" : router.state;
        router.settleReady(undefined);
        return;
      case "failed":
        router.settleReady(`${message.message}: ${message.code}`);
        return;
      case "listen":
        void this.#open(router, message);
        return;
      case "unlisten":
        this.#deps.sockets.release(message, router);
        return;
      case "listeners":
        router.problems = message.problems;
        return;
      case "secure":
        router.secureProblem = message.problem ?? undefined;
        return;
      case "inFlight":
        this.#sharing.changed(router, message.tracks);
        return;
      case "crowded":
        this.#deps.log("warn", "a router refuses connections: too many are open", { pid: router.link.pid, open: message.open });
        return;
      case "metricsAnswer":
        router.last = message.snapshot;
        router.questions.answer(message.seq, message);
        return;
      case "ack":
      case "appliedAnswer":
        router.questions.answer(message.seq, message);
        return;
      case "broken":
        this.#deps.log("error", "a router caught an unexpected error and is replaced", { pid: router.link.pid, reason: message.reason });
        // Said again, it is no news; and one that starts still either gets there, or takes too long.
        if (router.state === "serving" && !this.#stopping) void this.#replaceBroken(router);
        return;
      // Only ever the first message, read by whoever accepts the connection.
      case "orphan":
        return;
      default:
        message satisfies never;
    }
  }

  async #open(router: Router, { seq, host, port }: Extract<FromRouter, { type: "listen" }>): Promise<void> {
    const opened = await this.#deps.sockets.open({ host, port }, router);
    if ("code" in opened) router.link.send({ type: "socket", seq, code: opened.code });
    else router.link.send({ type: "socket", seq }, opened.handle);
  }

  #ended(router: Router, code: number | null, signal: string | null): void {
    this.#routers.delete(router);
    this.#deps.sockets.forget(router);
    router.settleReady(`the router ended (${signal ?? `exit code ${String(code)}`})`);
    router.questions.end();
    if (router.last !== undefined) this.#gone = mergeSnapshots([this.#gone, retired(router.last, this.#deps.keepMetrics)]);
    // One that ends by itself says at last that it serves nothing any more; a killed one had no time to.
    this.#gone = mergeSnapshots([this.#gone, interruptedBy(router.inFlight)]);
    this.#sharing.changed(router, []);
    this.#onEnded();
    if (this.#stopping || router.state === "retiring" || router.state === "former") return;
    // The old one still has the place that it was to take.
    if (router.predecessor?.state === "replacing" && this.#routers.has(router.predecessor)) return;
    this.restarts += 1;
    const lived = performance.now() - router.startedAt;
    this.#deps.log("warn", "a router ended and is started again", { pid: router.link.pid, code, signal });
    // Another one is on its way already, and takes the place that is free now.
    if ([...this.#routers].some(({ predecessor }) => predecessor === router)) return;
    void this.#restart(lived);
  }

  #tell(router: Router, message: ToRouter): void {
    if (router.state !== "deaf") router.link.send(message);
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
    if (router.state === "deaf" || !router.link.connected) return Promise.resolve(undefined);
    return router.questions.ask(
      question,
      (message) => {
        this.#tell(router, message);
      },
      () => {
        this.#deps.log("error", "a router does not answer and is killed", { pid: router.link.pid, question: question.type });
        router.link.kill();
      },
    );
  }
}

/** Clients get in by it, and it is one of ours. */
function accepts({ state }: Router): boolean {
  return state === "serving" || state === "replacing";
}
