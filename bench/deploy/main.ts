// Measures how fast Berth is to its user, against the bars it sets itself: `npm run bench:deploy -- [--runs N] [--json] [--phases]`.
// Uses the built programs of dist/ when they are there. Leaves nothing behind, and ends with 1 when a bar is missed.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { TestBerth } from "../../e2e/harness.ts";
import { loadLine, rowOf, tableOf, type Measure } from "./table.ts";

const { values: flags } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    phases: { type: "boolean", default: false },
  },
});
const built = existsSync(join(import.meta.dirname, "..", "..", "dist", "server.js"));
// The harness reads this when it is loaded, so it comes before the import.
if (built) process.env["BERTH_TEST_BUILT"] = "1";
const measures = await import("./measures.ts");

const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

async function repeat(name: string, runs: number, bar: number | undefined, once: (run: number) => Promise<number>): Promise<Measure> {
  const samples: number[] = [];
  for (let run = 1; run <= runs; run += 1) samples.push(await once(run));
  note(`${name}: ${samples.map((ms) => Math.round(ms)).join(", ")} ms`);
  return { name, ...(bar === undefined ? {} : { bar }), samples };
}

/** One Berth at a time, so that none slows another down; the last one stays for the other measures. */
async function firstStarts(runs: number, use: (berth: TestBerth) => Promise<Measure[]>): Promise<Measure[]> {
  const samples: number[] = [];
  for (let run = 1; run < runs; run += 1) {
    const { took, berth } = await measures.firstStart({});
    samples.push(took);
    await berth.stop();
  }
  const { took, berth } = await measures.firstStart({});
  try {
    samples.push(took);
    note(`first start: ${samples.map((ms) => Math.round(ms)).join(", ")} ms`);
    return [{ name: "first server start, with the creation of the database", samples }, ...(await use(berth))];
  } finally {
    await berth.stop();
  }
}

async function all(berth: TestBerth, runs: number): Promise<Measure[]> {
  const hello = measures.sample("hello-node");
  const guestbook = measures.sample("guestbook/web");
  const found: Measure[] = [];
  const add = async (name: string, bar: number | undefined, once: (run: number) => Promise<number>): Promise<void> => {
    found.push(await repeat(name, runs, bar, once));
  };

  await add("server start to first answer", 2_000, () => measures.startAgain(berth, false));
  await add("server start to first answer, edge and all stopped before", 2_000, () => measures.startAgain(berth, true));
  await add("hello-node from upload to verified URL, first time", 5_000, (run) => measures.firstDeploy(berth, `hello-${run}`, hello));
  await add("hello-node, nothing changed: up again", 2_500, () => measures.unchangedUp(berth, "hello-1", hello));
  const before = Date.now();
  await add("hello-node, nothing changed: deployed again all the same", 2_500, () => measures.redeploy(berth, "hello-1", hello));
  if (flags.phases)
    note(
      `\nhello-2, first time\n${await measures.timeline(berth, "hello-2")}\n\nhello-1, deployed again\n${await measures.timeline(berth, "hello-1", before)}\n`,
    );
  await add("guestbook's web from upload to verified URL, first time", 5_000, (run) =>
    measures.firstDeploy(berth, `guest-${run}`, guestbook),
  );

  await measures.twoReleases(berth, "many");
  await add("scale 1 to 10, until the router answers from each", 5_000, async (run) => {
    const since = Date.now();
    const took = await measures.scale(berth, "many", 10);
    if (flags.phases && run === runs) note(`\nscale\n${await measures.timeline(berth, "many", since)}\n`);
    await berth.client.scaleComponent({ params: { stack: "many", component: "web" }, body: { replicas: 1 } });
    await measures.settled(berth, "many", 1);
    return took;
  });
  await measures.scale(berth, "many", 3);
  await add("rolling restart of 3", undefined, () => measures.restart(berth, "many"));
  const since = Date.now();
  // To the other release each time: from 2 to 1, and back.
  await add("rollback of 3", undefined, (run) => measures.rollback(berth, "many", 2 - (run % 2)));
  if (flags.phases) note(`\nrollback\n${await measures.timeline(berth, "many", since)}\n`);
  return found;
}

const runs = Number(flags.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error("--runs wants a whole number of at least 1");
note(
  `${built ? "built programs" : "sources (no dist/ here: `npm run build` first)"}, ${runs} runs each; ${loadLine(availableParallelism())}`,
);
const rows = (await firstStarts(runs, (berth) => all(berth, runs))).map(rowOf);
const load = loadLine(availableParallelism());
process.stdout.write(flags.json ? `${JSON.stringify({ built, load, rows }, undefined, 2)}\n` : `${tableOf(rows)}\n${load}\n`);
process.exitCode = rows.some((row) => row.pass === false) ? 1 : 0;
