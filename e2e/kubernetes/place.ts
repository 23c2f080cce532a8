// A whole Berth beside the test cluster: a server whose own machine is a dockerd of the test's own, which builds and pushes what the cluster's nodes pull.
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import type { Component } from "@berth/contract/resources/components.ts";
import type { ProvidedCluster } from "../../tools/cluster/vitest-setup.ts";
import { readKubeconfig } from "../../packages/server/src/core/kubeconfig.ts";
import { KubeApi } from "../../packages/server/src/kubernetes/api.ts";
import { listed } from "../../packages/server/src/kubernetes/list.ts";
import { DockerPlace, missing as noDocker } from "../docker/place.ts";
import { getThrough, until, type Answer, type TestBerth } from "../harness.ts";

export const missingBeside = (cluster: ProvidedCluster): string | undefined => cluster.missing ?? noDocker;

export class KubePlace implements AsyncDisposable {
  readonly berth: TestBerth;
  /** As an administrator has it. */
  readonly api: KubeApi;
  /** `*.domain` leads to the cluster's gateway; each test's own, so that their hosts never meet. */
  readonly domain: string;
  readonly #docker: DockerPlace;
  readonly #gateway: URL;
  /** A file. */
  readonly #kubeconfig: string;
  readonly #installation: string;

  private constructor(docker: DockerPlace, api: KubeApi, { gateway, kubeconfig }: ProvidedCluster, installation: string) {
    this.#kubeconfig = kubeconfig;
    this.#installation = installation;
    this.#docker = docker;
    this.berth = docker.berth;
    this.api = api;
    this.#gateway = new URL(gateway);
    this.domain = `${randomBytes(4).toString("hex")}.apps.test`;
  }

  static async open(cluster: ProvidedCluster): Promise<KubePlace> {
    const read = readKubeconfig(readFileSync(cluster.kubeconfig, "utf8"));
    if ("refusal" in read) throw new Error(read.refusal.reason);
    const docker = await DockerPlace.open({ registry: `${cluster.registry}/berth` });
    const { id } = await docker.berth.client.showInstallation();
    return new KubePlace(docker, new KubeApi(read.config.access), cluster, id);
  }

  /** host:port. */
  get gateway(): string {
    return this.#gateway.host;
  }

  /** The cluster, as people add it. */
  add(name: string, ...more: string[]): ReturnType<TestBerth["cli"]> {
    return this.berth.cli(["clusters", "add", name, "--kubeconfig", this.#kubeconfig, ...more]);
  }

  /** Uids of the pods of a stack's instances that are to stay. */
  async uids(stack: string): Promise<(string | undefined)[]> {
    return (await listed(this.api, "Pod", { namespace: `berth-${stack}`, labels: "berth.role=instance" }))
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.uid)
      .toSorted();
  }

  /** Resolves when the component is healthy with so many that are ready. */
  healthy(params: { readonly stack: string; readonly component: string }, ready: number): Promise<Component> {
    return until(
      async () => {
        const now = await this.berth.client.showComponent({ params });
        return now.state === "healthy" && now.ready === ready ? now : undefined;
      },
      `${String(ready)} are ready`,
      120_000,
      () => this.berth.log(),
    );
  }

  /** The same, once no release of it is under way, and nothing of those before is left in the cluster. The stack has no other component. */
  async settled(params: { readonly stack: string; readonly component: string }, ready: number): Promise<Component> {
    const labels = "berth.role=instance";
    await until(
      async () => {
        const { items } = await this.berth.client.listRollouts({ params, query: {} });
        const pods = await listed(this.api, "Pod", { namespace: `berth-${params.stack}`, labels });
        return items.every(({ endedAt }) => endedAt !== undefined) && pods.length === ready ? true : undefined;
      },
      `${String(ready)} are left`,
      120_000,
      () => this.berth.log(),
    );
    return this.healthy(params, ready);
  }

  /** A component's own host. */
  host(component: string, stack: string): string {
    return `${component}.${stack}.${this.domain}`;
  }

  /** Through the cluster's gateway, as users do whose DNS leads there. */
  get(host: string, path = "/", headers: Record<string, string> = {}): Promise<Answer> {
    const { hostname, port } = this.#gateway;
    return getThrough({ host: hostname, port, agent: false }, host, path, headers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#docker[Symbol.asyncDispose]();
    } finally {
      // Whatever became of the server.
      for (const { metadata } of await listed(this.api, "Namespace", { labels: `berth.installation=${this.#installation}` }))
        await this.api.delete({ kind: "Namespace", name: metadata.name });
      await this.api.close();
    }
  }
}
