// What this machine lacks for the test cluster, in words that say what to install.
import { findOnPath, isExecutable } from "../../packages/server/src/os/programs.ts";
import { busyboxPath, isStatic } from "./images.ts";
import { modulesMissing, type Module } from "./programs.ts";
import type { Part } from "./settings.ts";

/** Debian package -> its programs; for the control plane, and for each part. */
const packages: Readonly<Record<"control" | Part, Readonly<Record<string, readonly string[]>>>> = {
  control: { iproute2: ["ip"], iptables: ["iptables-save", "iptables-restore"], nftables: ["nft"], openssl: ["openssl"] },
  node: {
    containerd: ["containerd", "containerd-shim-runc-v2", "ctr"],
    "containernetworking-plugins": ["/usr/lib/cni/bridge", "/usr/lib/cni/host-local", "/usr/lib/cni/loopback"],
    mount: ["mount", "umount"],
    runc: ["runc"],
  },
  addons: {},
  gateway: {},
  registry: { "docker-registry": ["docker-registry"] },
  node2: { "docker-registry": ["docker-registry"], "util-linux": ["nsenter"] },
};

const modules: Readonly<Record<"control" | Part, readonly Module[]>> = {
  control: ["kubernetes", "etcd"],
  node: [],
  addons: ["coredns", "metrics"],
  gateway: ["traefik"],
  registry: [],
  node2: [],
};

/** What has to be compiled for the control plane and these parts. */
export function modulesFor(parts: readonly Part[]): Module[] {
  return (["control", ...parts] as const).flatMap((part) => modules[part]);
}

/** Why a cluster with these parts cannot be started here, and what to do; undefined when it can. */
export function clusterMissing(parts: readonly Part[]): { readonly why: string; readonly hint: string } | undefined {
  if (process.platform !== "linux") return { why: "it runs on Linux only", hint: "Use a Linux machine, or a virtual one." };
  if (process.getuid?.() !== 0) return { why: "it needs root", hint: "It makes containers and networks: run the command as root." };
  const chosen = (["control", ...parts] as const).flatMap((part) => Object.entries(packages[part]));
  const absent = chosen.filter(([, programs]) => !programs.every(isProgram)).map(([name]) => name);
  if (parts.includes("node") && !isStatic(busyboxPath())) absent.push("busybox-static");
  if (absent.length > 0) return { why: `no ${absent.join(", ")}`, hint: `apt-get install --no-install-recommends ${absent.join(" ")}` };
  const uncompiled = modulesMissing(modulesFor(parts));
  if (uncompiled !== undefined) return { why: uncompiled, hint: "Install Go 1.26 or newer, or put it on the PATH." };
  return undefined;
}

function isProgram(name: string): boolean {
  return name.startsWith("/")
    ? isExecutable(name)
    : findOnPath(name, `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`) !== undefined;
}
