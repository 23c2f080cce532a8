// The same component twice on one cluster: as Berth's, and as the very objects that Berth made of it, which kubectl applies in a namespace beside it.
import { randomBytes } from "node:crypto";
import { TestBerth, until, type Files } from "../../e2e/harness.ts";
import { makeNobodyImage, pushTo } from "../../tools/cluster/images.ts";
import { kubectl } from "../../tools/cluster/kube.ts";
import { kubeconfig, nodeAddress, ports, registry } from "../../tools/cluster/settings.ts";
import { inPairs, type Samples } from "./compare.ts";

// Of its own: what an earlier run left that was killed is another installation's.
const stack = `bench-${randomBytes(3).toString("hex")}`;
const own = `berth-${stack}`;
const peer = `${stack}-peer`;
const component = { stack, component: "web" };
const program = "mkdir -p /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www";

const compose = (round: number): Files => ({
  "compose.yaml": JSON.stringify({
    services: {
      web: {
        image: `${registry}/bench/web:1`,
        command: ["/bin/sh", "-c", program],
        ports: ["8080"],
        environment: { ROUND: String(round) },
        "x-berth": { kind: "web" },
      },
    },
  }),
});

interface Manifest {
  metadata: Record<string, unknown> & { name: string; labels?: Record<string, string> };
  spec: {
    replicas: number;
    selector: { matchLabels: Record<string, string> };
    template: {
      metadata: { labels: Record<string, string>; annotations?: Record<string, string> };
      spec: { containers: { env?: { name: string; value?: string }[]; envFrom?: unknown }[] };
    };
  };
}

export class Bench implements AsyncDisposable {
  readonly #berth: TestBerth;
  #round = 0;

  private constructor(berth: TestBerth) {
    this.#berth = berth;
  }

  static async open(): Promise<Bench> {
    await pushTo(registry, "bench/web", "1", await makeNobodyImage());
    const berth = await TestBerth.start();
    try {
      const added = await berth.cli([
        ...["clusters", "add", "kube", "--kubeconfig", kubeconfig, "--domain", "bench.test"],
        ...["--address", `${nodeAddress}:${String(ports.gateway)}`],
      ]);
      if (added.code !== 0) throw new Error(added.said);
      await berth.client.createStack({ body: { name: stack, cluster: "kube" } });
      const bench = new Bench(berth);
      await bench.#release();
      return bench;
    } catch (error) {
      await berth.stop();
      throw error;
    }
  }

  async releases(replicas: number, rounds: number, note: (text: string) => void): Promise<Samples> {
    await this.#scale(replicas);
    await this.#makePeer();
    return inPairs(
      rounds,
      note,
      () => this.#applyPeer(replicas),
      () => this.#release(),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#berth.stop();
    await kubectl(["delete", "namespace", own, peer, "--ignore-not-found", "--wait=false"]);
  }

  /** ms from the request to the end of its rollout, verified through the gateway. */
  async #release(): Promise<number> {
    const plan = await this.#berth.plan(stack, compose((this.#round += 1)));
    const from = Date.now();
    const made = await this.#berth.client.applyPlan({ params: { stack, plan: plan.id }, body: {} });
    const ended = await this.#berth.ended(stack, "web", made.rollouts[0]?.number ?? 0, 120_000);
    if (ended.phase !== "succeeded" || ended.verified?.length !== 1) throw new Error(JSON.stringify(ended));
    return Date.parse(ended.endedAt ?? "") - from;
  }

  async #scale(replicas: number): Promise<number> {
    const from = performance.now();
    await this.#berth.client.scaleComponent({ params: component, body: { replicas } });
    await until(
      async () => {
        const { ready } = await this.#berth.client.showComponent({ params: component });
        return ready === replicas ? true : undefined;
      },
      `${String(replicas)} ready`,
      300_000,
      () => this.#berth.log(),
      20,
    );
    return performance.now() - from;
  }

  /** What Berth made, in a namespace of its own, as somebody's who uses kubectl. */
  async #makePeer(): Promise<void> {
    await kubectl(["delete", "namespace", peer, "--ignore-not-found"]);
    await kubectl(["create", "namespace", peer]);
    const names = (await kubectl(["-n", own, "get", "secrets", "-o", "name"])).trim().split("\n").filter(Boolean);
    for (const name of names) {
      const secret = JSON.parse(await kubectl(["-n", own, "get", name, "-o", "json"])) as Manifest;
      secret.metadata = { name: secret.metadata.name };
      await kubectl(["-n", peer, "apply", "-f", "-"], { input: JSON.stringify(secret) });
    }
    await this.#applyPeer(1);
  }

  async #applyPeer(replicas: number): Promise<number> {
    const { items } = JSON.parse(await kubectl(["-n", own, "get", "deployments", "-o", "json"])) as { items: Manifest[] };
    const [made] = items;
    if (made === undefined) throw new Error("Berth made no Deployment");
    const labels = { app: "web" };
    made.metadata = { name: "web" };
    made.spec.replicas = replicas;
    made.spec.selector = { matchLabels: labels };
    made.spec.template.metadata = { labels };
    const [container] = made.spec.template.spec.containers;
    if (container !== undefined)
      container.env = [...(container.env ?? []).filter(({ name }) => name !== "ROUND"), { name: "ROUND", value: String(this.#round) }];
    const input = JSON.stringify({ ...made, status: undefined });
    const from = performance.now();
    await kubectl(["-n", peer, "apply", "-f", "-"], { input });
    await this.#rolledOut();
    return performance.now() - from;
  }

  async #rolledOut(): Promise<void> {
    await kubectl(["-n", peer, "rollout", "status", "deployment", "web", "--timeout=300s"]);
  }
}
