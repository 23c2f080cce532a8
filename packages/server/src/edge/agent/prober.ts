// Probes one run of one instance: startup first, then readiness and liveness side by side, with the meaning they have in Kubernetes.
// A failure that happened while this process itself was held up is never counted against an instance.
import type { Probe } from "@berth/contract/spec.ts";
import type { ProbeRecord } from "../../engines/engine.ts";
import { check, type CheckResult, type CheckTarget } from "./checks.ts";

export type ProbeName = ProbeRecord["probe"];
export interface ProberDeps {
  readonly target: CheckTarget;
  readonly probes: { readonly startup?: Probe; readonly readiness?: Probe; readonly liveness?: Probe };
  /** An instance that another agent process had probed already. */
  readonly already: { readonly started: boolean; readonly ready: boolean };
  readonly stalls: { readonly since: (at: number) => boolean };
  readonly now: () => number;
  readonly onRecord: (record: ProbeRecord, counted: boolean) => void;
  readonly onStarted: () => void;
  readonly onReady: (ready: boolean) => void;
  /** Startup or liveness failed for good. The prober has stopped itself. */
  readonly onFailed: (probe: "startup" | "liveness", failures: number, last: string) => void;
  /** A last look before an instance counts as ready: false when someone else answers on its port. */
  readonly confirm: () => boolean;
}

interface Times {
  readonly period: number;
  readonly timeout: number;
  readonly success: number;
  readonly failure: number;
}
const defaults: Readonly<Record<ProbeName, Times>> = {
  startup: { period: 500, timeout: 1000, success: 1, failure: 120 },
  readiness: { period: 2000, timeout: 1000, success: 1, failure: 3 },
  liveness: { period: 10_000, timeout: 1000, success: 1, failure: 3 },
};
/** ms between looks at an instance that was not ready yet: a fresh one should be found ready at once, a slow one not be hammered. */
const eager = { first: 50, most: 250, growth: 1.3 };

/** ms that a program without any check has to run before it counts as ready: one that ends at once must not pass for a success. */
const settle = 1_000;

function timesOf(name: ProbeName, probe: Probe): Times {
  const base = defaults[name];
  // Liveness and startup need one success only, as in Kubernetes; anything else would let an instance die while it answers.
  return {
    period: probe.period ?? base.period,
    timeout: probe.timeout ?? base.timeout,
    success: name === "readiness" ? (probe.successThreshold ?? 1) : 1,
    failure: probe.failureThreshold ?? base.failure,
  };
}

export class Prober {
  readonly #deps: ProberDeps;
  readonly #ended = new AbortController();
  #ready: boolean;
  #everReady: boolean;
  /** Ends the pause of readiness that is under way. */
  #hurry: () => void = () => undefined;

  constructor(deps: ProberDeps) {
    this.#deps = deps;
    this.#ready = deps.already.ready;
    this.#everReady = deps.already.ready;
  }

  start(): void {
    const { startup } = this.#deps.probes;
    if (startup === undefined || this.#deps.already.started) this.#afterStartup();
    else this.#supervise(this.#startup(startup));
  }

  stop(): void {
    this.#ended.abort();
  }

  /** Something was seen that the next look at its readiness would tell: it is taken now. */
  hurry(): void {
    this.#hurry();
  }

  /** Somebody else answers on its port: not ready at once, and only again when `confirm` says so. */
  distrust(): void {
    if (this.#ready) this.#setReady(false);
  }

  #supervise(loop: Promise<void>): void {
    loop.catch((error: unknown) => {
      if (!this.#ended.signal.aborted) throw error;
    });
  }

  #afterStartup(): void {
    this.#deps.onStarted();
    const { readiness, liveness } = this.#deps.probes;
    if (readiness === undefined) this.#supervise(this.#pause(this.#ready ? 0 : settle).then(() => this.#setReady(true)));
    else this.#supervise(this.#readiness(readiness));
    if (liveness !== undefined) this.#supervise(this.#liveness(liveness));
  }

  #setReady(ready: boolean): void {
    if (this.#ended.signal.aborted || (ready === this.#ready && ready === this.#everReady)) return;
    this.#ready = ready;
    this.#everReady ||= ready;
    this.#deps.onReady(ready);
  }

  async #startup(probe: Probe): Promise<void> {
    const times = timesOf("startup", probe);
    await this.#pause(probe.initialDelay ?? 0);
    // How long a start may take is threshold times period; the eager looks at its beginning use up only the time between them.
    for (let looks = 0, spent = 0, pause = eager.first; !this.#ended.signal.aborted;) {
      const result = await this.#look("startup", probe, times);
      const wait = Math.min(times.period, pause);
      if (result?.ok === true) return this.#afterStartup();
      if (result !== undefined) {
        looks += 1;
        spent += wait;
        if (spent >= times.period * times.failure) return this.#fail("startup", looks, result.detail);
      }
      pause *= eager.growth;
      await this.#pause(wait);
    }
  }

  async #readiness(probe: Probe): Promise<void> {
    const times = timesOf("readiness", probe);
    if (!this.#ready) await this.#pause(probe.initialDelay ?? 0);
    for (let failures = 0, successes = 0, pause = eager.first; !this.#ended.signal.aborted;) {
      const seen = await this.#look("readiness", probe, times);
      if (this.#ended.signal.aborted) return;
      if (seen !== undefined) {
        const ok = seen.ok && (this.#ready || this.#deps.confirm());
        successes = ok ? successes + 1 : 0;
        failures = ok ? 0 : failures + 1;
        if (successes >= times.success) this.#setReady(true);
        if (failures >= times.failure) this.#setReady(false);
      }
      // A look that did not count says nothing: the next one is not a whole period away.
      const steady = this.#ready && failures === 0 && seen !== undefined;
      await this.#pause(steady ? times.period : Math.min(times.period, pause), (end) => {
        this.#hurry = end;
      });
      pause = steady ? eager.first : Math.min(eager.most, pause * eager.growth);
    }
  }

  async #liveness(probe: Probe): Promise<void> {
    const times = timesOf("liveness", probe);
    await this.#pause(probe.initialDelay ?? times.period);
    for (let failures = 0; !this.#ended.signal.aborted;) {
      const result = await this.#look("liveness", probe, times);
      if (this.#ended.signal.aborted) return;
      if (result !== undefined) failures = result.ok ? 0 : failures + 1;
      if (result !== undefined && failures >= times.failure) return this.#fail("liveness", failures, result.detail);
      await this.#pause(times.period);
    }
  }

  #fail(probe: "startup" | "liveness", failures: number, last: string): void {
    this.stop();
    this.#deps.onFailed(probe, failures, last);
  }

  /** undefined: the look does not count, because this process was held up meanwhile. */
  async #look(name: ProbeName, probe: Probe, times: Times): Promise<CheckResult | undefined> {
    const began = this.#deps.now();
    const result = await check(probe.check, this.#deps.target, times.timeout, this.#ended.signal);
    if (this.#ended.signal.aborted) return undefined;
    const counted = result.ok || !this.#deps.stalls.since(began);
    this.#deps.onRecord({ at: new Date(began).toISOString(), probe: name, ok: result.ok, detail: result.detail }, counted);
    return counted ? result : undefined;
  }

  #pause(ms: number, begun: (end: () => void) => void = () => undefined): Promise<void> {
    if (this.#ended.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      const { signal } = this.#ended;
      begun(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Notices when this process did not get to run: then timers fire late, and what looks like a silent instance is our own stall. */
export class StallWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #now: () => number;
  readonly #tolerance: number;
  #last: number;
  #lastStallEnd = Number.NEGATIVE_INFINITY;

  constructor(now: () => number, period = 50, tolerance = 250) {
    this.#now = now;
    this.#tolerance = tolerance;
    this.#last = now();
    this.#timer = setInterval(() => this.#tick(), period);
    this.#timer.unref();
  }

  #tick(): void {
    const at = this.#now();
    if (at - this.#last > this.#tolerance) this.#lastStallEnd = at;
    this.#last = at;
  }

  /** Whether this process was held up at any time since then. */
  since(at: number): boolean {
    this.#tick();
    return this.#lastStallEnd >= at;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
