// What the cluster changes of this machine beyond its own folder: settings of the kernel, two bridges, firewall rules. All of it is undone by `restoreMachine`.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { applyFirewall, readFirewall } from "../../packages/server/src/docker/testing/firewall.ts";
import { hasPlaces } from "../../packages/server/src/docker/testing/place.ts";
import { call, ClusterFailed } from "./failed.ts";
import { removeSecondNetwork } from "./second.ts";
import { at, nodeAddress, nodeBridge, pods, secondNode } from "./settings.ts";

/** Set here; the others are set by kubelet and kube-proxy as they start. */
const wanted = { "net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1" } as const;
const touched = [
  ...Object.keys(wanted),
  ...["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/conf/all/route_localnet"],
];
const setting = (name: string): string => `/proc/sys/${name}`;
const memory = at("machine.json");
/** Control groups of pods, on each node. */
const groups = ["kubepods", secondNode.namespace ?? ""].filter((name) => name !== "");

/** A chain of the cluster's own: a policy of DROP, as another daemon may have set it, leaves its pods alone. Docker's tests know it by its name. */
export const chain = "BERTH-CLUSTER";

/** Before the first program starts. May be repeated. */
export async function prepareMachine(): Promise<void> {
  mkdirSync(at(), { recursive: true, mode: 0o711 });
  if (!existsSync(setting("net/bridge"))) await call("modprobe", ["br_netfilter"]).catch(refuseWithoutBridges);
  if (!existsSync(memory)) {
    const before = touched.filter((name) => existsSync(setting(name))).map((name) => [name, readFileSync(setting(name), "utf8").trim()]);
    writeFileSync(memory, JSON.stringify(Object.fromEntries(before)));
  }
  for (const [name, value] of Object.entries(wanted)) writeFileSync(setting(name), value);
  if (!existsSync(`/sys/class/net/${nodeBridge}`)) await call("ip", ["link", "add", nodeBridge, "type", "bridge"]);
  await call("ip", ["link", "set", nodeBridge, "up"]);
  await call("ip", ["addr", "replace", `${nodeAddress}/24`, "dev", nodeBridge]);
  if (!readFirewall().includes(`:${chain} `)) applyFirewall(rules);
}

function refuseWithoutBridges(): never {
  throw new ClusterFailed(
    "no_bridge_filter",
    "This kernel has no br_netfilter.",
    "Services need it; load the module, or take a kernel that has it.",
  );
}

const rules = [
  "*filter",
  `:${chain} - [0:0]`,
  `-A ${chain} -s ${pods.range} -j ACCEPT`,
  `-A ${chain} -d ${pods.range} -j ACCEPT`,
  `-I FORWARD -j ${chain}`,
  "COMMIT",
  "*nat",
  `-A POSTROUTING -s ${pods.range} ! -d ${pods.range} -j MASQUERADE`,
  "COMMIT",
  "",
].join("\n");

const withoutRules = [
  "*filter",
  `-D FORWARD -j ${chain}`,
  `-F ${chain}`,
  `-X ${chain}`,
  "COMMIT",
  "*nat",
  `-D POSTROUTING -s ${pods.range} ! -d ${pods.range} -j MASQUERADE`,
  "COMMIT",
  "",
].join("\n");

/** After the last program ended. May be repeated. */
export async function restoreMachine(): Promise<void> {
  await removeSecondNetwork();
  if (existsSync(`/sys/class/net/${pods.bridge}`)) await call("ip", ["link", "del", pods.bridge]);
  if (existsSync(`/sys/class/net/${nodeBridge}`)) await call("ip", ["link", "del", nodeBridge]);
  if (readFirewall().includes(`:${chain} `)) applyFirewall(withoutRules);
  await removeProxyTables();
  for (const hierarchy of hierarchies()) for (const name of groups) removeGroup(`${hierarchy}/${name}`);
  if (!existsSync(memory)) return;
  const before = JSON.parse(readFileSync(memory, "utf8")) as Record<string, string>;
  for (const [name, value] of Object.entries(before)) {
    // A test's daemon that came meanwhile needs it too, and leaves it as it was before the first one.
    const isShared = name === "net/ipv4/ip_forward" && hasPlaces();
    if (!isShared && existsSync(setting(name))) writeFileSync(setting(name), value);
  }
  rmSync(memory);
}

/** kube-proxy's, of both families. It leaves them when it ends, so that connections go on. */
async function removeProxyTables(): Promise<void> {
  const tables = (await call("nft", ["list", "tables"])).split("\n");
  for (const family of ["ip", "ip6"])
    if (tables.includes(`table ${family} kube-proxy`)) await call("nft", ["delete", "table", family, "kube-proxy"]);
}

/** Roots of the control group file systems: one of version 2, or one for each controller of version 1. */
function hierarchies(): string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return mounts.map((line) => line.split(" ")).flatMap(([, path = "", type = ""]) => (/^cgroup2?$/.test(type) ? path : []));
}

function removeGroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeGroup(`${path}/${entry.name}`);
  rmdirSync(path);
}
