// What the control plane counts about itself, for Prometheus: each figure is defined here once, and told by whoever it happens to.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

export interface Metrics {
  /** The registry as text. */
  text(): Promise<string>;
  request(route: string, method: string, status: number, ms: number): void;
  row(kind: string, outcome: string): void;
  /** A loop changed something on a cluster because it was not as it should be, and nobody had asked for anything else. Counted once, by the loop that did it. */
  repair(what: string): void;
  /** Resync found a component other than it was last seen. Its loop looks, and counts what it then repairs. */
  difference(what: string): void;
  unknownObjects(cluster: string, count: number): void;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "berth_server_" });
  const requests = new Histogram({
    name: "berth_api_request_seconds",
    help: "Duration of API requests.",
    labelNames: ["route", "method", "status"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  const rows = new Counter({
    name: "berth_loop_rows_total",
    help: "Rows that the reconcile loops worked on.",
    labelNames: ["kind", "outcome"],
    registers,
  });
  const repairs = new Counter({
    name: "berth_repairs_total",
    help: "Repairs that a loop made on a cluster without anybody having asked for a change: `instances` that were missing, `routes` that were lost, `leftovers` of what was removed. Each is counted once; stays flat when all is well.",
    labelNames: ["what"],
    registers,
  });
  const differences = new Counter({
    name: "berth_resync_differences_total",
    help: "Components that resync found other than they were last seen, whose change no hint had told. None of them is a repair yet.",
    labelNames: ["what"],
    registers,
  });
  const unknown = new Gauge({
    name: "berth_unknown_objects",
    help: "Objects of this installation that the database does not know, and that are left alone.",
    labelNames: ["cluster"],
    registers,
  });
  return {
    text: () => registry.metrics(),
    request: (route, method, status, ms) => {
      requests.observe({ route, method, status }, ms / 1000);
    },
    row: (kind, outcome) => {
      rows.inc({ kind, outcome });
    },
    repair: (what) => {
      repairs.inc({ what });
    },
    difference: (what) => {
      differences.inc({ what });
    },
    unknownObjects: (cluster, count) => {
      unknown.set({ cluster }, count);
    },
  };
}
