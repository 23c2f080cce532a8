// Measures what Berth adds to a cluster's own work: `npm run bench:kubernetes -- [--only release,scale,many,fleet] [--rounds N] [--replicas N] [--many N] [--components N] [--each N] [--churn N]
// [--seconds N] [--json]`. On the test cluster (tools/cluster), which is brought up unless it is; ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { borrowCluster, cannotBorrow } from "../../tools/cluster/borrow.ts";
import { loadLine, note, report, type Bar } from "../shared/bars.ts";
import { fleetTables } from "./fleet-tables.ts";
import { measureFleet } from "./fleet.ts";
import { compareTables, manyTables } from "./compare.ts";
import { Many } from "./many.ts";
import { Bench } from "./measure.ts";
import { Pretended } from "./pretended.ts";
import { Scale } from "./scale.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: "release,scale,many,fleet" },
    rounds: { type: "string", default: "20" },
    replicas: { type: "string", default: "50" },
    components: { type: "string", default: "1000" },
    each: { type: "string", default: "10" },
    many: { type: "string", default: "200" },
    churn: { type: "string", default: "40" },
    seconds: { type: "string", default: "20" },
    json: { type: "boolean", default: false },
  },
});
const missing = cannotBorrow();
if (missing !== undefined) throw new Error(missing);
note(loadLine());
const only = new Set(flags.only.split(","));
const tables: string[][][] = [];
const bars: Bar[] = [];
const tell = (found: { readonly tables: string[][][]; readonly bars: Bar[] }): void => {
  tables.push(...found.tables);
  bars.push(...found.bars);
};
const cluster = await borrowCluster();
let open: AsyncDisposable | undefined;
let ending = Promise.resolve();
/** Once for each that was opened; whoever is interrupted while it ends waits for its end. */
const end = (): Promise<void> => {
  const opened = open;
  open = undefined;
  ending = ending.then(() => opened?.[Symbol.asyncDispose]());
  return ending;
};
const interrupted = (): void => {
  void end()
    .then(() => cluster[Symbol.asyncDispose]())
    .finally(() => process.exit(130));
};
process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
try {
  if (only.has("release")) {
    const bench = await Bench.open();
    open = bench;
    const found = await bench.releases(3, Number(flags.rounds), note);
    tell(compareTables("a release of 3 replicas, until it is verified", found, "kubectl apply and rollout status", 0.4));
    await end();
  }
  if (only.has("scale")) {
    const scale = await Scale.open(Number(flags.replicas));
    open = scale;
    const found = await scale.measure(Math.ceil(Number(flags.rounds) / 4), note);
    tell(compareTables(`1 to ${flags.replicas} pretended instances`, found, "kubectl scale and rollout status", 0.5));
    await end();
  }
  if (only.has("many")) {
    const size = { stacks: Math.ceil(Number(flags.many) / 10), components: 10, replicas: 1 };
    const many = await Many.open(size);
    open = many;
    tell(manyTables(size, await many.measure(size, note)));
    await end();
  }
  if (only.has("fleet")) {
    const size = { stacks: Math.ceil(Number(flags.components) / 10), components: 10, replicas: Number(flags.each) };
    const place = await Pretended.open(size.stacks * size.components * size.replicas);
    open = place;
    const options = { size, churn: Number(flags.churn), clients: 10, seconds: Number(flags.seconds) };
    tell(fleetTables(options, await measureFleet(place, options, note)));
    await end();
  }
  process.exitCode = report(tables, bars, flags.json);
} finally {
  await end();
  await cluster[Symbol.asyncDispose]();
}
