// What is probed of a container: its own probes, or what stands in for them, at its address on its stack's network.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import { portsOf } from "../../engines/docker/container.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import { mainPort } from "../../engines/workload.ts";
import { describeProbe } from "../agent/diagnose.ts";
import { Prober, type ProberDeps } from "../agent/prober.ts";
import type { State } from "../agent/record.ts";

const keptProbes = 10;
/** ms between two looks at the port of a component that named no probe. */
const unaskedPeriod = 5_000;

export interface ContainerProbing extends Pick<ProberDeps, "stalls" | "now" | "onStarted"> {
  readonly order: ContainerOrder;
  /** The history of probes is written into it. */
  readonly state: State;
  readonly run: ProberDeps["target"]["run"];
  /** `proven`: by a check, not only by time. */
  readonly onReady: (ready: boolean, proven: boolean) => void;
  /** The run has to be ended, for this reason. */
  readonly onFailed: (why: Cause) => void;
}

export function createContainerProber(of: ContainerProbing): Prober {
  const { order, state } = of;
  const { workload } = order;
  const ports = portsOf(workload);
  const main = mainPort(workload);
  const port = main === undefined ? undefined : ports[main];
  const readiness =
    workload.probes.readiness ?? (port === undefined ? undefined : { check: { type: "tcp" as const }, period: unaskedPeriod });
  return new Prober({
    target: { host: order.address, port, mapped: {}, run: of.run },
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
      of.onFailed(
        probe === "liveness"
          ? cause("liveness_failed", { failures, last }, evidence)
          : cause("never_ready", { check: describeProbe({ workload, ports }, probe), last, failures, waited }, evidence),
      );
    },
    // A container has a network of its own: nobody else answers at its address.
    confirm: () => true,
  });
}
