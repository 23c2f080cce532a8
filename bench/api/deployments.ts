// Deployments that are always under way: as many stacks as asked for, each released again as soon as its last rollout ended.
import { setTimeout as sleep } from "node:timers/promises";
import type { Files, TestBerth } from "../../e2e/harness.ts";
import { built } from "../queue/project.ts";
import { listener } from "../supervise/apps.ts";

export interface Deploying {
  /** Lets each end. How many rollouts succeeded; throws when one did not. */
  stop(): Promise<number>;
}

/** Every stack once; then they run. */
export async function deployAll(berth: TestBerth, stacks: readonly string[]): Promise<void> {
  for (const stack of stacks) await deploy(berth, stack, listener);
}

/** `rounds`: how much work each build is, as in the benchmark of the queue; 0: there is nothing to build. */
export function keepDeploying(berth: TestBerth, stacks: readonly string[], rounds: number): Deploying {
  const stopping = new AbortController();
  let done = 0;
  const work = Promise.all(
    stacks.map(async (stack) => {
      for (let version = 1; !stopping.signal.aborted; version += 1) {
        const text = `${stack} ${String(version)}`;
        await deploy(berth, stack, rounds === 0 ? { ...listener, VERSION: text } : { ...built(text, rounds), ...listener });
        done += 1;
      }
    }),
  );
  // Told when it is stopped.
  work.catch(() => undefined);
  return {
    async stop() {
      stopping.abort();
      await work;
      return done;
    },
  };
}

async function deploy(berth: TestBerth, stack: string, project: Files): Promise<void> {
  const made = await berth.up(stack, project);
  for (const { component, number } of made.rollouts) {
    const params = { stack, component, rollout: number };
    let rollout = await berth.client.showRollout({ params });
    // Seldom: the questions that are measured are those of the other thread.
    for (; rollout.endedAt === undefined; rollout = await berth.client.showRollout({ params })) await sleep(500);
    if (rollout.phase !== "succeeded")
      throw new Error(`rollout ${String(number)} of ${stack} ${rollout.phase}: ${JSON.stringify(rollout.cause)}`);
  }
}
