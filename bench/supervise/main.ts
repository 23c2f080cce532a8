// Measures what supervision costs: `npm run bench:supervise -- [--stacks N] [--instances N] [--seconds N] [--json]`. The program that is supervised is the
// smallest that listens, probed as a component is that says nothing about probes. Leaves nothing behind, and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { atMost, loadLine, note, report } from "../shared/bars.ts";
import { withBerth } from "../shared/berth.ts";
import type { Cost, Part } from "../shared/watch.ts";
import { listener } from "./apps.ts";
import { cpuToSupervise, memoryToSupervise, supervise } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    stacks: { type: "string", default: "4" },
    instances: { type: "string", default: "50" },
    seconds: { type: "string", default: "45" },
    json: { type: "boolean", default: false },
  },
});
note(loadLine());
await withBerth(async (berth) => {
  const found = await supervise(berth, {
    program: listener,
    stacks: Number(flags.stacks),
    perStack: Number(flags.instances),
    seconds: Number(flags.seconds),
    note,
  });
  const shown = (cost: Cost): string[] => [cost.cpu.toFixed(2), (cost.own / 1e6).toFixed(1), (cost.resident / 1e6).toFixed(1)];
  const parts = Object.keys(found.with) as Part[];
  process.exitCode = report(
    [
      [
        ["idle", "CPU %, few", "own MB", "RSS MB", `CPU %, ${String(found.instances)}`, "own MB", "RSS MB"],
        ...parts.map((part) => [part, ...shown(found.without[part]), ...shown(found.with[part])]),
      ],
    ],
    [
      atMost(`${String(found.instances)} instances, agent and collector together`, cpuToSupervise(found.with), 3, "% of a core", 2),
      atMost("each, beside its program", memoryToSupervise(found) / 1e6, 1.5, "MB", 2),
    ],
    flags.json,
  );
});
