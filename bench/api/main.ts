// Measures the API of a large installation: `npm run bench:api -- [--rounds N] [--deployments N] [--stacks N] [--seconds N] [--build ROUNDS] [--idle SECONDS] [--json]`. 1,000 components
// and 5,000 releases are stored; every list and show route is asked, alone and while deployments run; then the idle cost is read. Leaves nothing behind,
// and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { atMost, loadLine, note, report } from "../shared/bars.ts";
import { withBerth } from "../shared/berth.ts";
import { costOf, percentile, type Part } from "../shared/watch.ts";
import { askApart, type Answered } from "./asking.ts";
import { deployAll, keepDeploying } from "./deployments.ts";
import { seed } from "./seed.ts";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "100" },
    deployments: { type: "string", default: "20" },
    stacks: { type: "string", default: "100" },
    seconds: { type: "string", default: "60" },
    build: { type: "string", default: "10" },
    idle: { type: "string", default: "45" },
    json: { type: "boolean", default: false },
  },
});
const size = { stacks: Number(flags.stacks), components: 10, releases: 5, events: 20 };
const live = Array.from({ length: Number(flags.deployments) }, (_, index) => `live-${String(index)}`);
/** ms */
const bar = 20;

note(loadLine());
await withBerth(async (berth) => {
  await seed(berth, size);
  note(`stored: ${String(size.stacks * size.components)} components, ${String(size.stacks * size.components * size.releases)} releases`);
  await deployAll(berth, live);
  note(`running: ${String(live.length)}`);
  const asking = { url: berth.url, token: berth.token, size, live, rounds: Number(flags.rounds), seconds: Number(flags.seconds) };
  const alone = await askApart(asking);
  const deploying = keepDeploying(berth, live, Number(flags.build));
  const beside = await askApart(asking);
  note(`${String(await deploying.stop())} deployments went on meanwhile`);
  const cost = await costOf(berth, Number(flags.idle));

  const ms = (answers: Answered, name: string, percent: number): number => percentile(answers.get(name) ?? [], percent);
  const names = [...alone.keys()];
  const slow = names.filter((name) => ms(beside, name, 99) > bar);
  const parts = Object.keys(cost) as Part[];
  process.exitCode = report(
    [
      [
        ["route", "n", "alone p50 ms", "p99", "deploying, n", "p50 ms", "p99", "pass"],
        ...names.map((name) => [
          name,
          String(alone.get(name)?.length),
          ...[50, 99].map((percent) => ms(alone, name, percent).toFixed(1)),
          String(beside.get(name)?.length),
          ...[50, 99].map((percent) => ms(beside, name, percent).toFixed(1)),
          slow.includes(name) ? "NO" : "yes",
        ]),
      ],
      [
        ["idle", "CPU %", "own MB", "RSS MB"],
        ...parts.map((part) => [
          part,
          cost[part].cpu.toFixed(2),
          (cost[part].own / 1e6).toFixed(0),
          (cost[part].resident / 1e6).toFixed(0),
        ]),
      ],
    ],
    [
      atMost(
        `slowest route's p99 while ${String(live.length)} deployments run`,
        Math.max(...names.map((name) => ms(beside, name, 99))),
        bar,
        "ms",
      ),
      atMost("idle control plane", cost["control plane"].cpu, 2, "% of a core", 2),
      atMost("idle control plane, resident", cost["control plane"].resident / 1e6, 200, "MB", 0),
    ],
    flags.json,
  );
});
