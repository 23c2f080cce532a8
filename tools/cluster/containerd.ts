// containerd, which runs the pods, and the network that it plugs them into.
import { mkdirSync, writeFileSync } from "node:fs";
import { startDaemon, until } from "./daemons.ts";
import { containerdOf, ctr, pauseImage } from "./images.ts";
import { onNode } from "./second.ts";
import { networkName, nodeRegistry, pods, registry, type ClusterNode } from "./settings.ts";

const plugins = "/usr/lib/cni";

/**
 * In the format of containerd 1.6, which 2.x reads too. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE, as in a container, no process may lower its score, and
 * every pod would fail. The cgroup driver is kubelet's own: a machine of tests need not run systemd.
 */
const configOf = ({ folder: home, socket }: ClusterNode): string => `version = 2
root = "${home}/containerd/root"
state = "${home}/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${plugins}"
    conf_dir = "${home}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${home}/containerd/certs.d"
`;

/** Addresses are masqueraded by one rule of the machine's, not by a chain for each pod. */
const networkOf = ({ folder, pods: subnet }: ClusterNode): object => ({
  cniVersion: "0.4.0",
  name: networkName,
  plugins: [
    {
      type: "bridge",
      bridge: pods.bridge,
      isGateway: true,
      ipMasq: false,
      hairpinMode: true,
      ipam: { type: "host-local", dataDir: `${folder}/cni/addresses`, ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
    },
  ],
});

/** Rejects when it does not answer in time; see `until`. */
export async function startContainerd(node: ClusterNode): Promise<void> {
  const folder = `${node.folder}/containerd`;
  const networks = `${node.folder}/cni/net.d`;
  mkdirSync(networks, { recursive: true });
  // Loopback of another network namespace is another one: there the registry has the first node's address.
  const server = `http://${node.namespace === undefined ? registry : nodeRegistry}`;
  for (const name of [registry, nodeRegistry]) {
    const trusted = `${folder}/certs.d/${name}`;
    mkdirSync(trusted, { recursive: true });
    writeFileSync(`${trusted}/hosts.toml`, `server = "${server}"\n[host."${server}"]\n  capabilities = ["pull", "resolve"]\n`);
  }
  const name = containerdOf(node);
  const configPath = `${folder}/config.toml`;
  await startDaemon({
    name,
    ...onNode(node, "/usr/bin/containerd", "--config", configPath),
    files: { [configPath]: configOf(node), [`${networks}/10-berth.conflist`]: JSON.stringify(networkOf(node)) },
  });
  await until("answer of containerd", [name], async () => (await ctr(node, "version")).includes("Server"));
}
