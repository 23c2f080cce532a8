// What is probed of one instance: its own probes, or what stands in for them, at the addresses that it was given; and what becomes of the answers.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import type { Workload } from "../../engines/engine.ts";
import { mainPort } from "../../engines/workload.ts";
import { describeProbe } from "./diagnose.ts";
import { Prober, type ProberDeps } from "./prober.ts";
import type { State } from "./record.ts";

const keptProbes = 10;

/** Where an instance answers, and what else is known there. */
export interface ProbedPlace extends Pick<ProberDeps, "confirm"> {
  readonly host: string;
  /** By name. */
  readonly ports: Readonly<Record<string, number>>;
  /** Ports as probes name them that are other ones at `host`. */
  readonly mapped: Readonly<Record<number, number>>;
  /** ms between two looks at the port of a component that named no probe. */
  readonly unaskedPeriod: number;
  /** Why it is none of its checks' fault; `refused`: the last look met nobody. */
  readonly fault?: (refused: boolean) => Cause | undefined;
}

export interface ProbingOf extends Pick<ProberDeps, "stalls" | "now"> {
  readonly workload: Workload;
  readonly place: ProbedPlace;
  /** What probes tell is written into it. */
  readonly state: State;
  readonly run: ProberDeps["target"]["run"];
  /** It is to be in traffic from now on, or not any more. */
  readonly onReady: (ready: boolean) => void;
  /** The state is another one. */
  readonly onChange: () => void;
  /** The run has to be ended, for this reason. */
  readonly onFailed: (why: Cause) => void;
}

export function createProber(of: ProbingOf): Prober {
  const { workload, place, state } = of;
  const main = mainPort(workload);
  const port = main === undefined ? undefined : place.ports[main];
  // A component with a port and no probe is ready when the port accepts.
  const readiness =
    workload.probes.readiness ?? (port === undefined ? undefined : { check: { type: "tcp" as const }, period: place.unaskedPeriod });
  return new Prober({
    target: { host: place.host, port, mapped: place.mapped, run: of.run },
    probes: { ...workload.probes, ...(readiness === undefined ? {} : { readiness }) },
    already: { started: state.started, ready: state.ready },
    stalls: of.stalls,
    now: of.now,
    onStarted: () => {
      if (state.started) return;
      state.started = true;
      of.onChange();
    },
    onRecord: (record) => {
      state.probes = [...state.probes.slice(1 - keptProbes), record];
    },
    onReady: (ready) => {
      if (ready) {
        // By a check, not only by time.
        const isProven = readiness !== undefined;
        Object.assign(state, { ready, readySince: of.now(), everReady: state.everReady || isProven } satisfies Partial<State>);
        of.onReady(true);
      } else takeOut(state, of.onReady);
      of.onChange();
    },
    onFailed: (probe, failures, last) => {
      const evidence = state.probes
        .filter((one) => one.probe === probe)
        .map((one) => ({ kind: "probe" as const, at: one.at, text: one.detail }));
      const waited = measured(of.now() - (state.startedAt ?? of.now()));
      if (probe === "liveness") return of.onFailed(cause("liveness_failed", { failures, last }, evidence));
      // A program that listens elsewhere is not a slow one.
      const fault = place.fault?.(last === "connection refused");
      of.onFailed(
        fault === undefined
          ? cause("never_ready", { check: describeProbe({ workload, ports: place.ports }, probe), last, failures, waited }, evidence)
          : { ...fault, evidence: [...fault.evidence, ...evidence] },
      );
    },
    confirm: place.confirm,
  });
}

/** It is not ready any more, if it was. */
export function takeOut(state: State, onReady: (ready: boolean) => void): void {
  const was = state.ready;
  state.ready = false;
  delete state.readySince;
  if (was) onReady(false);
}
