// Takes the cluster down: every program, mount, network namespace, link, firewall rule, control group and setting of the kernel that it made or changed. Keeps its folder,
// so that the next start is quick and has the same certificates, unless it is to be purged.
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { withLock } from "../../packages/server/src/os/lock.ts";
import { killEverything, startedDaemons, stopDaemon } from "./daemons.ts";
import { call } from "./failed.ts";
import { restoreMachine } from "./machine.ts";
import { at, clusterNodes, home, networkName } from "./settings.ts";

/** Returns whether there was anything to take down, or to delete. */
export async function down({ purge }: { readonly purge: boolean }): Promise<boolean> {
  return withLock(`${home}.lock`, undefined, async () => {
    if (!existsSync(home)) return false;
    const wasUp = startedDaemons().length > 0;
    // The kubelet first, or it starts again what is ended; the API server before its data. The rest has nothing to lose.
    for (const name of [...clusterNodes.map(({ user }) => user), "kube-apiserver", "etcd"]) await stopDaemon(name);
    await killEverything();
    await removeMounts();
    await removePodNetworks();
    await restoreMachine();
    removeLogLinks();
    rmSync(at("users"), { recursive: true, force: true });
    if (purge) rmSync(home, { recursive: true, force: true });
    return wasUp || purge;
  });
}

/** The latest first: one may lie on another. */
async function removeMounts(): Promise<void> {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  for (const point of points.filter((each) => each.startsWith(`${home}/`)).reverse()) await call("umount", ["--lazy", point]);
}

const results = "/var/lib/cni/results";

interface NetworkResult {
  readonly result?: { readonly interfaces?: readonly { readonly sandbox?: string }[] };
}

/** What network plugins wrote of each pod names its namespace; with it go the pod's links. */
async function removePodNetworks(): Promise<void> {
  if (!existsSync(results)) return;
  for (const name of readdirSync(results).filter((each) => each.startsWith(`${networkName}-`))) {
    const { result } = JSON.parse(readFileSync(join(results, name), "utf8")) as NetworkResult;
    const namespaces = new Set(result?.interfaces?.flatMap(({ sandbox }) => (sandbox ? [sandbox] : [])));
    for (const path of namespaces) if (existsSync(path)) await call("ip", ["netns", "del", basename(path)]);
    rmSync(join(results, name));
  }
  for (const { folder } of clusterNodes) rmSync(join(folder, "cni", "addresses"), { recursive: true, force: true });
}

const logLinks = "/var/log/containers";

function removeLogLinks(): void {
  if (!existsSync(logLinks)) return;
  for (const name of readdirSync(logLinks)) {
    const path = join(logLinks, name);
    if (readlinkSync(path).startsWith(`${home}/`)) rmSync(path);
  }
}
