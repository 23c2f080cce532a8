// One component from 1 to many instances on pretended nodes, by Berth and by kubectl in turn: what comes beside the cluster's own work.
import { until } from "../../e2e/harness.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { inPairs, type Samples } from "./compare.ts";
import { Pretended } from "./pretended.ts";

export class Scale implements AsyncDisposable {
  readonly #place: Pretended;
  readonly #replicas: number;
  #peer: string | undefined;

  private constructor(place: Pretended, replicas: number) {
    this.#place = place;
    this.#replicas = replicas;
  }

  static async open(replicas: number): Promise<Scale> {
    return new Scale(await Pretended.open(2 * replicas), replicas);
  }

  async measure(rounds: number, note: (text: string) => void): Promise<Samples> {
    await this.#place.apply(await this.#place.plans({ stacks: 1, components: 1, replicas: 1 }), note);
    const [stack = ""] = this.#place.stacks;
    await this.#makePeer(stack);
    return inPairs(
      rounds,
      note,
      () => this.#theirs(),
      () => this.#ours(stack),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#peer !== undefined) await kubectl(["delete", "namespace", this.#peer, "--ignore-not-found", "--timeout=300s"]);
    } finally {
      await this.#place[Symbol.asyncDispose]();
    }
  }

  /** The Deployment that Berth made, in a namespace of its own and as nobody's. */
  async #makePeer(stack: string): Promise<void> {
    const namespace = `peer-${stack}`;
    this.#peer = namespace;
    const { items } = JSON.parse(await kubectl(["-n", `berth-${stack}`, "get", "deployments", "-o", "json"])) as { items: Made[] };
    const [made] = items;
    if (made === undefined) throw new Error("Berth made no Deployment");
    const labels = { app: "c0" };
    const { template } = made.spec;
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "c0", namespace },
      spec: { ...made.spec, selector: { matchLabels: labels }, template: { ...template, metadata: { labels } } },
    };
    await kubectl(["create", "namespace", namespace]);
    await kubectl(["apply", "-f", "-"], { input: JSON.stringify(deployment) });
    await kubectl(["-n", namespace, "rollout", "status", "deployment", "c0", "--timeout=300s"]);
  }

  async #theirs(): Promise<number> {
    const namespace = this.#peer ?? "";
    const from = performance.now();
    await kubectl(["-n", namespace, "scale", "deployment", "c0", `--replicas=${String(this.#replicas)}`]);
    await kubectl(["-n", namespace, "rollout", "status", "deployment", "c0", "--timeout=300s"]);
    const took = performance.now() - from;
    await kubectl(["-n", namespace, "scale", "deployment", "c0", "--replicas=1"]);
    await podsLeft(namespace, 1);
    return took;
  }

  async #ours(stack: string): Promise<number> {
    const params = { stack, component: "c0" };
    const { client } = this.#place.berth;
    const scaled = async (replicas: number): Promise<number> => {
      const from = performance.now();
      await client.scaleComponent({ params, body: { replicas } });
      const isReady = async () => ((await client.showComponent({ params })).ready === replicas ? true : undefined);
      await until(isReady, `${String(replicas)} ready`, 300_000, () => this.#place.berth.log(), 20);
      return performance.now() - from;
    };
    const took = await scaled(this.#replicas);
    await scaled(1);
    await podsLeft(`berth-${stack}`, 1);
    return took;
  }
}

interface Made {
  readonly spec: { readonly template: object };
}

/** Nothing of a round is still ending in the next one. */
async function podsLeft(namespace: string, left: number): Promise<void> {
  const names = async (): Promise<number> =>
    (await kubectl(["-n", namespace, "get", "pods", "-o", "name"])).split("\n").filter(Boolean).length;
  await until(
    async () => ((await names()) <= left ? true : undefined),
    `${String(left)} pods in ${namespace}`,
    120_000,
    () => "",
    500,
  );
}
