// What is measured, each the way a user meets it: from the request until the promise is kept, seen from outside. A run that does not end
// as it should throws, so that a failure never passes for a fast one.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { TestBerth, until, webApp, type Files } from "../../e2e/harness.ts";

const examples = join(import.meta.dirname, "..", "..", "examples");

/** The text files of a sample, as a user's folder has them. */
export function sample(name: string): Files {
  const folder = join(examples, name);
  return Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "utf8")]));
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** A fresh home: PostgreSQL's binaries are unpacked, the database is created, the edge is started. */
export async function firstStart(env: Record<string, string>): Promise<{ readonly took: number; readonly berth: TestBerth }> {
  const berth = new TestBerth(env);
  try {
    const took = await timed(() => berth.server("start"));
    await berth.startServer();
    await berth.login();
    return { took, berth };
  } catch (error) {
    await berth.stop();
    throw error;
  }
}

/** `berth server start` until it returns, which is when the API answered. `all`: edge and database were stopped too, as after a boot. */
export async function startAgain(berth: TestBerth, all: boolean): Promise<number> {
  await berth.server("stop", ...(all ? ["--all"] : []));
  const took = await timed(() => berth.server("start"));
  await berth.startServer();
  return took;
}

/** The main job: a folder that Berth has not seen, from its upload until the router has answered with it. */
export async function firstDeploy(berth: TestBerth, stack: string, files: Files): Promise<number> {
  return timed(async () => {
    const made = await berth.up(stack, files);
    await succeeded(berth, stack, "web", made.rollouts[0]?.number);
    await answers(berth, stack);
  });
}

/** `berth up` in a folder that did not change: nothing is released, and the URL still answers. */
export async function unchangedUp(berth: TestBerth, stack: string, files: Files): Promise<number> {
  return timed(async () => {
    const made = await berth.up(stack, files);
    if (made.rollouts.length + made.builds.length > 0 || made.unchanged.length !== 1)
      throw new Error(`an unchanged folder was released again: ${JSON.stringify(made)}`);
    await answers(berth, stack);
  });
}

/** The same source once more by force: upload, rollout, verification. Berth keeps the artifact and the instances, since nothing differs. */
export async function redeploy(berth: TestBerth, stack: string, files: Files): Promise<number> {
  return timed(async () => {
    const source = await berth.upload(stack, files);
    const made = await berth.client.deployComponent({ params: { stack, component: "web" }, body: { source } });
    await succeeded(berth, stack, "web", made.rollouts[0]?.number);
    await answers(berth, stack);
  });
}

/** Until the router has answered from each of the instances, and the component says so too. */
export async function scale(berth: TestBerth, stack: string, replicas: number): Promise<number> {
  return timed(async () => {
    await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas } });
    await settled(berth, stack, replicas);
    const seen = new Set<string>();
    await until(async () => {
      for (const answer of await Promise.all(Array.from({ length: replicas }, () => berth.get(`web.${stack}.localhost`))))
        if (answer.status === 200) seen.add(answer.body);
      return seen.size >= replicas || undefined;
    }, `answers of ${replicas} instances`);
  });
}

export async function settled(berth: TestBerth, stack: string, replicas: number): Promise<void> {
  await until(
    async () => {
      const [component, instances] = await Promise.all([
        berth.client.showComponent({ params: { stack, component: "web" } }),
        berth.client.listInstances({ params: { stack, component: "web" } }),
      ]);
      return (component.ready === replicas && component.state === "healthy" && instances.items.length === replicas) || undefined;
    },
    `${replicas} ready instances`,
    30_000,
    () => berth.log(),
  );
}

export async function restart(berth: TestBerth, stack: string): Promise<number> {
  return timed(async () => {
    const { rollout } = await berth.client.restartComponent({ params: { stack, component: "web" } });
    await succeeded(berth, stack, "web", rollout);
  });
}

export async function rollback(berth: TestBerth, stack: string, release: number): Promise<number> {
  return timed(async () => {
    const made = await berth.client.rollbackComponent({ params: { stack, component: "web" }, body: { release } });
    await succeeded(berth, stack, "web", made.rollouts[0]?.number);
  });
}

/** Two releases of a component whose answer names its instance. */
export async function twoReleases(berth: TestBerth, stack: string): Promise<void> {
  await berth.deployed(stack, webApp("one"));
  await berth.deployed(stack, webApp("two"));
}

async function succeeded(berth: TestBerth, stack: string, component: string, number: number | undefined): Promise<Rollout> {
  if (number === undefined) throw new Error(`no rollout of ${component} was made`);
  const rollout = await berth.ended(stack, component, number);
  if (rollout.phase !== "succeeded")
    throw new Error(`rollout ${number} of ${component} ${rollout.phase}: ${JSON.stringify(rollout.cause)}`);
  return rollout;
}

async function answers(berth: TestBerth, stack: string): Promise<void> {
  const { status } = await berth.get(`web.${stack}.localhost`);
  if (status !== 200) throw new Error(`web.${stack}.localhost answered ${status}`);
}

/** Where the time of a stack's work went: its events, with the ms since the first of them and since the one before. */
export async function timeline(berth: TestBerth, stack: string, since = 0): Promise<string> {
  const { items } = await berth.client.listEvents({ query: { stack, limit: 200 } });
  const events = items.toReversed().filter((event) => Date.parse(event.at) >= since);
  const first = Date.parse(events[0]?.at ?? "");
  return events
    .map((event, index) => {
      const at = Date.parse(event.at);
      const before = Date.parse(events[index - 1]?.at ?? event.at);
      return `${String(at - first).padStart(7)} ${String(at - before).padStart(6)}  ${event.code} ${JSON.stringify(event.params)}`;
    })
    .join("\n");
}
