// What a cluster can do for Berth, and whether it answers.
import type { KubeApi } from "../../kubernetes/api.ts";
import type { Capabilities } from "../engine.ts";
import { failureOf } from "./failures.ts";

/** ms for its answer. */
const patience = 10_000;

export async function capabilitiesOf(api: KubeApi, cluster: string, signal: AbortSignal): Promise<Capabilities> {
  const common = {
    isolation: ["namespace"],
    tcp: false,
    doorLacks: ["published ports", "request limits", "redirects to HTTPS"],
    weights: true,
    volumes: "mount",
    limits: { memory: true, cpu: true, processes: false },
  } as const;
  try {
    const { gitVersion = "" } = await api.request<{ readonly gitVersion?: string }>("GET", "/version", { signal, timeout: patience });
    return { ...common, reachable: true, version: gitVersion, notices: [] };
  } catch (error) {
    const failure = failureOf(cluster, error)?.failure;
    if (failure?.code !== "cluster_unreachable") throw error;
    const params = Object.fromEntries(Object.entries(failure.params).map(([name, value]) => [name, String(value)]));
    return { ...common, reachable: false, version: "", notices: [{ code: failure.code, params }] };
  }
}
