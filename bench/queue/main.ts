// Measures the queue of builds: `npm run bench:queue -- [--stacks N] [--components N] [--rounds N] [--turns N] [--json]`. 100 deployments are asked for at one
// moment, and the same builds run by a plain shell loop afterwards. What a deployment takes beside its build is the same however long that is, so a comparison says
// something only with its size: the standard is a build of some 4 s of CPU time, which is little for one that installs or compiles anything; `--rounds 10` is less than
// one, npm's own start included. Leaves nothing behind, and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { atMost, holds, loadLine, note, report } from "../shared/bars.ts";
import { withBerth } from "../shared/berth.ts";
import { deployAtOnce, shellLoop, stacksOf, type Loop, type Queued } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    stacks: { type: "string", default: "10" },
    components: { type: "string", default: "10" },
    rounds: { type: "string", default: "60" },
    turns: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
/** Builds at once, which is what the server does by itself. */
const atOnce = 2;
const seconds = (ms: number): string => (ms / 1000).toFixed(1);

note(loadLine());
const stacks = stacksOf(Number(flags.stacks), Number(flags.components), Number(flags.rounds));
const turns: { readonly found: Queued; readonly loop: Loop }[] = [];
for (let turn = 0; turn < Number(flags.turns); turn += 1) {
  const found = await withBerth(async (berth) => deployAtOnce(berth, stacks));
  for (const words of found.lost) note(words);
  const loop = await shellLoop(stacks, found.plan, atOnce);
  note(`${String(found.deployments)} deployments: ${seconds(found.done)} s; the shell loop: ${seconds(loop.took)} s`);
  turns.push({ found, loop });
}
const mean = (of: (turn: (typeof turns)[number]) => number): number => turns.reduce((sum, turn) => sum + of(turn), 0) / turns.length;
const most = (of: (turn: (typeof turns)[number]) => number): number => Math.max(...turns.map(of));
const lost = turns.reduce((sum, { found }) => sum + found.lost.length, 0);
const deployments = mean(({ found }) => found.deployments);
const cpu = { own: mean(({ found }) => found.cpu), loop: mean(({ loop }) => loop.cpu) };
process.exitCode = report(
  [
    [
      ["", "seconds", "CPU seconds"],
      ["all deployments, until the first stack was complete", seconds(mean(({ found }) => Math.min(...found.perStack))), ""],
      ["until the last build ended", seconds(mean(({ found }) => found.built)), ""],
      ["until the last rollout was verified; Berth's own CPU time", seconds(mean(({ found }) => found.done)), cpu.own.toFixed(1)],
      [`the same builds by a shell loop, ${String(atOnce)} at once`, seconds(mean(({ loop }) => loop.took)), cpu.loop.toFixed(1)],
      ["a build of the loop, for each", "", (cpu.loop / deployments).toFixed(2)],
      [
        "longer than the loop, for each deployment",
        (mean(({ found, loop }) => found.done - loop.took) / 1000 / deployments).toFixed(2),
        "",
      ],
    ],
  ],
  [
    holds("none is lost", `${String(lost)} lost`, lost === 0),
    atMost(
      "builds that one stack is ahead of another",
      most(({ found }) => found.lead),
      2,
      "builds",
      0,
    ),
    atMost(
      "last stack complete, compared with the first",
      most(({ found }) => Math.max(...found.perStack) / Math.min(...found.perStack)),
      1.5,
      "times",
      2,
    ),
    atMost("all of it, compared with the shell loop", mean(({ found }) => found.done) / mean(({ loop }) => loop.took), 1.2, "times", 2),
  ],
  flags.json,
);
