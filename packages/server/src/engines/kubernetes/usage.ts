// What pods use, as the cluster's metrics server tells it: memory now, and the rate of the processor, which is added up to seconds since it was first asked.
// https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import type { Usage } from "../engine.ts";
import type { PodView } from "./instances.ts";
import { bytes, cores } from "../../core/quantity.ts";

interface PodMetrics {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly timestamp: string;
  readonly containers: readonly { readonly usage: { readonly cpu: string; readonly memory: string } }[];
}

interface Counted {
  readonly at: number;
  readonly seconds: number;
}

export class UsageMeter {
  readonly #api: KubeApi;
  readonly #counted = new Map<string, Counted>();

  constructor(api: KubeApi) {
    this.#api = api;
  }

  /** One entry for each pod; zeros as long as nothing was measured of it, and where the cluster measures nothing. */
  async read(pods: readonly PodView[], signal: AbortSignal): Promise<Usage[]> {
    const namespaces = new Set(pods.map(({ namespace }) => namespace));
    const found = new Map<string, PodMetrics>();
    for (const namespace of namespaces)
      for (const one of await this.#metrics(namespace, signal)) found.set(`${one.metadata.namespace}/${one.metadata.name}`, one);
    return pods.map((pod) => this.#usageOf(pod, found.get(`${pod.namespace}/${pod.name}`)));
  }

  async #metrics(namespace: string, signal: AbortSignal): Promise<readonly PodMetrics[]> {
    try {
      const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${encodeURIComponent(namespace)}/pods`;
      return (await this.#api.request<{ readonly items?: readonly PodMetrics[] }>("GET", path, { signal })).items ?? [];
    } catch (error) {
      // 404: there is no metrics server; 503: it is not up.
      if (error instanceof KubeError && [404, 503].includes(error.status)) return [];
      throw error;
    }
  }

  #usageOf(pod: PodView, metrics: PodMetrics | undefined): Usage {
    const common = { ref: pod.ref, instance: pod.name, processes: 0 };
    if (metrics === undefined)
      return { ...common, at: new Date().toISOString(), cpuSeconds: this.#counted.get(pod.uid)?.seconds ?? 0, memory: 0 };
    const sum = (name: "cpu" | "memory", read: (text: string) => number): number =>
      metrics.containers.reduce((total, { usage }) => total + read(usage[name]), 0);
    const at = Date.parse(metrics.timestamp);
    const before = this.#counted.get(pod.uid);
    const seconds = before === undefined ? 0 : before.seconds + (Math.max(0, at - before.at) / 1_000) * sum("cpu", cores);
    this.#counted.set(pod.uid, { at, seconds });
    return { ...common, at: metrics.timestamp, cpuSeconds: seconds, memory: sum("memory", bytes) };
  }
}
