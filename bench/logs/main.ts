// Measures logs: `npm run bench:logs -- [--rate N] [--seconds N] [--flood MB] [--json]`. Lines are followed over the API, from one process and from ten; then one
// writes as fast as its lines are taken, beside another. Leaves nothing behind, and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { atMost, holds, loadLine, note, report } from "../shared/bars.ts";
import { withBerth } from "../shared/berth.ts";
import { flood, followWriters, type Followed } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    rate: { type: "string", default: "5000" },
    seconds: { type: "string", default: "15" },
    flood: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
  },
});
const [rate, seconds] = [Number(flags.rate), Number(flags.seconds)];
const timing = { warmup: 10_000, patience: 170_000 };
const line = 100;
/** ms, and bytes: ten files of 5 MiB, and what a single reading of a pipe may add before the oldest goes. */
const bars = { line: 250, stall: 1000, kept: 10 * 5 * 1024 * 1024 + 1024 * 1024 };

note(loadLine());
await withBerth(async (berth) => {
  const many = 10;
  const one = await followWriters(berth, "single", { name: "log", replicas: 1, rate, lines: rate * seconds, bytes: line }, timing);
  note(`one writer: p99 ${one.p99.toFixed(0)} ms`);
  const each = { name: "log", replicas: many, rate: rate / many, lines: (rate / many) * seconds, bytes: line };
  const ten = await followWriters(berth, "several", each, timing);
  note(`ten writers: p99 ${ten.p99.toFixed(0)} ms`);
  const long = 1000;
  const flooded = await flood(
    berth,
    "flood",
    { name: "loud", replicas: 1, rate: undefined, lines: (Number(flags.flood) * 1e6) / long, bytes: long },
    // As long as the flood: a pipe is read at 6 MB a second at most.
    { name: "quiet", replicas: 1, rate: 100, lines: 100 * Math.max(seconds, Math.ceil(Number(flags.flood) / 6)), bytes: line },
    timing,
  );
  const ms = (value: number): string => value.toFixed(0);
  const row = (name: string, found: Followed): string[] => [
    name,
    String(found.lines),
    ...[found.p50, found.p99, found.longest, found.stalled].map(ms),
    ...[found.cpu.collector, found.cpu["control plane"]].map((cpu) => cpu.toFixed(1)),
  ];
  const all = [one, ten, flooded.beside];
  process.exitCode = report(
    [
      [
        ["", "lines", "p50 ms", "p99 ms", "longest ms", "longest write ms", "collector CPU %", "control plane CPU %"],
        row(`1 process, ${String(rate)} lines/s`, one),
        row(`${String(many)} processes, together ${String(rate)} lines/s`, ten),
        row("100 lines/s beside a flood", flooded.beside),
      ],
      [
        ["the flood", ""],
        ["MB written", (flooded.wrote / 1e6).toFixed(0)],
        ["seconds", (flooded.took / 1000).toFixed(1)],
        ["MB on the disk, at most", (flooded.kept / 1e6).toFixed(1)],
      ],
    ],
    [
      atMost("p99 of a line, 1 process", one.p99, bars.line, "ms", 0),
      atMost("p99 of a line, 10 processes", ten.p99, bars.line, "ms", 0),
      atMost("p99 of a line beside a flood", flooded.beside.p99, bars.line, "ms", 0),
      atMost("a write of a process beside a flood", flooded.beside.stalled, bars.stall, "ms", 0),
      holds(
        "nothing is lost, repeated or out of order",
        String(all.reduce((sum, found) => sum + found.lost + found.wrong, 0)),
        all.every((found) => found.lost + found.wrong === 0),
      ),
      atMost("log of a flood on the disk", flooded.kept / 1e6, Math.ceil(bars.kept / 1e6), "MB"),
    ],
    flags.json,
  );
});
