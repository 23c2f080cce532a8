// The second node's place: a network namespace on this machine with an address beside the first node's. For drains, and for pods that are not all in one place.
import { existsSync } from "node:fs";
import { killProcesses } from "../../packages/server/src/builders/process.ts";
import type { Daemon } from "./daemons.ts";
import { stopDaemon } from "./daemons.ts";
import { call } from "./failed.ts";
import { kubectl } from "./kube.ts";
import { nodeAddress, nodeBridge, secondNode, type ClusterNode } from "./settings.ts";

const link = "berth-node2";
const namespaceMark = "BERTH_CLUSTER_NODE";

/** How a program of the node is started: where it lives in a namespace, by a program that enters it first. */
export function onNode({ name, namespace }: ClusterNode, file: string, ...args: readonly string[]): Pick<Daemon, "argv" | "env"> {
  if (namespace === undefined) return { argv: [file, ...args] };
  // `ip netns exec` would hide the control groups behind a /sys of its own.
  return { argv: ["nsenter", `--net=/run/netns/${namespace}`, "--", file, ...args], env: { [namespaceMark]: name } };
}

/** The namespace, its link to the first node's bridge, and the routes that lead to the pods of either side. May be repeated. */
export async function prepareSecondNetwork(): Promise<void> {
  const { namespace = "", address, pods } = secondNode;
  if (existsSync(`/run/netns/${namespace}`)) return;
  await call("ip", ["netns", "add", namespace]);
  const inside = (...args: readonly string[]) => call("ip", ["-n", namespace, ...args]);
  await call("ip", ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
  await call("ip", ["link", "set", link, "master", nodeBridge, "up"]);
  await inside("link", "set", "lo", "up");
  await inside("addr", "add", `${address}/24`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("route", "add", "default", "via", nodeAddress);
  await call("ip", ["route", "replace", pods, "via", address]);
  const settings = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"].map((name) => `echo 1 >/proc/sys/${name}`);
  await call("nsenter", [`--net=/run/netns/${namespace}`, "--", "sh", "-ec", settings.join("; ")]);
}

/** Its link and its routes go with it. */
export async function removeSecondNetwork(): Promise<void> {
  const { namespace = "" } = secondNode;
  if (existsSync(`/run/netns/${namespace}`)) await call("ip", ["netns", "del", namespace]);
}

/** As a machine that is switched off: everything on it ends at once. Its object stays in the cluster. */
export async function switchOffSecond(): Promise<void> {
  await killProcesses({ leaders: [], recent: false, mark: `${namespaceMark}=${secondNode.name}` });
  for (const name of [secondNode.user, `containerd-${secondNode.name}`, `kube-proxy-${secondNode.name}`]) await stopDaemon(name);
}

/** Ends it and takes it out of the cluster. What else it left of itself goes with the cluster. */
export async function removeSecond(): Promise<void> {
  await switchOffSecond();
  await stopDaemon(`registry-${secondNode.name}`);
  await kubectl(["delete", "node", secondNode.name, "--ignore-not-found"]);
}
