// Measures the Docker engine: `npm run bench:docker -- [--only rollout,restart,observe] [--rounds N] [--instances N] [--seconds N] [--json]`. On a dockerd of its
// own; leaves nothing behind, and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { parseArgs } from "node:util";
import { DockerPlace, missing } from "../../e2e/docker/place.ts";
import { atMost, holds, loadLine, note, report, type Bar } from "../shared/bars.ts";
import { median } from "../shared/watch.ts";
import { startCounter } from "./counter.ts";
import { makeListener, observe, restart, rollouts } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: "rollout,restart,observe" },
    rounds: { type: "string", default: "7" },
    instances: { type: "string", default: "500" },
    seconds: { type: "string", default: "60" },
    json: { type: "boolean", default: false },
  },
});
if (missing !== undefined) throw new Error(missing);
note(loadLine());
const only = new Set(flags.only.split(","));
const counter = await startCounter();
const place = await DockerPlace.open({}, { BERTH_DOCKER_HOST: counter.url });
const end = async (): Promise<void> => {
  await place[Symbol.asyncDispose]();
  await counter[Symbol.asyncDispose]();
};
process.once("SIGINT", () => void end().finally(() => process.exit(130)));
try {
  counter.passTo(place.daemon.url);
  await makeListener(place.api);
  const tables: string[][][] = [];
  const bars: Bar[] = [];
  if (only.has("rollout")) {
    const found = await rollouts(place, Number(flags.rounds), note);
    const row = (name: string, samples: readonly number[]): string[] => [
      name,
      median(samples).toFixed(0),
      Math.min(...samples).toFixed(0),
      Math.max(...samples).toFixed(0),
    ];
    tables.push([
      ["ms until it answers", "median", "least", "most"],
      row("docker run", found.peer),
      row("first release of a stack", found.answered),
      row("the same, until it is called succeeded", found.ended),
    ]);
    bars.push(atMost("a rollout over `docker run`, until it answers", (median(found.answered) - median(found.peer)) / 1000, 0.5, "s", 2));
  }
  if (only.has("restart")) {
    const found = await restart(place, 50, note);
    tables.push([
      ["restart of 50, 2 at a time", "seconds", "requests", "failed"],
      ["", (found.took / 1000).toFixed(0), String(found.requests), String(found.failed)],
    ]);
    bars.push(holds("restart of 50 instances, 2 unavailable: no lost request", `${String(found.failed)} failed`, found.failed === 0));
  }
  if (only.has("observe")) {
    const found = await observe(place, counter, Number(flags.instances), Number(flags.seconds), note);
    tables.push([
      ["idle", "CPU %, agent", "CPU %, collector", "calls to the daemon/min"],
      ["no instance", found.without.agent.toFixed(2), found.without.collector.toFixed(2), found.without.calls.toFixed(0)],
      [`${flags.instances} instances`, found.with.agent.toFixed(2), found.with.collector.toFixed(2), found.with.calls.toFixed(0)],
    ]);
    bars.push(
      atMost(`${flags.instances} containers, agent and collector together`, found.with.agent + found.with.collector, 3, "% of a core", 2),
      atMost("calls to the daemon for one of them", found.with.calls / Number(flags.instances), 1.1, "a minute", 2),
    );
  }
  process.exitCode = report(tables, bars, flags.json);
} finally {
  await end();
}
