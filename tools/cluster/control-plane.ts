// etcd, the API server and the controllers, as processes of this machine.
import { mkdirSync } from "node:fs";
import { isDaemonRunning, startDaemon, until } from "./daemons.ts";
import { ask, read } from "./kube.ts";
import { program } from "./programs.ts";
import { at, nodeAddress, pods, ports, services } from "./settings.ts";

const pki = (file: string): string => at("pki", file);
const kubeconfig = (user: string): string => pki(`${user}.kubeconfig`);
const etcd = `http://127.0.0.1:${String(ports.etcd)}`;
const etcdPeers = `http://127.0.0.1:${String(ports.etcdPeers)}`;

/** Its data need not survive a power cut, and a test's disk is slow to promise that it would. */
export async function startEtcd(): Promise<void> {
  mkdirSync(at("etcd"), { recursive: true });
  await startDaemon({
    name: "etcd",
    argv: [
      await program("etcd", "etcd"),
      ...["--name", "n1", "--data-dir", at("etcd", "data"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd],
      ...["--listen-peer-urls", etcdPeers, "--initial-advertise-peer-urls", etcdPeers, "--initial-cluster", `n1=${etcdPeers}`],
      ...["--quota-backend-bytes", String(4 * 1024 ** 3), "--auto-compaction-retention", "5m"],
      ...["--logger", "zap", "--log-level", "warn", "--unsafe-no-fsync"],
    ],
  });
  await until("answer of etcd", ["etcd"], async () => (await fetch(`${etcd}/health`)).ok);
}

export async function startApiServer(): Promise<void> {
  const flags = {
    "etcd-servers": etcd,
    "bind-address": nodeAddress,
    "advertise-address": nodeAddress,
    "secure-port": ports.api,
    "service-cluster-ip-range": services.range,
    "allow-privileged": true,
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "client-ca-file": pki("ca.crt"),
    "tls-cert-file": pki("apiserver.crt"),
    "tls-private-key-file": pki("apiserver.key"),
    "kubelet-certificate-authority": pki("ca.crt"),
    "kubelet-client-certificate": pki("apiserver-kubelet-client.crt"),
    "kubelet-client-key": pki("apiserver-kubelet-client.key"),
    "kubelet-preferred-address-types": "InternalIP",
    "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
    "service-account-key-file": pki("sa.pub"),
    "service-account-signing-key-file": pki("sa.key"),
    "requestheader-client-ca-file": pki("front-proxy-ca.crt"),
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-username-headers": "X-Remote-User",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "proxy-client-cert-file": pki("front-proxy-client.crt"),
    "proxy-client-key-file": pki("front-proxy-client.key"),
    "enable-aggregator-routing": true,
    profiling: false,
  };
  const name = "kube-apiserver";
  await startDaemon({ name, argv: [await program("kubernetes", name), ...flagsOf(flags)] });
  await until("answer of the API server", ["etcd", name], async () => (await ask("GET", "/readyz")).status === 200);
}

/** Their limits of requests a second are above the defaults, or a fleet of thousands of pods would wait for them. */
export async function startControllers(): Promise<void> {
  const shared = (name: string) => ({
    kubeconfig: kubeconfig(name),
    "authentication-kubeconfig": kubeconfig(name),
    "authorization-kubeconfig": kubeconfig(name),
    "bind-address": "127.0.0.1",
    "leader-elect": false,
    "kube-api-qps": 2000,
    "kube-api-burst": 4000,
    profiling: false,
  });
  const manager = "kube-controller-manager";
  const flags = {
    ...shared(manager),
    "cluster-cidr": pods.range,
    "allocate-node-cidrs": false,
    "service-cluster-ip-range": services.range,
    "service-account-private-key-file": pki("sa.key"),
    "root-ca-file": pki("ca.crt"),
    "cluster-signing-cert-file": pki("ca.crt"),
    "cluster-signing-key-file": pki("ca.key"),
    "use-service-account-credentials": true,
    "concurrent-replicaset-syncs": 20,
    "concurrent-gc-syncs": 20,
  };
  await startDaemon({ name: manager, argv: [await program("kubernetes", manager), ...flagsOf(flags)] });
  const scheduler = "kube-scheduler";
  await startDaemon({ name: scheduler, argv: [await program("kubernetes", scheduler), ...flagsOf(shared(scheduler))] });
  // The first thing that a controller makes, and without it no pod is admitted.
  const made = async () => (await read("/api/v1/namespaces/default/serviceaccounts/default")) !== undefined;
  await until("service account of the namespace `default`", [manager, scheduler], made);
}

/** Whether the API server runs and says that it is ready. */
export async function isControlPlaneUp(): Promise<boolean> {
  if (!isDaemonRunning("kube-apiserver")) return false;
  return ask("GET", "/readyz").then(
    (answer) => answer.status === 200,
    () => false,
  );
}

export function flagsOf(flags: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(flags).map(([name, value]) => `--${name}=${String(value)}`);
}
