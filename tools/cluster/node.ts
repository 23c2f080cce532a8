// A real node: kubelet and kube-proxy, on this machine's own network or in a namespace of their own.
import { mkdirSync, readFileSync } from "node:fs";
import { flagsOf } from "./control-plane.ts";
import { isDaemonRunning, logPath, startDaemon, until, type Daemon } from "./daemons.ts";
import { containerdOf, loadImage, makeImage, pauseContent, pauseImage, shellContent, shellImage } from "./images.ts";
import { apply, read } from "./kube.ts";
import { program } from "./programs.ts";
import { onNode } from "./second.ts";
import { at, pods, ports, services, type ClusterNode } from "./settings.ts";

/** What every pod needs, and a shell for tests. */
export async function loadBaseImages(): Promise<void> {
  await loadImage(pauseImage, await makeImage(pauseContent()));
  await loadImage(shellImage, await makeImage(await shellContent()));
}

/** Rejects when the node does not become ready. */
export async function startKubelet(node: ClusterNode): Promise<void> {
  const folder = `${node.folder}/kubelet`;
  for (const name of ["plugins", "root", "pki"]) mkdirSync(`${folder}/${name}`, { recursive: true });
  const configPath = `${folder}/config.json`;
  const flags = {
    config: configPath,
    kubeconfig: at("pki", `${node.user}.kubeconfig`),
    "root-dir": `${folder}/root`,
    "cert-dir": `${folder}/pki`,
    "node-ip": node.address,
    "hostname-override": node.name,
  };
  const kubelet: Daemon = {
    name: node.user,
    ...onNode(node, await program("kubernetes", "kubelet"), ...flagsOf(flags)),
    files: { [configPath]: JSON.stringify(kubeletConfig(node)), [`${folder}/resolv.conf`]: resolvConf() },
  };
  const begun = Date.now();
  const since = (await startDaemon(kubelet)) ? begun : 0;
  await until("ready node", [containerdOf(node)], async () => {
    if (await isNodeReady(node, since)) return true;
    // It ends where containerd answers and does not take pods yet, which has those of an earlier time to look through: a service manager starts it again, too.
    if (!isDaemonRunning(kubelet.name) && (await startDaemon(kubelet))) throw new Error(`kubelet ended; its log: ${logPath(kubelet.name)}`);
    return false;
  });
}

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
function kubeletConfig({ address, folder, namespace, socket, user }: ClusterNode): object {
  const none = { "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%" };
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address,
    port: ports.kubelet,
    readOnlyPort: 0,
    healthzBindAddress: "127.0.0.1",
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: at("pki", "ca.crt") } },
    authorization: { mode: "Webhook" },
    tlsCertFile: at("pki", `${user}-serving.crt`),
    tlsPrivateKeyFile: at("pki", `${user}-serving.key`),
    containerRuntimeEndpoint: `unix://${socket}`,
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    maxOpenFiles: openFiles(),
    makeIPTablesUtilChains: false,
    clusterDomain: "cluster.local",
    clusterDNS: [services.dns],
    resolvConf: `${folder}/kubelet/resolv.conf`,
    podLogsDir: `${folder}/podlogs`,
    volumePluginDir: `${folder}/kubelet/plugins`,
    // The control groups of pods are those of the machine: a second kubelet keeps its containers in one of its own, and leaves the first one's alone.
    ...(namespace === undefined
      ? { enforceNodeAllocatable: ["pods"] }
      : { enforceNodeAllocatable: [], cgroupsPerQOS: false, cgroupRoot: `/${namespace}` }),
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

/** As its kubelet told after `since` (unix ms): what an earlier one told says nothing. */
async function isNodeReady({ name }: ClusterNode, since: number): Promise<boolean> {
  const node = await read<{ status: { conditions?: { type: string; status: string; lastHeartbeatTime: string }[] } }>(
    `/api/v1/nodes/${name}`,
  );
  // Times of Kubernetes are whole seconds.
  const isFresh = (time: string): boolean => Date.parse(time) >= since - 1000;
  const isReady = node?.status.conditions?.some((one) => one.type === "Ready" && one.status === "True" && isFresh(one.lastHeartbeatTime));
  return isReady ?? false;
}

/** With nftables, whose rules are one table: nothing else of the machine's firewall is touched. */
export async function startProxy(node: ClusterNode): Promise<void> {
  await apply(JSON.stringify(proxyRights));
  const name = node.namespace === undefined ? "kube-proxy" : `kube-proxy-${node.name}`;
  const configPath = at(`${name}.json`);
  const config = {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    bindAddress: node.address,
    clientConnection: { kubeconfig: at("pki", "kube-proxy.kubeconfig") },
    clusterCIDR: pods.range,
    hostnameOverride: node.name,
    mode: "nftables",
    oomScoreAdj: 0,
    healthzBindAddress: `${node.address}:${String(ports.proxyHealth)}`,
    metricsBindAddress: `${node.address}:${String(ports.proxyMetrics)}`,
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  };
  await startDaemon({
    name,
    ...onNode(node, await program("kubernetes", "kube-proxy"), `--config=${configPath}`),
    files: { [configPath]: JSON.stringify(config) },
  });
  const health = `http://${node.address}:${String(ports.proxyHealth)}/healthz`;
  await until("answer of kube-proxy", [name], async () => (await fetch(health)).ok);
}

const proxyRights = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "berth-cluster-proxy" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
  subjects: [{ kind: "User", name: "system:kube-proxy", apiGroup: "rbac.authorization.k8s.io" }],
};
