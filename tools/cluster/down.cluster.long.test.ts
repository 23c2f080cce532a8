// A cluster that was up leaves this machine as it was.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { livingProcesses } from "../../packages/server/src/os/process.ts";
import { createProgress } from "../progress.mjs";
import { cannotBorrow } from "./borrow.ts";
import { isControlPlaneUp } from "./control-plane.ts";
import { down } from "./down.ts";
import { kubectl } from "./kube.ts";
import { home, mark, parts } from "./settings.ts";
import { service, testNamespace, webServer } from "./testing.ts";
import { up } from "./up.ts";

// Where one is up it is somebody's, and there can be only one.
const missing =
  cannotBorrow() ?? ((await isControlPlaneUp()) || existsSync(home) ? "a cluster is here: npm run cluster -- down --purge" : undefined);

/** Everything of the machine that the cluster may change, in an order of its own. */
function machine(): Readonly<Record<string, unknown>> {
  const run = (file: string, ...args: string[]): string => execFileSync(file, args, { encoding: "utf8" });
  const lines = (text: string, keep = (_: string): boolean => true): string[] => text.split("\n").filter(keep).sort();
  const settings = [
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
  ];
  const groups = readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter((path) => /kubepods/.test(path));
  return {
    settings: settings.map((name) => [name, existsSync(`/proc/sys/${name}`) ? readFileSync(`/proc/sys/${name}`, "utf8").trim() : ""]),
    links: lines(run("ip", "-br", "link")).map((line) => line.split(/\s/)[0]),
    addresses: lines(run("ip", "-br", "addr")).map((line) => line.split(/\s+/).toSpliced(1, 1)),
    routes: lines(run("ip", "route", "show", "table", "all"), (line) => !line.includes("cache")),
    namespaces: lines(run("ip", "netns", "list")),
    // Counters of packets are no rules.
    iptables: lines(run("iptables-save"), (line) => line.startsWith("-A") || line.startsWith(":")).map((line) => line.replace(/ \[.*/, "")),
    ip6tables: lines(run("ip6tables-save"), (line) => line.startsWith("-A")),
    nftables: lines(run("nft", "list", "tables"), (line) => line.includes("kube") || line.includes("berth")),
    mounts: lines(readFileSync("/proc/self/mounts", "utf8"), (line) => line.includes(home) || line.includes("/netns/")),
    groups,
    processes: livingProcesses().flatMap(({ pid, name }) => (marked(pid) ? [name] : [])),
    state: existsSync(home),
    results: existsSync("/var/lib/cni/results") ? readdirSync("/var/lib/cni/results").filter((name) => name.startsWith("berth")) : [],
  };
}

function marked(pid: number): boolean {
  try {
    return readFileSync(`/proc/${String(pid)}/environ`, "utf8").includes(`${mark.name}=`);
  } catch {
    return false;
  }
}

test.skipIf(missing !== undefined)(`down leaves nothing behind${missing === undefined ? "" : ` (${missing})`}`, async () => {
  const before = machine();
  try {
    await up(parts, createProgress(process.stdout));
    const space = await testNamespace();
    await space.apply(webServer("web", { replicas: 3 }), service("web"));
    await space.run("rollout", "status", "deployment/web", "--timeout=60s");
    expect(await kubectl(["get", "nodes"])).toContain(" Ready ");
    // What is to go is there to go.
    const during = machine();
    expect(during["processes"]).toEqual(expect.arrayContaining(["kubelet", "etcd", "containerd", "kube-apiserver", "traefik"]));
    for (const kind of ["links", "routes", "iptables", "nftables", "mounts", "groups", "namespaces"])
      expect(during[kind], kind).not.toEqual(before[kind]);
  } finally {
    await down({ purge: true });
  }
  expect(machine()).toEqual(before);
});
