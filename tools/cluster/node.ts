// The one real node: kubelet and kube-proxy, on this machine's own network.
import { mkdirSync, readFileSync } from "node:fs";
import { flagsOf } from "./control-plane.ts";
import { startDaemon, until } from "./daemons.ts";
import { loadImage, makeImage, pauseContent, pauseImage, shellContent, shellImage } from "./images.ts";
import { apply, read } from "./kube.ts";
import { program } from "./programs.ts";
import { at, nodeAddress, nodeName, pods, ports, services, socket } from "./settings.ts";

/** What every pod needs, and a shell for tests. */
export async function loadBaseImages(): Promise<void> {
  await loadImage(pauseImage, await makeImage(pauseContent()));
  await loadImage(shellImage, await makeImage(await shellContent()));
}

/** Rejects when the node does not become ready. */
export async function startKubelet(): Promise<void> {
  for (const folder of ["plugins", "root", "pki"]) mkdirSync(at("kubelet", folder), { recursive: true });
  const configPath = at("kubelet", "config.json");
  const flags = {
    config: configPath,
    kubeconfig: at("pki", "kubelet.kubeconfig"),
    "root-dir": at("kubelet", "root"),
    "cert-dir": at("kubelet", "pki"),
    "node-ip": nodeAddress,
    "hostname-override": nodeName,
  };
  await startDaemon({
    name: "kubelet",
    argv: [await program("kubernetes", "kubelet"), ...flagsOf(flags)],
    files: { [configPath]: JSON.stringify(kubeletConfig()), [resolvPath]: resolvConf() },
  });
  await until("ready node", ["containerd", "kubelet"], isNodeReady);
}

const resolvPath = at("kubelet", "resolv.conf");

/** Name servers of this machine that a pod can reach too: what answers on loopback here is nobody there. */
export function outsideResolvers(): string[] {
  const servers = [...readFileSync("/etc/resolv.conf", "utf8").matchAll(/^nameserver\s+(\S+)/gm)].map(([, server = ""]) => server);
  return servers.filter((server) => !server.startsWith("127.") && server !== "::1");
}

function resolvConf(): string {
  const servers = outsideResolvers();
  return (servers.length === 0 ? [services.dns] : servers).map((server) => `nameserver ${server}\n`).join("");
}

/**
 * `failCgroupV1: false` and `failSwapOn: false`: machines of tests have version 1, or swap. `oomScoreAdj: 0`: without CAP_SYS_RESOURCE no process may lower its
 * score. No threshold of the disk evicts a pod: that of a test's machine may be nearly full for reasons of its own.
 */
function kubeletConfig(): object {
  const none = { "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%" };
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: nodeAddress,
    port: ports.kubelet,
    readOnlyPort: 0,
    healthzBindAddress: "127.0.0.1",
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: at("pki", "ca.crt") } },
    authorization: { mode: "Webhook" },
    tlsCertFile: at("pki", "kubelet-serving.crt"),
    tlsPrivateKeyFile: at("pki", "kubelet-serving.key"),
    containerRuntimeEndpoint: `unix://${socket}`,
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    maxOpenFiles: openFiles(),
    makeIPTablesUtilChains: false,
    clusterDomain: "cluster.local",
    clusterDNS: [services.dns],
    resolvConf: resolvPath,
    podLogsDir: at("podlogs"),
    volumePluginDir: at("kubelet", "plugins"),
    enforceNodeAllocatable: ["pods"],
    evictionHard: { "memory.available": "100Mi", ...none },
    imageGCHighThresholdPercent: 100,
    // What a test put into the node is there for every pod, also when the same image was pulled under another name by a pod that had to show a password.
    imagePullCredentialsVerificationPolicy: "NeverVerifyAllowlistedImages",
    preloadedImagesVerificationAllowlist: ["localhost/*"],
    serializeImagePulls: false,
    nodeStatusUpdateFrequency: "5s",
  };
}

/** kubelet's own default, where this machine allows it. */
function openFiles(): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? "";
  return Math.min(1_000_000, hard === "unlimited" ? Infinity : Number(hard));
}

async function isNodeReady(): Promise<boolean> {
  const node = await read<{ status: { conditions?: { type: string; status: string }[] } }>(`/api/v1/nodes/${nodeName}`);
  return node?.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

/** With nftables, whose rules are one table: nothing else of the machine's firewall is touched. */
export async function startProxy(): Promise<void> {
  await apply(JSON.stringify(proxyRights));
  const configPath = at("kube-proxy.json");
  const config = {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    bindAddress: nodeAddress,
    clientConnection: { kubeconfig: at("pki", "kube-proxy.kubeconfig") },
    clusterCIDR: pods.range,
    hostnameOverride: nodeName,
    mode: "nftables",
    oomScoreAdj: 0,
    healthzBindAddress: `127.0.0.1:${String(ports.proxyHealth)}`,
    metricsBindAddress: `127.0.0.1:${String(ports.proxyMetrics)}`,
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  };
  await startDaemon({
    name: "kube-proxy",
    argv: [await program("kubernetes", "kube-proxy"), `--config=${configPath}`],
    files: { [configPath]: JSON.stringify(config) },
  });
  const health = `http://127.0.0.1:${String(ports.proxyHealth)}/healthz`;
  await until("answer of kube-proxy", ["kube-proxy"], async () => (await fetch(health)).ok);
}

const proxyRights = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "berth-cluster-proxy" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
  subjects: [{ kind: "User", name: "system:kube-proxy", apiGroup: "rbac.authorization.k8s.io" }],
};
