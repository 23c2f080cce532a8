// Stacks of Berth on nodes that are only pretended (tools/cluster/fleet.ts): planned, released and kept by Berth as any other, with Deployments whose pods the cluster makes and
// schedules as any other; only what a node would run is not there. Nothing answers requests, so they are workers.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { TestBerth, type Files } from "../../e2e/harness.ts";
import { fleet, fleetLabel, podsPerNode } from "../../tools/cluster/fleet.ts";
import { makeNobodyImage, pushTo } from "../../tools/cluster/images.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { kubeconfig, nodeAddress, ports, registry } from "../../tools/cluster/settings.ts";
import { createProgress } from "../../tools/progress.mjs";

export interface Size {
  readonly stacks: number;
  /** Of each stack. */
  readonly components: number;
  /** Of each component. */
  readonly replicas: number;
}

/** As many as people have at hand at once. */
const atOnce = 8;

export class Pretended implements AsyncDisposable {
  readonly berth: TestBerth;
  readonly stalls: string;
  readonly #mark: string;
  readonly #stacks: string[] = [];

  private constructor(berth: TestBerth, stalls: string, mark: string) {
    this.berth = berth;
    this.stalls = stalls;
    this.#mark = mark;
  }

  /** With nodes for so many pods. `access`: a kubeconfig's path, where Berth is to ask somebody else than the cluster itself. */
  static async open(pods: number, access = kubeconfig): Promise<Pretended> {
    await pushTo(registry, "bench/web", "1", await makeNobodyImage());
    const stalls = mkdtempSync(join(tmpdir(), "berth-stalls-"));
    const berth = await TestBerth.start({ NODE_OPTIONS: `--import=${join(import.meta.dirname, "stalls.ts")}`, BERTH_BENCH_STALLS: stalls });
    // Of its own: what an earlier run left that was killed is another installation's.
    const made = new Pretended(berth, stalls, `bench-${randomBytes(3).toString("hex")}`);
    try {
      // Some room beside: what is replaced is there twice for a moment.
      await fleet({ nodes: Math.ceil((pods * 1.1) / podsPerNode), pods: 0 }, createProgress(process.stderr));
      const added = await berth.cli([
        ...["clusters", "add", "kube", "--kubeconfig", access, "--domain", "bench.test"],
        ...["--address", `${nodeAddress}:${String(ports.gateway)}`],
      ]);
      if (added.code !== 0) throw new Error(added.said);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  get stacks(): readonly string[] {
    return this.#stacks;
  }

  get namespaces(): readonly string[] {
    return this.#stacks.map((stack) => `berth-${stack}`);
  }

  /** Plans of new stacks, ready to be applied. */
  async plans({ stacks, components, replicas }: Size): Promise<readonly { readonly stack: string; readonly plan: string }[]> {
    const from = this.#stacks.length;
    const names = Array.from({ length: stacks }, (_, index) => `${this.#mark}-${String(from + index)}`);
    this.#stacks.push(...names);
    return inTurns(names, async (stack) => {
      await this.berth.client.createStack({ body: { name: stack, cluster: "kube" } });
      const { id } = await this.berth.plan(stack, compose(components, replicas));
      return { stack, plan: id };
    });
  }

  /** Until all that they release is there. ms from the first request. Throws when a rollout does not succeed. */
  async apply(plans: readonly { readonly stack: string; readonly plan: string }[], note: (text: string) => void): Promise<number> {
    const from = performance.now();
    const { client } = this.berth;
    const made = await inTurns(plans, ({ stack, plan }) => client.applyPlan({ params: { stack, plan }, body: {} }), plans.length);
    const waiting = new Map(made.map(({ stack, rollouts }) => [stack, rollouts]));
    let told = 0;
    for (let left = Infinity; left > 0;) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      left = 0;
      for (const [stack, rollouts] of waiting) {
        const { items } = await client.listComponents({ params: { stack }, query: { limit: 500 } });
        const open = items.filter(({ rollout }) => rollout?.phase !== "succeeded");
        const bad = open.find(({ rollout }) => rollout?.phase === "failed" || rollout?.phase === "aborted");
        if (bad !== undefined) throw new Error(`${stack}/${bad.name}: ${JSON.stringify(bad.cause ?? bad.rollout)}`);
        if (items.length >= rollouts.length && open.length === 0) waiting.delete(stack);
        else left += open.length;
      }
      if (performance.now() - from > told + 10_000)
        note(`${String(left)} rollouts under way (${((told = performance.now() - from) / 1_000).toFixed(0)} s)`);
      if (performance.now() - from > 1_800_000) throw new Error(`after half an hour ${String(left)} rollouts are still under way`);
    }
    return performance.now() - from;
  }

  /** Takes away the stacks' namespaces, and with them all that is in them. */
  async clear(): Promise<void> {
    const names = [...this.namespaces];
    if (names.length > 0) await kubectl(["delete", "namespace", ...names, "--ignore-not-found", "--timeout=900s"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // First: it would make again what is taken away.
    await this.berth.stop();
    rmSync(this.stalls, { recursive: true, force: true });
    try {
      // While their nodes are there: somebody has to say that they have ended.
      await this.clear();
    } finally {
      await fleet({ nodes: 0, pods: 0 }, createProgress(process.stderr));
    }
  }
}

/** What keeps pods on pretended nodes. */
export const onFleet = { nodeSelector: { [fleetLabel]: "true" }, tolerations: [{ key: fleetLabel, operator: "Exists" }] } as const;

function compose(components: number, replicas: number): Files {
  const service = {
    image: `${registry}/bench/web:1`,
    command: ["/bin/sh", "-c", "exec sleep 100000"],
    deploy: { replicas },
    environment: { LOG_LEVEL: "info", REGION: "north" },
    "x-berth": { kind: "worker", kubernetes: { Deployment: { spec: { template: { spec: onFleet } } } } },
  };
  const services = Object.fromEntries(Array.from({ length: components }, (_, index) => [`c${String(index)}`, service]));
  return { "compose.yaml": JSON.stringify({ services }) };
}

/** So many at a time; the answers in the order of the questions. */
export async function inTurns<T, R>(all: readonly T[], ask: (one: T) => Promise<R>, most = atOnce): Promise<R[]> {
  const answers: R[] = [];
  let next = 0;
  const hand = async (): Promise<void> => {
    for (let index = next++; index < all.length; index = next++) answers[index] = await ask(all[index] as T);
  };
  await Promise.all(Array.from({ length: Math.min(most, all.length) }, hand));
  return answers;
}
