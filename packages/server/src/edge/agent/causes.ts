// Finds and keeps the cause of one instance between two looks at it, so that looking often costs little.
import type { Cause } from "@berth/contract/causes.ts";
import type { ProcessStat } from "../../os/process.ts";
import { causeOf, provenListeningFault, type ListeningFault } from "./diagnose.ts";
import type { Machine } from "./machine.ts";
import type { Spec, State } from "./record.ts";
import { isReady } from "./view.ts";

/** ms that the evidence for an end is good for. */
const settled = 1_000;
/** ms that what was seen of its ports is good for: every process of the machine is read for that, and whoever waits for it looks many times a second. */
const portsHold = 500;

export class CauseFinder {
  readonly #machine: Machine;
  readonly #spec: Spec;
  #found: { readonly restarts: number; readonly at: number } | undefined;
  #listening: { readonly run: string; readonly at: number; readonly fault: Promise<ListeningFault | undefined> } | undefined;
  #stray: { readonly port: number; readonly restarts: number; readonly since: number } | undefined;

  constructor(machine: Machine, spec: Spec) {
    this.#machine = machine;
    this.#spec = spec;
  }

  /** undefined while it is ready, is being stopped, or nothing is certain yet. */
  async find(state: State, members: () => ProcessStat[]): Promise<Cause | undefined> {
    if (isReady(state) || state.phase === "stopping") return undefined;
    const { restarts } = state;
    const fresh = this.#found?.restarts !== restarts || this.#found.at < this.#machine.now() - settled;
    const why = await causeOf({
      machine: this.#machine,
      spec: this.#spec,
      state,
      listening: (refused) =>
        this.#faultOf(`${String(restarts)} ${String(refused)}`, () => provenListeningFault(this.#spec, members, refused)),
      strayFor: (port) => this.#strayFor(port, restarts),
      fresh,
    });
    if (fresh) this.#found = { restarts, at: this.#machine.now() };
    return why;
  }

  /** The run that was looked at has ended. */
  forget(): void {
    this.#found = undefined;
    this.#listening = undefined;
  }

  #faultOf(run: string, look: () => Promise<ListeningFault | undefined>): Promise<ListeningFault | undefined> {
    const now = this.#machine.now();
    if (this.#listening?.run !== run || now - this.#listening.at >= portsHold || now < this.#listening.at)
      this.#listening = { run, at: now, fault: look() };
    return this.#listening.fault;
  }

  #strayFor(port: number | undefined, restarts: number): number {
    const now = this.#machine.now();
    if (this.#stray?.port !== port || this.#stray?.restarts !== restarts)
      this.#stray = port === undefined ? undefined : { port, restarts, since: now };
    return now - (this.#stray?.since ?? now);
  }
}
