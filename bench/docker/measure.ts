// What the Docker engine adds to the daemon's own work: until a release answers, and while nothing happens.
import { setTimeout as sleep } from "node:timers/promises";
import type { DockerPlace } from "../../e2e/docker/place.ts";
import { base } from "../../e2e/docker/place.ts";
import { archive, startLoad, until, type Files } from "../../e2e/harness.ts";
import type { DockerApi } from "../../packages/server/src/docker/api.ts";
import { listener } from "../supervise/apps.ts";
import { cpuSpent } from "../shared/watch.ts";
import type { Counter } from "./counter.ts";

const image = "berth-bench/listener:1";
const port = 8080;

/** The smallest program that listens, as an image of the daemon's. */
export async function makeListener(api: DockerApi): Promise<void> {
  const script = (listener["server.pl"] ?? "").replace("INADDR_LOOPBACK", "INADDR_ANY");
  const files = {
    Dockerfile: `FROM ${base}\nCOPY server.pl /\nENV PORT=${String(port)}\nCMD ["perl", "/server.pl"]\n`,
    "server.pl": script,
  };
  const answer = await api.stream("POST", "/build", { query: { t: image }, body: await archive(files), timeout: Infinity });
  for await (const chunk of answer) if (String(chunk).includes("errorDetail")) throw new Error(String(chunk));
}

const compose = (more = ""): Files => ({
  "compose.yaml": `services:\n  web:\n    image: ${image}\n    ports: ["${String(port)}"]\n    x-berth: {kind: web}\n${more}`,
});

/** ms, one sample a round: `docker run` and the first release of a stack, each until it answers, in turn. */
export async function rollouts(
  { api, berth }: DockerPlace,
  rounds: number,
  note: (text: string) => void,
): Promise<{ readonly peer: number[]; readonly answered: number[]; readonly ended: number[] }> {
  const found = { peer: [] as number[], answered: [] as number[], ended: [] as number[] };
  // The first of each loads what both need.
  for (let round = -1; round < rounds; round += 1) {
    const peer = await dockerRun(api);
    const name = `round-${String(round + 1)}`;
    await berth.client.createStack({ body: { name } });
    const plan = await berth.plan(name, compose());
    const from = performance.now();
    const made = await berth.client.applyPlan({ params: { stack: name, plan: plan.id }, body: {} });
    await until(
      async () => ((await berth.get(`web.${name}.localhost`)).status === 200 ? true : undefined),
      "an answer",
      60_000,
      () => berth.log(),
      10,
    );
    const answered = performance.now() - from;
    const ended = await berth.ended(name, "web", made.rollouts[0]?.number ?? 0);
    if (ended.phase !== "succeeded") throw new Error(JSON.stringify(ended.cause));
    const whole = Date.parse(ended.endedAt ?? "") - Date.parse(ended.createdAt);
    if (round < 0) continue;
    found.peer.push(peer);
    found.answered.push(answered);
    found.ended.push(whole);
    note(`round ${String(round + 1)}: docker run ${peer.toFixed(0)} ms, release ${answered.toFixed(0)} ms, succeeded ${String(whole)} ms`);
  }
  return found;
}

/** As its command line does it: create, start, and then somebody asks until there is an answer. */
async function dockerRun(api: DockerApi): Promise<number> {
  const from = performance.now();
  const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: image } });
  await api.json("POST", `/containers/${Id}/start`);
  const seen = await api.json<{ NetworkSettings: { IPAddress: string } }>("GET", `/containers/${Id}/json`);
  await until(
    async () => {
      try {
        return (await fetch(`http://${seen.NetworkSettings.IPAddress}:${String(port)}/`)).ok || undefined;
      } catch {
        // Not listening yet.
        return undefined;
      }
    },
    "an answer",
    30_000,
    () => "",
    10,
  );
  const took = performance.now() - from;
  await api.json("DELETE", `/containers/${Id}`, { query: { force: true } });
  return took;
}

export async function restart(
  { berth }: DockerPlace,
  replicas: number,
  note: (text: string) => void,
): Promise<{ readonly took: number; readonly requests: number; readonly failed: number }> {
  const stack = "fifty";
  const strategy = "    deploy: {replicas: 1, update_config: {parallelism: 2, order: stop-first}}\n";
  await berth.deployed(stack, compose(strategy));
  await scale(berth, stack, replicas);
  note(`${String(replicas)} instances`);
  const load = startLoad(berth, `web.${stack}.localhost`);
  const from = performance.now();
  const { rollout } = await berth.client.restartComponent({ params: { stack, component: "web" } });
  const ended = await berth.ended(stack, "web", rollout ?? 0, 900_000);
  const took = performance.now() - from;
  const { requests, failed } = await load.stop();
  if (ended.phase !== "succeeded") throw new Error(JSON.stringify(ended.cause));
  await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas: 0 } });
  return { took, requests, failed: failed.length };
}

export interface Watching {
  /** Percent of a core. */
  readonly agent: number;
  readonly collector: number;
  /** To the daemon, a minute. */
  readonly calls: number;
}

export async function observe(
  place: DockerPlace,
  counter: Counter,
  instances: number,
  seconds: number,
  note: (text: string) => void,
): Promise<{ readonly without: Watching; readonly with: Watching }> {
  const { berth } = place;
  const perStack = 50;
  const without = await watching(place, counter, seconds / 2);
  for (let left = instances, count = 1; left > 0; left -= perStack, count += 1) {
    const stack = `many-${String(count)}`;
    await berth.deployed(stack, compose());
    await scale(berth, stack, Math.min(perStack, left));
    note(`${stack}: ${String(Math.min(perStack, left))} instances`);
  }
  return { without, with: await watching(place, counter, seconds) };
}

async function watching({ berth }: DockerPlace, counter: Counter, seconds: number): Promise<Watching> {
  // What was begun comes to rest.
  await sleep(5_000);
  const before = cpuSpent(berth);
  const calls = counter.calls();
  const from = performance.now();
  await sleep(seconds * 1000);
  const took = performance.now() - from;
  const after = cpuSpent(berth);
  const share = (part: "agent" | "collector"): number => ((after[part] - before[part]) / 1000 / took) * 100;
  return { agent: share("agent"), collector: share("collector"), calls: ((counter.calls() - calls) / took) * 60_000 };
}

async function scale(berth: DockerPlace["berth"], stack: string, replicas: number): Promise<void> {
  const params = { stack, component: "web" };
  await berth.client.scaleComponent({ params, body: { replicas } });
  await until(
    async () => ((await berth.client.showComponent({ params })).ready === replicas ? true : undefined),
    `${String(replicas)} ready instances of ${stack}`,
    900_000,
    () => berth.log(),
  );
}
