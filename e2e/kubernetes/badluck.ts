// A whole Berth that reaches the test cluster through what makes it slow, broken, silent or a liar, with a stack there and one on its own machine. What happens by chance comes from a seed.
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { readKubeconfig } from "../../packages/server/src/core/kubeconfig.ts";
import { KubeApi } from "../../packages/server/src/kubernetes/api.ts";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import { BadDays } from "../../packages/server/src/kubernetes/testing/proxy.ts";
import { makeNobodyImage, pushTo } from "../../tools/cluster/images.ts";
import type { ProvidedCluster } from "../../tools/cluster/vitest-setup.ts";
import { getThrough, startLoad, TestBerth, until, type Answer, type Files } from "../harness.ts";

const repository = "test/badluck";

/** Of the test cluster. */
const gateway = "default/public";
/** As the cluster is known to Berth. */
export const far = "far";

export class BadLuck implements AsyncDisposable {
  readonly berth: TestBerth;
  readonly days: BadDays;
  /** Past all bad luck, as an administrator has it. */
  readonly api: KubeApi;
  readonly domain = `${randomBytes(4).toString("hex")}.apps.test`;
  /** A name of its own for the stack on the cluster. */
  readonly stack = `badluck-${randomBytes(3).toString("hex")}`;
  readonly #cluster: ProvidedCluster;
  #said = 0;

  private constructor(cluster: ProvidedCluster, berth: TestBerth, days: BadDays, api: KubeApi) {
    this.#cluster = cluster;
    this.berth = berth;
    this.days = days;
    this.api = api;
  }

  /** `chance`: 0 <= x < 1. */
  static async open(cluster: ProvidedCluster, chance: () => number = Math.random): Promise<BadLuck> {
    const read = readKubeconfig(readFileSync(cluster.kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    await pushTo(cluster.registry, repository, "1", await makeNobodyImage());
    const days = await BadDays.open(read.config.access, chance);
    const api = new KubeApi(read.config.access);
    const place = new BadLuck(cluster, await TestBerth.start(), days, api);
    await place.add();
    await place.berth.client.createStack({ body: { name: place.stack, cluster: far } });
    return place;
  }

  /** Adds the cluster to a Berth, and waits until it is connected. */
  async add(berth = this.berth): Promise<void> {
    const file = this.kubeconfigFile(berth, this.days.kubeconfig());
    const added = await berth.cli(["clusters", "add", far, "--kubeconfig", file, "--domain", this.domain, "--gateway", gateway]);
    if (added.code !== 0) throw new Error(added.said);
  }

  kubeconfigFile(berth: TestBerth, text: string): string {
    const file = join(berth.home, "given.kubeconfig");
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  get namespace(): string {
    return `berth-${this.stack}`;
  }
  get host(): string {
    return `web.${this.stack}.${this.domain}`;
  }

  /** Through the cluster's gateway, which nothing of this stands before. */
  get(host: string, path = "/"): Promise<Answer> {
    const { hostname, port } = new URL(this.#cluster.gateway);
    return getThrough({ host: hostname, port, agent: false }, host, path, {});
  }

  /** A component that answers with this word. */
  says(word: string, replicas = 1): Files {
    const program = `mkdir -p /tmp/www; echo ${word} > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www`;
    const web = {
      image: `${this.#cluster.registry}/${repository}:1`,
      command: ["/bin/sh", "-c", program],
      ports: ["8080"],
      environment: { WORD: word },
      deploy: { replicas },
      "x-berth": { gracePeriod: 5 },
    };
    return { "compose.yaml": JSON.stringify({ services: { web } }) };
  }

  /** Accepts a release with a word of its own; its end is waited for by `ended`. */
  async release(replicas = 1): Promise<{ readonly word: string; readonly rollout: number }> {
    const word = `word${String((this.#said += 1))}`;
    const made = await this.berth.up(this.stack, this.says(word, replicas));
    return { word, rollout: made.rollouts[0]?.number ?? 0 };
  }

  /** Fails unless it succeeded, and what users get is its word. */
  async ended({ word, rollout }: { readonly word: string; readonly rollout: number }, within = 120_000): Promise<Rollout> {
    const ended = await this.berth.ended(this.stack, "web", rollout, within);
    if (ended.phase !== "succeeded") throw new Error(`rollout ${String(rollout)} ${ended.phase}: ${JSON.stringify(ended.cause)}`);
    // The gateway may lead some to the one before for a moment.
    await until(
      async () => ((await this.get(this.host)).body.trim() === word ? true : undefined),
      `users to get ${word}, which was released`,
      10_000,
    );
    return ended;
  }

  load(): ReturnType<typeof startLoad> {
    return startLoad(this, this.host);
  }

  async component() {
    return await this.berth.client.showComponent({ params: { stack: this.stack, component: "web" } });
  }

  /** Waits until the cluster is connected, or is away and said to be so in these words. */
  connected(wanted: true | RegExp, within = 60_000): Promise<true> {
    return until(
      async () => {
        const { kubernetes } = await this.berth.client.showCluster({ params: { cluster: far } });
        const reason = kubernetes?.connected === false ? (kubernetes.reason ?? "") : undefined;
        const holds = wanted === true ? kubernetes?.connected === true : reason !== undefined && wanted.test(reason);
        return holds || undefined;
      },
      `the cluster to be ${wanted === true ? "connected" : `away: ${String(wanted)}`}`,
      within,
      () => this.berth.log(),
    );
  }

  /** ms until users are answered, by two requests one after the other. */
  async answersAgain(within = 60_000): Promise<number> {
    const began = performance.now();
    await until(
      async () => ((await this.#isAnswered()) && (await this.#isAnswered())) || undefined,
      "users to be answered again",
      within,
      () => this.berth.log(),
      20,
    );
    return Math.round(performance.now() - began);
  }

  /** Until users were answered for 3 s without a break: gateways take up to two to hear of what changed. */
  async answersSteadily(within = 60_000): Promise<void> {
    let failed = performance.now();
    await until(
      async () => {
        if (!(await this.#isAnswered())) failed = performance.now();
        return performance.now() - failed > 3_000 || undefined;
      },
      "users to be answered steadily",
      within,
      () => this.berth.log(),
      20,
    );
  }

  #isAnswered(): Promise<boolean> {
    return this.get(this.host).then(
      ({ status }) => status === 200,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.days.become();
    const labels = `berth.installation=${(await this.berth.client.showInstallation()).id}`;
    await this.berth.stop();
    for (const { metadata } of await listed(this.api, "Namespace", { labels }))
      await this.api.delete({ kind: "Namespace", name: metadata.name });
    for (const { metadata } of await listed(this.api, "ConfigMap", { namespace: "berth-system", labels }))
      await this.api.delete({ kind: "ConfigMap", namespace: "berth-system", name: metadata.name });
    await this.days[Symbol.asyncDispose]();
    await this.api.close();
  }
}
