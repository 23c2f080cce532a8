// containerd, which runs the pods, and the network that it plugs them into.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { startDaemon, until } from "./daemons.ts";
import { ctr, pauseImage } from "./images.ts";
import { at, networkName, pods, registry, socket } from "./settings.ts";

const folder = at("containerd");
const plugins = "/usr/lib/cni";

/**
 * In the format of containerd 1.6, which 2.x reads too. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE, as in a container, no process may lower its score, and
 * every pod would fail. The cgroup driver is kubelet's own: a machine of tests need not run systemd.
 */
const config = `version = 2
root = "${folder}/root"
state = "${folder}/state"
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
    conf_dir = "${at("cni", "net.d")}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${folder}/certs.d"
`;

/** Addresses are masqueraded by one rule of the machine's, not by a chain for each pod. */
const network = {
  cniVersion: "0.4.0",
  name: networkName,
  plugins: [
    {
      type: "bridge",
      bridge: pods.bridge,
      isGateway: true,
      ipMasq: false,
      hairpinMode: true,
      ipam: { type: "host-local", dataDir: at("cni", "addresses"), ranges: [[{ subnet: pods.node }]], routes: [{ dst: "0.0.0.0/0" }] },
    },
  ],
};

/** Rejects when it does not answer in time; see `until`. */
export async function startContainerd(): Promise<void> {
  for (const path of [folder, at("cni", "net.d")]) mkdirSync(path, { recursive: true });
  const trusted = at("containerd", "certs.d", registry);
  if (!existsSync(trusted)) mkdirSync(trusted, { recursive: true });
  writeFileSync(
    `${trusted}/hosts.toml`,
    `server = "http://${registry}"\n[host."http://${registry}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  const configPath = `${folder}/config.toml`;
  await startDaemon({
    name: "containerd",
    argv: ["/usr/bin/containerd", "--config", configPath],
    files: { [configPath]: config, [at("cni", "net.d", "10-berth.conflist")]: JSON.stringify(network) },
  });
  await until("answer of containerd", ["containerd"], async () => (await ctr("version")).includes("Server"));
}
