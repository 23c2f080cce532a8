// What the test cluster occupies on this machine: folders, names, addresses and ports. There is one cluster a machine, so all of them are fixed.
import { join } from "node:path";

/** All of its state. The path is short, because that of a unix socket is bounded. */
export const home = "/var/lib/berth-cluster";
export const at = (...names: readonly string[]): string => join(home, ...names);
export const kubeconfig = at("pki", "admin.kubeconfig");
export const socket = at("containerd", "containerd.sock");

/** `NAME=value` in the environment of each of its programs, and of no container: whatever carries it is the cluster's. */
export const mark = { name: "BERTH_CLUSTER", value: home } as const;

export const nodeName = "node1";
/** The node's own address, on a bridge without ports. No other network of the tests has these numbers. */
export const nodeAddress = "10.199.0.1";
export const nodeBridge = "berth-node";
export const services = { range: "10.197.0.0/16", api: "10.197.0.1", dns: "10.197.0.10" } as const;
export const pods = { prefix: "10.198.", range: "10.198.0.0/16", node: "10.198.0.0/24", bridge: "berth-pods" } as const;
/** Of the container network's configuration: what plugins leave elsewhere is found by it. */
export const networkName = "berth-cluster";

export const ports = {
  api: 6443,
  kubelet: 10_250,
  etcd: 12_379,
  etcdPeers: 12_380,
  gateway: 8000,
  gatewayStatus: 8081,
  registry: 5000,
  fleet: 10_247,
  proxyHealth: 10_256,
  proxyMetrics: 10_249,
} as const;
export const api = `https://${nodeAddress}:${String(ports.api)}`;
/** Of the local registry, as it stands in names of images. */
export const registry = `127.0.0.1:${String(ports.registry)}`;

/** What `up` starts beyond the control plane, in this order. */
export const parts = ["node", "addons", "gateway", "registry"] as const;
export type Part = (typeof parts)[number];
