// A control plane with a fleet: what it holds, how fast it answers while the fleet changes, and how soon it knows all of it again after it was away.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { apiPrefix } from "@berth/contract/api.ts";
import { until } from "../../e2e/harness.ts";
import { ask, kubectl } from "../../tools/cluster/kube.ts";
import { kubeconfig } from "../../tools/cluster/settings.ts";
import { readKubeconfig } from "../../packages/server/src/core/kubeconfig.ts";
import { KubeApi } from "../../packages/server/src/kubernetes/api.ts";
import { Watched } from "../../packages/server/src/kubernetes/watch.ts";
import { memory } from "../router/processes.ts";
import { connect } from "../shared/database.ts";
import { cpuSpent, median } from "../shared/watch.ts";
import { inTurns, type Pretended, type Size } from "./pretended.ts";
import type { Stall } from "./stalls.ts";
import { askViews, type Asked } from "./views.ts";

export const views = ["components of a stack", "instances of a component", "a component"] as const;
export type View = (typeof views)[number];

/** With the CPU time that each answer took, µs: what other work the machine has changes it much less than the rate. */
export interface Costly extends Asked {
  readonly controlPlane: number;
  readonly database: number;
}

export interface FleetFound {
  /** ms: all rollouts. */
  readonly released: number;
  /** Bytes. */
  readonly resident: number;
  readonly mostResident: number;
  /** ms of `kubectl get pods -A`, and of asking Berth for all stacks' components. */
  readonly kubectl: number;
  readonly berth: number;
  readonly quiet: ReadonlyMap<View, Costly>;
  readonly changing: ReadonlyMap<View, Costly>;
  /** Pods that were taken away, and changes of pods that the cluster told, a second. */
  readonly replaced: number;
  readonly changes: number;
  /** ms from the last change until Berth's view is the cluster's. */
  readonly behind: number;
  /** While the fleet changed. */
  readonly stalls: readonly Stall[];
  /** Each component had changed meanwhile: ms from the start of the server, and from when it said that the cluster is connected. */
  readonly sinceStart: number;
  readonly sinceConnected: number;
}

export interface FleetOptions {
  readonly size: Size;
  /** Pods that are replaced, a second. */
  readonly churn: number;
  readonly clients: number;
  /** For each view. */
  readonly seconds: number;
}

interface Seen {
  readonly stack: string;
  readonly component: string;
  readonly name: string;
}

export async function measureFleet(place: Pretended, options: FleetOptions, note: (text: string) => void): Promise<FleetFound> {
  const { berth } = place;
  const { size, seconds, clients } = options;
  const released = await place.apply(await place.plans(size), note);
  const all = size.stacks * size.components;
  note(`${String(all)} components released in ${(released / 1_000).toFixed(0)} s`);
  await using truth = await Truth.open(place.stacks);
  const count = all * size.replicas;
  await until(() => Promise.resolve(truth.pods.size === count ? true : undefined), `${String(count)} pods`, 300_000);
  await truth.known(berth.home, 300_000);
  // What it took to make them is not what it takes to have them.
  await sleep(20_000);
  const took = { kubectl: [] as number[], berth: [] as number[] };
  for (let round = 0; round < 3; round += 1) {
    took.kubectl.push(await timed(() => kubectl(["get", "pods", "-A"])));
    const pages = (stack: string) => berth.client.listComponents({ params: { stack }, query: { limit: 500 } });
    took.berth.push(await timed(() => inTurns(place.stacks, pages, clients)));
  }
  const quiet = await askAll(place, size, { clients, seconds }, note);
  note(`the fleet changes: ${String(options.churn)} pods a second are replaced`);
  const from = Date.now();
  const before = truth.changes;
  const churning = churn(truth, options.churn);
  const changing = await askAll(place, size, { clients, seconds }, note);
  const lasted = (Date.now() - from) / 1_000;
  const changes = (truth.changes - before) / lasted;
  const replaced = (await churning.stop()) / lasted;
  await until(() => Promise.resolve(truth.pods.size === count ? true : undefined), `${String(count)} pods again`, 600_000);
  const behind = await truth.known(berth.home, 300_000);
  const stalls = readStalls(place.stalls).filter(({ at }) => at >= from);
  const { resident } = memory([berth.serverPid()]);
  const mostResident = peakOf(berth.serverPid());
  const { sinceStart, sinceConnected } = await firstView(place, truth, count, note);
  return {
    ...{ released, resident, mostResident, quiet, changing, replaced, changes, behind, stalls, sinceStart, sinceConnected },
    kubectl: median(took.kubectl),
    berth: median(took.berth),
  };
}

/** The server is away while each component loses a pod and gets another. */
async function firstView(
  place: Pretended,
  truth: Truth,
  count: number,
  note: (text: string) => void,
): Promise<{ sinceStart: number; sinceConnected: number }> {
  const { berth } = place;
  await berth.server("stop");
  const one = [...Map.groupBy(truth.pods.values(), ({ stack, component }) => `${stack}/${component}`).values()].flatMap(
    ([first]) => first ?? [],
  );
  const gone = new Set(one.map(({ name }) => name));
  await inTurns(one, remove, 8);
  await until(
    () => Promise.resolve(truth.pods.size === count && [...truth.pods.values()].every(({ name }) => !gone.has(name)) ? true : undefined),
    "the fleet to be whole again",
    300_000,
  );
  const from = performance.now();
  await berth.startServer();
  const connecting = until(
    async () => ((await berth.client.showCluster({ params: { cluster: "kube" } })).reachable ? performance.now() : undefined),
    "the cluster to be connected",
    60_000,
  );
  const connected = await connecting;
  await truth.known(berth.home, 300_000);
  const now = performance.now();
  note(`connected after ${((connected - from) / 1_000).toFixed(1)} s, all seen after ${((now - from) / 1_000).toFixed(1)} s`);
  await truth.shown(berth.client, place.stacks);
  return { sinceStart: now - from, sinceConnected: now - connected };
}

async function askAll(
  { berth, stacks }: Pretended,
  { components }: Size,
  how: { readonly clients: number; readonly seconds: number },
  note: (text: string) => void,
): Promise<Map<View, Costly>> {
  const of = (stack: string): string[] =>
    Array.from({ length: components }, (_, index) => `${apiPrefix}/stacks/${stack}/components/c${String(index)}`);
  const one = stacks.flatMap(of);
  const paths: Record<View, readonly string[]> = {
    "components of a stack": stacks.map((stack) => `${apiPrefix}/stacks/${stack}/components`),
    "instances of a component": one.map((path) => `${path}/instances`),
    "a component": one,
  };
  const found = new Map<View, Costly>();
  for (const view of views) {
    const before = cpuSpent(berth);
    const asked = await askViews(berth, paths[view], how);
    const after = cpuSpent(berth);
    const each = (part: "control plane" | "PostgreSQL"): number => (after[part] - before[part]) / (asked.rate * how.seconds);
    note(`${view}: ${asked.rate.toFixed(0)} a second, p50 ${asked.p50.toFixed(1)} ms, p99 ${asked.p99.toFixed(1)} ms`);
    found.set(view, { ...asked, controlPlane: each("control plane"), database: each("PostgreSQL") });
  }
  return found;
}

/** The pods of some stacks as the cluster tells them. */
class Truth implements AsyncDisposable {
  changes = 0;
  readonly #api: KubeApi;
  readonly #watched: Watched<Seen, PodLabels>;

  private constructor(api: KubeApi, stacks: ReadonlySet<string>) {
    this.#api = api;
    this.#watched = new Watched<Seen, PodLabels>(api, "Pod", {
      labels: "berth.role=instance",
      project: ({ metadata }) => {
        const { "berth.stack": stack = "", "berth.component": component = "" } = metadata.labels ?? {};
        return stacks.has(stack) && metadata.deletionTimestamp === undefined ? { stack, component, name: metadata.name } : undefined;
      },
      onChange: () => (this.changes += 1),
    });
  }

  static async open(stacks: readonly string[]): Promise<Truth> {
    const read = readKubeconfig(readFileSync(kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    const truth = new Truth(new KubeApi(read.config.access), new Set(stacks));
    await truth.#watched.synced;
    return truth;
  }

  get pods(): ReadonlyMap<string, Seen> {
    return this.#watched.items;
  }

  /** ms until what Berth has stored of the instances is what the cluster has. Those that are ending, which may take long, are none of them. */
  async known(home: string, within: number): Promise<number> {
    const from = performance.now();
    const db = await connect(home);
    try {
      await until(
        async () => {
          const { rows } = await db.query<{ stack: string; ids: string[] }>(
            "select s.name as stack, array(select e ->> 'id' from jsonb_array_elements(c.observed -> 'instances') e where e ->> 'phase' <> 'stopping') as ids from components c join stacks s on s.id = c.stack_id",
          );
          const stored = new Set(rows.flatMap(({ stack, ids }) => ids.map((id) => `berth-${stack}/${id}`)));
          return stored.size === this.pods.size && [...this.pods.keys()].every((key) => stored.has(key)) ? true : undefined;
        },
        "Berth to know the fleet as it is",
        within,
        () => "",
        100,
      );
    } finally {
      await db.end();
    }
    return performance.now() - from;
  }

  /** Throws unless the API shows the same. */
  async shown(client: Pretended["berth"]["client"], stacks: readonly string[]): Promise<void> {
    let seen = 0;
    for (const stack of stacks)
      for (const { name } of (await client.listComponents({ params: { stack }, query: { limit: 500 } })).items)
        for (const { id, phase } of (await client.listInstances({ params: { stack, component: name }, query: { limit: 500 } })).items) {
          if (phase === "stopping") continue;
          if (!this.pods.has(`berth-${stack}/${id}`)) throw new Error(`${stack}/${name} shows ${id}, which the cluster does not have`);
          seen += 1;
        }
    if (seen !== this.pods.size) throw new Error(`Berth shows ${String(seen)} instances, and the cluster has ${String(this.pods.size)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watched.close();
    await this.#api.close();
  }
}

interface PodLabels {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly labels?: Record<string, string>;
    readonly deletionTimestamp?: string;
  };
}

/** false: it was gone already. */
async function remove({ stack, name }: Seen): Promise<boolean> {
  const { status, text } = await ask("DELETE", `/api/v1/namespaces/berth-${stack}/pods/${name}`);
  if (status >= 300 && status !== 404) throw new Error(`a pod could not be removed: ${text}`);
  return status < 300;
}

/** Takes pods away at a steady pace, of one component after the other; their Deployments make others. `stop` answers how many. */
function churn(truth: Truth, rate: number): { stop(): Promise<number> } {
  const stopping = new AbortController();
  let gone = 0;
  const work = (async () => {
    const from = performance.now();
    const under = new Set<Promise<void>>();
    for (let done = 0; !stopping.signal.aborted;) {
      const all = [...truth.pods.values()];
      while (done < ((performance.now() - from) * rate) / 1_000) {
        const pod = all[(done * 7_919) % all.length];
        done += 1;
        if (pod === undefined) continue;
        const removed = remove(pod)
          .then((was) => {
            if (was) gone += 1;
          })
          .finally(() => under.delete(removed));
        under.add(removed);
      }
      await sleep(50);
    }
    await Promise.all(under);
  })();
  work.catch(() => undefined);
  return {
    async stop() {
      stopping.abort();
      await work;
      return gone;
    },
  };
}

function readStalls(folder: string): Stall[] {
  return readdirSync(folder).flatMap((name) =>
    readFileSync(join(folder, name), "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Stall),
  );
}

/** Bytes that were resident at most. */
function peakOf(pid: number): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8"))?.[1];
  return Number(kib ?? NaN) * 1_024;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await run();
  return performance.now() - from;
}
