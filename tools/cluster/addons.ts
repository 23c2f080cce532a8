// What pods expect of any cluster: names (CoreDNS) and usage (metrics-server).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadImage, makeImage, programContent } from "./images.ts";
import { apply, kubectl, read } from "./kube.ts";
import { until } from "./daemons.ts";
import { outsideResolvers } from "./node.ts";
import { program } from "./programs.ts";
import { services } from "./settings.ts";

/** Rejects when they do not become ready within five minutes. */
export async function startAddons(): Promise<void> {
  await loadImage("localhost/berth-coredns:1", await makeImage(programContent("coredns", await program("coredns", "coredns"))));
  const metrics = await program("metrics", "metrics-server");
  await loadImage("localhost/berth-metrics-server:1", await makeImage(programContent("metrics-server", metrics)));
  // Names outside of the cluster are asked of what this machine asks, where a pod can reach it.
  const forward = outsideResolvers().length === 0 ? "" : "forward . /etc/resolv.conf";
  const manifests = readFileSync(join(import.meta.dirname, "manifests", "addons.yaml"), "utf8");
  await apply(manifests.replace("FORWARD", forward).replace("DNS_ADDRESS", services.dns));
  await kubectl(["-n", "kube-system", "rollout", "status", "deployment/coredns", "deployment/metrics-server", "--timeout=300s"]);
  await until("figures of metrics-server", ["kubelet"], hasFigures);
}

/** It answers from its second look at the node on. */
async function hasFigures(): Promise<boolean> {
  const found = await read<{ items: readonly object[] }>("/apis/metrics.k8s.io/v1beta1/nodes");
  return (found?.items.length ?? 0) > 0;
}
