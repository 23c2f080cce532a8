// Measures what Berth adds to a cluster's own work: `npm run bench:kubernetes -- [--only release,scale] [--rounds N] [--replicas N] [--json]`. On the test cluster
// (tools/cluster), which is brought up unless it is; ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { borrowCluster, cannotBorrow } from "../../tools/cluster/borrow.ts";
import { atMost, loadLine, note, report, type Bar } from "../shared/bars.ts";
import { median } from "../shared/watch.ts";
import { Bench } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: "release,scale" },
    rounds: { type: "string", default: "20" },
    replicas: { type: "string", default: "50" },
    json: { type: "boolean", default: false },
  },
});
const missing = cannotBorrow();
if (missing !== undefined) throw new Error(missing);
note(loadLine());
const only = new Set(flags.only.split(","));
const cluster = await borrowCluster();
let bench: Bench | undefined;
const end = async (): Promise<void> => {
  await bench?.[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
};
process.once("SIGINT", () => void end().finally(() => process.exit(130)));
try {
  bench = await Bench.open();
  const tables: string[][][] = [];
  const bars: Bar[] = [];
  const row = (name: string, samples: readonly number[]): string[] => [
    name,
    median(samples).toFixed(0),
    Math.min(...samples).toFixed(0),
    Math.max(...samples).toFixed(0),
  ];
  const compare = (what: string, found: { readonly peer: number[]; readonly berth: number[] }, peer: string, most: number): void => {
    tables.push([[`${what}, ms`, "median", "least", "most"], row(peer, found.peer), row("Berth", found.berth)]);
    bars.push(atMost(`${what}: Berth over ${peer}`, (median(found.berth) - median(found.peer)) / 1000, most, "s", 2));
    note(`${what}: ${(median(found.berth) / median(found.peer)).toFixed(2)} times ${peer}`);
  };
  if (only.has("release"))
    compare(
      "a release of 3 replicas, until it is verified",
      await bench.releases(3, Number(flags.rounds), note),
      "kubectl apply and rollout status",
      0.4,
    );
  if (only.has("scale"))
    compare(`1 to ${flags.replicas}`, await bench.scales(Number(flags.replicas), 3, note), "kubectl scale and rollout status", 0.5);
  process.exitCode = report(tables, bars, flags.json);
} finally {
  await end();
}
