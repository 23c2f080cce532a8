// What the test cluster occupies on this machine: folders, names, addresses and ports. There is one cluster a machine, so all of them are fixed.
import { join } from "node:path";

/** All of its state. The path is short, because that of a unix socket is bounded. */
export const home = "/var/lib/berth-cluster";
export const at = (...names: readonly string[]): string => join(home, ...names);
export const kubeconfig = at("pki", "admin.kubeconfig");

/** `NAME=value` in the environment of each of its programs, and of no container: whatever carries it is the cluster's. */
export const mark = { name: "BERTH_CLUSTER", value: home } as const;

/** The node's own address, on a bridge; no other network of the tests has these numbers. */
export const nodeAddress = "10.199.0.1";
export const nodeBridge = "berth-node";
export const services = { range: "10.197.0.0/16", api: "10.197.0.1", dns: "10.197.0.10" } as const;
export const pods = { prefix: "10.198.", range: "10.198.0.0/16", bridge: "berth-pods" } as const;
export interface ClusterNode {
  readonly name: string;
  readonly address: string;
  /** Addresses of its pods. */
  readonly pods: string;
  /** Of what its containerd and its kubelet keep. */
  readonly folder: string;
  /** Of its containerd. */
  readonly socket: string;
  /** The user that its kubelet is; its files in pki/. */
  readonly user: string;
  /** The network namespace that it lives in; absent: this machine's own. */
  readonly namespace?: string;
}

/** Always there. */
export const firstNode: ClusterNode = {
  name: "node1",
  address: nodeAddress,
  pods: "10.198.0.0/24",
  folder: home,
  socket: at("containerd", "containerd.sock"),
  user: "kubelet",
};
/** For tests that need one more: its pods are elsewhere, its files on the same disk. */
export const secondNode: ClusterNode = {
  name: "node2",
  address: "10.199.0.2",
  pods: "10.198.1.0/24",
  folder: at("node2"),
  socket: at("node2", "containerd", "containerd.sock"),
  user: "kubelet-node2",
  namespace: "berth-node2",
};
export const clusterNodes = [firstNode, secondNode] as const;

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
/** The same one, for a node that has a loopback of its own. */
export const nodeRegistry = `${nodeAddress}:${String(ports.registry)}`;

/** What `up` starts beyond the control plane, in this order. */
export const parts = ["node", "addons", "gateway", "registry"] as const;
/** `node2` only where it is asked for. */
export type Part = (typeof parts)[number] | "node2";
