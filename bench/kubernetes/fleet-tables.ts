// What was found of a fleet, for people, and against its bars.
import { atMost, holds, type Bar } from "../shared/bars.ts";
import { views, type FleetFound, type FleetOptions } from "./fleet.ts";

const seconds = (ms: number): string => (ms / 1_000).toFixed(2);
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);

export function fleetTables({ size, churn, clients }: FleetOptions, found: FleetFound): { tables: string[][][]; bars: Bar[] } {
  const components = size.stacks * size.components;
  const asked = views.flatMap((view) => {
    const [quiet, changing] = [found.quiet.get(view), found.changing.get(view)];
    if (quiet === undefined || changing === undefined) return [];
    const figures = [quiet, changing].flatMap(({ rate, p50, p99 }) => [rate.toFixed(0), p50.toFixed(1), p99.toFixed(1)]);
    return [{ view, changing, row: [view, ...figures, quiet.controlPlane.toFixed(0), quiet.database.toFixed(0)] }];
  });
  const longest = (of: "wall" | "cpu", thread: "answers" | "works"): number =>
    Math.max(0, ...found.stalls.filter((stall) => stall.thread === thread).map((stall) => stall[of]));
  return {
    tables: [
      [
        [`a fleet of ${String(components * size.replicas)} pretended pods`, ""],
        [
          "what is real",
          "the components in Berth, released by it; their Deployments, ReplicaSets and pods; the cluster's controllers and scheduler",
        ],
        ["what is pretended", "the nodes, and what they would run (kwok)"],
        [`${String(components)} components released, s`, seconds(found.released)],
        [
          `replaced pods, and changes of pods, a second`,
          `${found.replaced.toFixed(0)} of ${String(churn)} asked for, ${found.changes.toFixed(0)}`,
        ],
        ["from the last change until Berth knows it, s", seconds(found.behind)],
        [
          "all known again after a restart: since its start, since it is connected, s",
          `${seconds(found.sinceStart)}, ${seconds(found.sinceConnected)}`,
        ],
        ["control plane resident, at most, MB", `${megabytes(found.resident)}, ${megabytes(found.mostResident)}`],
        ["`kubectl get pods -A`, s", seconds(found.kubectl)],
        ["Berth: all components of all stacks, s", `${seconds(found.berth)} (${(found.berth / found.kubectl).toFixed(2)} times kubectl)`],
        ...(["answers", "works"] as const).map((thread) => [
          `longest turn of the thread that ${thread}: by the clock, its own CPU time, ms`,
          `${longest("wall", thread).toFixed(0)}, ${longest("cpu", thread).toFixed(0)}`,
        ]),
      ],
      [
        [
          `${String(clients)} clients at once`,
          "quiet: a second",
          "p50 ms",
          "p99",
          "changing: a second",
          "p50 ms",
          "p99",
          "quiet: CPU µs of the server",
          "of PostgreSQL",
        ],
        ...asked.map(({ row }) => row),
      ],
    ],
    bars: [
      atMost("all known again after it is connected", found.sinceConnected / 1_000, 5, "s", 1),
      atMost("control plane, resident", found.mostResident / 1e6, 300, "MB", 0),
      ...asked.flatMap(({ view, changing }) => [
        atMost(`${view}, while the fleet changes, p99`, changing.p99, 20, "ms", 1),
        holds(`${view}, while the fleet changes: at least 1500 answers a second`, changing.rate.toFixed(0), changing.rate >= 1_500),
      ]),
      atMost("longest turn of an event loop, its own CPU time", Math.max(longest("cpu", "answers"), longest("cpu", "works")), 50, "ms", 0),
    ],
  };
}
