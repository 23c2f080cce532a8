// Where a process of this machine is probed: at ports that others could take, too.
import type { ProcessStat } from "../../os/process.ts";
import { listeningFault } from "./diagnose.ts";
import { intruderAt } from "./listening.ts";
import type { ProbedPlace } from "./probing.ts";
import type { Spec } from "./record.ts";

/** ms. Its listening socket is watched all the time beside that (`checkDoors`). */
const unaskedPeriod = 10_000;

export function ownPorts(spec: Spec, members: () => ProcessStat[]): ProbedPlace {
  const { workload, ports } = spec;
  const mapped = Object.fromEntries(
    workload.ports.flatMap((one) => (one.port === undefined || ports[one.name] === undefined ? [] : [[one.port, ports[one.name]]])),
  ) as Record<number, number>;
  return {
    host: "127.0.0.1",
    ports,
    mapped,
    unaskedPeriod,
    fault: (refused) => listeningFault(spec, members(), refused)?.why,
    confirm: () => {
      const its = members();
      return Object.values(ports).every((one) => intruderAt(one, its) === undefined);
    },
  };
}
