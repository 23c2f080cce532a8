// What is probed of one instance: its own probes, or what stands in for them, at the addresses that it was given.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { mainPort } from "../../engines/workload.ts";
import { measured } from "../../core/words.ts";
import type { ProcessStat } from "../../os/process.ts";
import { describeProbe, listeningFault } from "./diagnose.ts";
import { intruderAt } from "./listening.ts";
import { Prober, type ProberDeps } from "./prober.ts";
import type { Spec, State } from "./record.ts";

const keptProbes = 10;
/** ms between two looks at the port of a component that named no probe. Its listening socket is watched all the time beside that (`checkDoors`). */
const unaskedPeriod = 10_000;

export interface ProbingOf extends Pick<ProberDeps, "stalls" | "now" | "onStarted"> {
  readonly spec: Spec;
  /** The history of probes is written into it. */
  readonly state: State;
  readonly run: ProberDeps["target"]["run"];
  readonly members: () => ProcessStat[];
  /** `proven`: by a check, not only by time. */
  readonly onReady: (ready: boolean, proven: boolean) => void;
  /** The run has to be ended, for this reason. */
  readonly onFailed: (why: Cause) => void;
}

export function createProber(of: ProbingOf): Prober {
  const {
    spec: { workload, ports },
    state,
  } = of;
  const main = mainPort(workload);
  const port = main === undefined ? undefined : ports[main];
  // A component with a port and no probe is ready when the port accepts.
  const readiness =
    workload.probes.readiness ?? (port === undefined ? undefined : { check: { type: "tcp" as const }, period: unaskedPeriod });
  const mapped = Object.fromEntries(
    workload.ports.flatMap((one) => (one.port === undefined || ports[one.name] === undefined ? [] : [[one.port, ports[one.name]]])),
  ) as Record<number, number>;
  return new Prober({
    target: { host: "127.0.0.1", port, mapped, run: of.run },
    probes: { ...workload.probes, ...(readiness === undefined ? {} : { readiness }) },
    already: { started: state.started, ready: state.ready },
    stalls: of.stalls,
    now: of.now,
    onStarted: of.onStarted,
    onRecord: (record) => {
      state.probes = [...state.probes.slice(1 - keptProbes), record];
    },
    onReady: (ready) => of.onReady(ready, readiness !== undefined),
    onFailed: (probe, failures, last) => {
      const evidence = state.probes
        .filter((one) => one.probe === probe)
        .map((one) => ({ kind: "probe" as const, at: one.at, text: one.detail }));
      const waited = measured(of.now() - (state.startedAt ?? of.now()));
      if (probe === "liveness") return of.onFailed(cause("liveness_failed", { failures, last }, evidence));
      // A program that listens elsewhere is not a slow one.
      const fault = listeningFault(of.spec, of.members(), last === "connection refused")?.why;
      of.onFailed(
        fault === undefined
          ? cause("never_ready", { check: describeProbe(of.spec, probe), last, failures, waited }, evidence)
          : { ...fault, evidence: [...fault.evidence, ...evidence] },
      );
    },
    confirm: () => {
      const members = of.members();
      return Object.values(ports).every((one) => intruderAt(one, members) === undefined);
    },
  });
}
