// A cluster that was up leaves this machine as it was.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { hasPlaces } from "../../packages/server/src/docker/testing/place.ts";
import { livingProcesses } from "../../packages/server/src/os/process.ts";
import { createProgress } from "../progress.mjs";
import { cannotBorrow } from "./borrow.ts";
import { isControlPlaneUp } from "./control-plane.ts";
import { down } from "./down.ts";
import { kubectl } from "./kube.ts";
import { home, mark, parts } from "./settings.ts";
import { service, testNamespace, webServer } from "./testing.ts";
import { up } from "./up.ts";

const wanted = [...parts, "node2"] as const;
// Where one is up it is somebody's, and there can be only one.
const missing =
  cannotBorrow(wanted) ??
  ((await isControlPlaneUp()) || existsSync(home) ? "a cluster is here: npm run cluster -- down --purge" : undefined);

/** What daemons of other tests, which may come and go meanwhile, have on this machine: see docker/testing/place.ts. Pods' own links go with their namespaces. */
const foreign = /\b10\.2\d\d\.|\b(berth|b)2\d\d|DOCKER|docker|NETAVARK|podman|veth/;

/** Everything of the machine that the cluster may change, in an order of its own. */
function machine(): Readonly<Record<string, unknown>> {
  const run = (file: string, ...args: string[]): string => execFileSync(file, args, { encoding: "utf8" });
  const lines = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => line !== "" && !foreign.test(line))
      .sort();
  const settings = ["net/bridge/bridge-nf-call-iptables", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];
  const groups = readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter((path) => /kubepods|berth-node2/.test(path));
  return {
    settings: settings.map((name) => `${name} ${setting(name)}`),
    links: lines(run("ip", "-br", "link")).map((line) => line.split(/\s/)[0]),
    addresses: lines(run("ip", "-br", "addr")).map((line) => line.split(/\s+/).toSpliced(1, 1)),
    routes: lines(run("ip", "route", "show", "table", "all")),
    namespaces: lines(run("ip", "netns", "list")),
    // Counters of packets are no rules, and of chains only what is the cluster's counts: others set policies.
    iptables: lines(run("iptables-save")).filter((line) => /BERTH-CLUSTER|KUBE|CNI|10\.19[789]\./.test(line)),
    ip6tables: lines(run("ip6tables-save")).filter((line) => /BERTH-CLUSTER|KUBE|CNI/.test(line)),
    nftables: lines(run("nft", "list", "tables")).filter((line) => /kube|berth/.test(line)),
    mounts: lines(readFileSync("/proc/self/mounts", "utf8")).filter((line) => line.includes(home) || /netns\/(cni|berth)-/.test(line)),
    groups,
    processes: livingProcesses().flatMap(({ pid, name }) => (marked(pid) ? [name] : [])),
    state: existsSync(home),
    results: existsSync("/var/lib/cni/results") ? readdirSync("/var/lib/cni/results").filter((name) => name.startsWith("berth")) : [],
  };
}

const setting = (name: string): string => (existsSync(`/proc/sys/${name}`) ? readFileSync(`/proc/sys/${name}`, "utf8").trim() : "none");

function marked(pid: number): boolean {
  try {
    return readFileSync(`/proc/${String(pid)}/environ`, "utf8").includes(`${mark.name}=`);
  } catch {
    return false;
  }
}

test.skipIf(missing !== undefined)(`down leaves nothing behind${missing === undefined ? "" : ` (${missing})`}`, async () => {
  const before = machine();
  const forwarding = hasPlaces() ? undefined : setting("net/ipv4/ip_forward");
  try {
    await up(wanted, createProgress(process.stdout));
    const space = await testNamespace();
    await space.apply(webServer("web", { replicas: 6 }), service("web"));
    await space.run("rollout", "status", "deployment/web", "--timeout=60s");
    expect(await kubectl(["get", "nodes"])).toMatch(/node1 +Ready [^]*node2 +Ready /);
    // What is to go is there to go.
    const during = machine();
    expect(during["processes"]).toEqual(expect.arrayContaining(["kubelet", "etcd", "containerd", "kube-apiserver", "traefik"]));
    for (const kind of ["links", "routes", "iptables", "nftables", "mounts", "groups", "namespaces"])
      expect(during[kind], kind).not.toEqual(before[kind]);
  } finally {
    await down({ purge: true });
  }
  expect(machine()).toEqual(before);
  // Daemons of other tests need it, and leave it as it was before the first of them.
  if (forwarding !== undefined && !hasPlaces()) expect(setting("net/ipv4/ip_forward")).toBe(forwarding);
});
