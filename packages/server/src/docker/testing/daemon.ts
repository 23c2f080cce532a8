// Starts a dockerd or a podman service of a test's own. It lives in its own process and mount namespace, so that one signal ends it with every shim, container
// and mount, also when the test itself is killed; what remains visible on the machine (links, rules, control groups) is its place's.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { sendSignal } from "../../builders/process.ts";
import { readProc } from "../../os/process.ts";
import { DockerApi } from "../api.ts";
import type { DockerEndpoint } from "../endpoint.ts";
import { DockerUnreachable } from "../errors.ts";
import { applyFirewall, networkRules } from "./firewall.ts";
import { claimPlace, releasePlace, removeGroups, type Place } from "./place.ts";
import { makeTls } from "./tls.ts";
import { findOnPath, isExecutable } from "../../os/programs.ts";

export interface TestDaemon extends AsyncDisposable {
  readonly kind: "docker" | "podman";
  readonly endpoint: DockerEndpoint;
  /** With a client certificate; only of `startDockerd({ tls: true })`. */
  readonly tlsEndpoint: DockerEndpoint | undefined;
  /** `unix://...`, as for DOCKER_HOST. */
  readonly url: string;
  readonly storage: string;
  /** All its addresses: networks of containers get theirs from here. */
  readonly subnet: string;
  /** Of this machine, for what a test has listen there: nobody else takes them. */
  readonly ports: readonly number[];
  /** Where its images and containers lie. */
  readonly data: string;
  /** What it wrote about itself so far. */
  log(): string;
  /** As a power cut: everything ends at once, and the daemon comes back with its images, its containers stopped. `off`: what is done before it comes back. */
  reboot(off?: () => Promise<void>): Promise<void>;
}

export interface DaemonOptions {
  /** Left out, the fastest that works on this file system. */
  readonly storage?: "overlay" | "vfs" | undefined;
}

export interface DockerdOptions extends DaemonOptions {
  /** Listens on a port of loopback too, for clients with a certificate. */
  readonly tls?: boolean | undefined;
  /** Its data lies on a file system of its own with so many bytes; left out, on the machine's. */
  readonly dataBytes?: number | undefined;
  /** Its containers reach the outside, to install packages for instance. Without it they reach this machine only. */
  readonly outbound?: boolean | undefined;
}

/** Why no dockerd can be started here; undefined when it can. */
export function dockerdMissing(): string | undefined {
  return missing(
    ["dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-proxy", "ip", "iptables", "openssl"],
    "docker.io, iproute2, iptables, openssl",
  );
}

/** Why no podman can be started here; undefined when it can. */
export function podmanMissing(): string | undefined {
  return missing(
    ["podman", "catatonit", "conmon", "runc", "iptables", "ip", "/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns"],
    "podman, catatonit, runc, iptables, netavark, aardvark-dns, iproute2",
  );
}

export async function startDockerd(options: DockerdOptions = {}): Promise<TestDaemon> {
  const place = await claimPlace();
  return start(place, () => {
    const at = (name: string): string => join(place.folder, name);
    const bridge = `berth${String(place.number)}`;
    if (options.dataBytes !== undefined) {
      mkdirSync(at("data"));
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${String(options.dataBytes)},mode=711`, "berth-lab", at("data")]);
    }
    const storage = storageFor(place, options, options.dataBytes === undefined ? place.folder : at("data"));
    execFileSync("ip", ["link", "add", bridge, "type", "bridge"]);
    execFileSync("ip", ["addr", "add", `10.${String(place.number)}.0.1/24`, "dev", bridge]);
    execFileSync("ip", ["link", "set", bridge, "up"]);
    const tls = options.tls === true ? makeTls(at("tls"), place.ports.at(-1) ?? 0) : undefined;
    // dockerd's own rules would be shared with, and emptied by, every other dockerd of the machine. Ports are published by docker-proxy.
    applyFirewall(networkRules(place.number, options.outbound === true));
    if (options.outbound === true) writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
    writeFileSync(at("daemon.json"), "{}");
    return {
      kind: "docker",
      storage,
      tlsEndpoint: tls?.endpoint,
      // Where dockerd writes whatever its folders are.
      hidden: ["/etc/docker"],
      volatile: [at("exec"), at("pid"), at("s")],
      argv: [
        "dockerd",
        ...["--config-file", at("daemon.json"), "--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
        ...["--host", `unix://${at("s")}`, "--storage-driver", storage === "overlay" ? "overlay2" : storage],
        ...["--bridge", bridge, "--default-address-pool", `base=10.${String(place.number)}.0.0/16,size=24`],
        ...["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"],
        ...["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", `/${place.group}`],
        ...(tls === undefined ? [] : tls.flags),
      ],
    };
  });
}

/** podman writes firewall rules in any case: its containers reach the outside. */
export async function startPodman(options: DaemonOptions = {}): Promise<TestDaemon> {
  const place = await claimPlace();
  return start(place, () => {
    const at = (name: string): string => join(place.folder, name);
    const number = String(place.number);
    const storage = storageFor(place, options);
    for (const name of ["net", "tmp"]) mkdirSync(at(name));
    // The default network, only because its bridge must not be another podman's.
    const network = {
      name: "podman",
      id: "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
      driver: "bridge",
      network_interface: `berth${number}`,
      created: "2024-01-01T00:00:00Z",
      subnets: [{ subnet: `10.${number}.0.0/24`, gateway: `10.${number}.0.1` }],
      ipv6_enabled: false,
      internal: false,
      dns_enabled: false,
      ipam_options: { driver: "host-local" },
    };
    writeFileSync(join(at("net"), "podman.json"), JSON.stringify(network));
    writeFileSync(at("storage.conf"), `[storage]\ndriver = "${storage}"\nrunroot = "${at("run")}"\ngraphroot = "${at("root")}"\n`);
    writeFileSync(at("registries.conf"), "unqualified-search-registries = []\n");
    writeFileSync(
      at("containers.conf"),
      [
        "[containers]",
        // The defaults are above what a process without CAP_SYS_RESOURCE may set.
        'default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]',
        "[engine]",
        'runtime = "runc"',
        'cgroup_manager = "cgroupfs"',
        'events_logger = "file"',
        // Locks in shared memory would be shared with every podman of the machine.
        'lock_type = "file"',
        `tmp_dir = "${at("libpod")}"`,
        "[network]",
        'network_backend = "netavark"',
        `network_config_dir = "${at("net")}"`,
        `default_subnet = "10.${number}.0.0/24"`,
        `default_subnet_pools = [{ "base" = "10.${number}.0.0/16", "size" = 24 }]`,
        "",
      ].join("\n"),
    );
    return {
      kind: "podman",
      storage,
      tlsEndpoint: undefined,
      hidden: ["/var/lib/containers", "/var/cache/containers"],
      volatile: [at("run"), at("libpod"), at("s")],
      env: { CONTAINERS_STORAGE_CONF: at("storage.conf"), CONTAINERS_REGISTRIES_CONF: at("registries.conf"), TMPDIR: at("tmp") },
      argv: [
        "podman",
        ...["--root", at("root"), "--runroot", at("run"), "--storage-driver", storage],
        ...["system", "service", "--time=0", `unix://${at("s")}`],
      ],
    };
  });
}

interface Recipe {
  readonly kind: TestDaemon["kind"];
  readonly storage: string;
  readonly tlsEndpoint: DockerEndpoint | undefined;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Folders of the machine that the daemon gets an empty one for. */
  readonly hidden: readonly string[];
  /** What does not outlive a boot. */
  readonly volatile: readonly string[];
}

async function start(place: Place, prepare: () => Recipe): Promise<TestDaemon> {
  let child: ChildProcess | undefined;
  try {
    const recipe = prepare();
    const endpoint: DockerEndpoint = { type: "unix", path: join(place.folder, "s") };
    child = await launch(place, recipe, endpoint);
    return {
      kind: recipe.kind,
      endpoint,
      tlsEndpoint: recipe.tlsEndpoint,
      url: `unix://${endpoint.path}`,
      storage: recipe.storage,
      subnet: `10.${String(place.number)}.0.0/16`,
      ports: place.ports.slice(0, -1),
      data: join(place.folder, recipe.kind === "docker" ? "data" : "root"),
      log: () => readLog(place),
      reboot: async (off) => {
        await endConfined(child);
        await off?.();
        // A boot begins without any, and podman forgets those of containers that it has not stopped itself.
        removeGroups(place);
        for (const path of recipe.volatile) rmSync(path, { recursive: true, force: true });
        child = await launch(place, recipe, endpoint);
      },
      [Symbol.asyncDispose]: async () => {
        await endConfined(child);
        await releasePlace(place);
      },
    };
  } catch (error) {
    await releasePlace(place);
    throw error;
  }
}

export const readLog = (place: Place): string => readFileSync(join(place.folder, "log"), "utf8");

/** /run is where daemons of all kinds meet; what resolves names is kept. The shell stays as the first process and reaps what is orphaned. */
const confine = `set -e
resolve=/run/systemd/resolve
if [ -d $resolve ]; then mkdir -p "$FOLDER/resolve"; mount --bind $resolve "$FOLDER/resolve"; fi
mount -t tmpfs -o mode=755 berth-lab /run
if [ -d "$FOLDER/resolve" ]; then mkdir -p $resolve; mount --move "$FOLDER/resolve" $resolve; fi
mkdir -p /run/netns /run/lock $HIDDEN
for folder in $HIDDEN; do mount -t tmpfs berth-lab $folder; done
"$@" &
wait $!`;

async function launch(place: Place, recipe: Recipe, endpoint: DockerEndpoint): Promise<ChildProcess> {
  return startConfined(place, recipe, () => answering(endpoint));
}

/** Starts a daemon of any kind in namespaces of its own, and waits until it answers. Rejects with what it wrote when it ends before that. */
export async function startConfined(
  place: Place,
  recipe: {
    readonly kind: string;
    readonly argv: readonly string[];
    readonly hidden: readonly string[];
    readonly env?: Recipe["env"];
    /** Beyond those of processes and mounts, as flags of unshare(1). */
    readonly namespaces?: readonly string[];
  },
  answers: (child: ChildProcess) => Promise<void>,
): Promise<ChildProcess> {
  const log = openSync(join(place.folder, "log"), "a");
  const [markName = "", markValue = ""] = place.mark.split("=");
  const namespaces = [
    "--fork",
    "--pid",
    "--kill-child=KILL",
    "--mount",
    "--mount-proc",
    "--propagation",
    "slave",
    ...(recipe.namespaces ?? []),
  ];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "unshare", ...namespaces, "sh", "-c", confine, "sh", ...recipe.argv], {
    stdio: ["ignore", log, log],
    env: {
      PATH: searchPath,
      HOME: place.folder,
      FOLDER: place.folder,
      HIDDEN: recipe.hidden.join(" "),
      [markName]: markValue,
      ...recipe.env,
    },
  });
  closeSync(log);
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      reject(new Error(`${recipe.kind} ended at its start (${String(code ?? signal)}):\n${readLog(place).slice(-4_000)}`));
    });
  });
  // It ends later too, when the test is over.
  failed.catch(() => undefined);
  try {
    await Promise.race([failed, answers(child)]);
  } catch (error) {
    await endConfined(child);
    throw error;
  }
  return child;
}

export async function answering(endpoint: DockerEndpoint): Promise<void> {
  const api = new DockerApi(endpoint);
  const until = performance.now() + 120_000;
  try {
    for (;;) {
      try {
        await api.version();
        return;
      } catch (error) {
        if (!(error instanceof DockerUnreachable) || performance.now() > until) throw error;
        await pause(50);
      }
    }
  } finally {
    api.close();
  }
}

/** The kernel ends everything in the process namespace before its first process is gone, and the mounts go with the last one; only then `unshare` ends. */
export async function endConfined(child: ChildProcess | undefined): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const [first] = (readProc(`/proc/${String(child.pid)}/task/${String(child.pid)}/children`) ?? "").split(" ");
  if (first !== undefined && first !== "") sendSignal(Number(first), "SIGKILL");
  else child.kill("SIGKILL");
  await ended;
}

const searchPath = [...new Set([...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])].join(
  delimiter,
);

/** Why a daemon that needs these programs cannot be started here; undefined when it can. */
export function missing(programs: readonly string[], packages: string): string | undefined {
  if (process.platform !== "linux") return "not Linux";
  if (process.getuid?.() !== 0) return "not root";
  const absent = [...programs, "setpriv", "unshare"].filter((program) => !isProgram(program));
  return absent.length === 0 ? undefined : `no ${absent.join(", ")}: apt-get install ${packages}`;
}

function isProgram(name: string): boolean {
  return name.startsWith("/") ? isExecutable(name) : findOnPath(name, searchPath) !== undefined;
}

/** Whether an overlay can be mounted here is asked of the kernel: it depends on the file system of the folder. */
export function storageFor(place: Place, { storage }: DaemonOptions, folder = place.folder): string {
  if (storage !== undefined) return storage;
  const probe = join(folder, "probe");
  for (const name of ["lower", "upper", "work", "merged"]) mkdirSync(join(probe, name), { recursive: true });
  const folders = `lowerdir=${probe}/lower,upperdir=${probe}/upper,workdir=${probe}/work`;
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "overlay", "overlay", "-o", folders, join(probe, "merged")], { stdio: "ignore" });
    return "overlay";
  } catch {
    return "vfs";
  } finally {
    if (existsSync(probe)) rmSync(probe, { recursive: true });
  }
}
