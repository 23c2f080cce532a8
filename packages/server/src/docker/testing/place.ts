// What a test daemon occupies on this machine: a folder, a private network 10.N.0.0/16, control groups, firewall rules. One number stands for all of it, so that
// whatever a killed test left can be found, and is removed by the next test that starts a daemon. Removes nothing that it did not make.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killProcesses } from "../../builders/process.ts";
import { withLock } from "../../os/lock.ts";
import { identify, isSameProcess, type LastingIdentity } from "../../os/process.ts";
import { applyFirewall, hasDaemonChains, readFirewall, withoutNetwork, withoutPodman } from "./firewall.ts";

export interface Place {
  /** The second byte of its addresses. */
  readonly number: number;
  /** Short, because the path of a unix socket is bounded. */
  readonly folder: string;
  /** `NAME=value` in the environment of every process of the daemon. */
  readonly mark: string;
  /** Of the control groups, below the root of each hierarchy. */
  readonly group: string;
  /** Of this machine, and below those that the kernel gives to whoever asks for any: nobody else takes one before it is listened on. */
  readonly ports: readonly number[];
}

const root = join(tmpdir(), "berth-lab");
const numbers = Array.from({ length: 50 }, (_, index) => 200 + index);
const forwarding = "/proc/sys/net/ipv4/ip_forward";

function placeOf(number: number): Place {
  const folder = join(root, String(number));
  return {
    number,
    folder,
    mark: `CONTAINERS_CONF=${join(folder, "containers.conf")}`,
    group: `berth-test-${String(number)}`,
    ports: Array.from({ length: 10 }, (_, index) => 12_000 + 10 * number + index),
  };
}

/** A free place, once what dead tests left is away. */
export async function claimPlace(): Promise<Place> {
  mkdirSync(root, { recursive: true, mode: 0o711 });
  return withLock(join(root, "lock"), undefined, async () => {
    for (const place of taken()) if (!isOwned(place)) await clear(place);
    const used = taken();
    if (used.length === 0) rememberMachine();
    const routes = execFileSync("ip", ["-4", "route", "show", "table", "all"], { encoding: "utf8" });
    const isFree = (each: number): boolean =>
      !used.some((place) => place.number === each) && !new RegExp(`\\b10\\.${String(each)}\\.`).test(routes);
    const number = numbers.find(isFree);
    if (number === undefined)
      throw new Error(`no free network among 10.${String(numbers[0])}.0.0/16 and its ${String(numbers.length)} neighbours`);
    const place = placeOf(number);
    mkdirSync(place.folder, { mode: 0o711 });
    writeFileSync(join(place.folder, "owner.json"), JSON.stringify(identify(process.pid)));
    return place;
  });
}

/** Ends and removes everything of it. The last one to go leaves the machine as the first one found it, unless others started daemons meanwhile. */
export async function releasePlace(place: Place): Promise<void> {
  await withLock(join(root, "lock"), undefined, async () => {
    await clear(place);
    if (taken().length === 0) restoreMachine();
  });
}

/** Whether a test's daemon is, or was until a moment ago, on this machine. */
export function hasPlaces(): boolean {
  return existsSync(root) && taken().length > 0;
}

function taken(): Place[] {
  return readdirSync(root).flatMap((name) => (/^\d+$/.test(name) ? placeOf(Number(name)) : []));
}

function isOwned(place: Place): boolean {
  const path = join(place.folder, "owner.json");
  // Without it, its claimer died between two lines: a claim is made under the lock.
  return existsSync(path) && isSameProcess(JSON.parse(readFileSync(path, "utf8")) as LastingIdentity);
}

/** May be repeated after it was interrupted: the folder goes last. */
async function clear(place: Place): Promise<void> {
  await killProcesses({ leaders: [], recent: false, mark: place.mark });
  const links = removeLinks(place);
  applyFirewall(withoutNetwork(readFirewall(), `10.${String(place.number)}.`, links));
  removeRoutes(place);
  removeGroups(place);
  removeMounts(place);
  rmSync(place.folder, { recursive: true, force: true, maxRetries: 5 });
}

/** File systems that a test gave its daemon. */
function removeMounts({ folder }: Place): void {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  for (const point of points.filter((one) => one.startsWith(`${folder}/`)).reverse()) execFileSync("umount", ["--lazy", point]);
}

/** Of addresses that a program made this machine's own. */
function removeRoutes(place: Place): void {
  const routes = execFileSync("ip", ["-4", "route", "show", "table", "local", "dev", "lo"], { encoding: "utf8" }).split("\n");
  for (const [, range = ""] of routes.map((line) => line.split(" ")))
    if (range.startsWith(`10.${String(place.number)}.`)) execFileSync("ip", ["route", "del", "local", range, "dev", "lo"]);
}

interface Link {
  readonly ifname: string;
  readonly addr_info?: readonly { readonly family: string; readonly local: string; readonly prefixlen: number }[];
}

function ipJson(...args: string[]): Link[] {
  return JSON.parse(execFileSync("ip", ["-j", ...args], { encoding: "utf8" }) || "[]") as Link[];
}

/** Bridges with an address of the place's, and what is plugged into them. Returns their names. */
function removeLinks(place: Place): string[] {
  const removed: string[] = [];
  for (const link of ipJson("-4", "addr", "show")) {
    const addresses = (link.addr_info ?? []).filter((address) => address.family === "inet");
    const own = addresses.filter((address) => address.local.startsWith(`10.${String(place.number)}.`));
    if (own.length === 0) continue;
    if (own.length < addresses.length) {
      // Two podmans gave their networks the same bridge; the other one keeps it.
      for (const address of own) execFileSync("ip", ["addr", "del", `${address.local}/${String(address.prefixlen)}`, "dev", link.ifname]);
      continue;
    }
    for (const plugged of ipJson("link", "show", "master", link.ifname)) removeLink(plugged.ifname.replace(/@.*$/, ""));
    removeLink(link.ifname);
    removed.push(link.ifname);
  }
  return removed;
}

/** The kernel may be removing it at the same moment, with the network namespace of its other end. */
function removeLink(name: string): void {
  try {
    execFileSync("ip", ["link", "del", name], { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
  } catch (error) {
    if (!(error instanceof Error && /Cannot find device/.test(error.message))) throw error;
  }
}

/** Those of the containers, once nothing runs in them. podman has one parent for all; the names of its containers are in its storage. */
export function removeGroups(place: Place): void {
  const storage = join(place.folder, "root");
  const ids = existsSync(storage)
    ? readdirSync(storage)
        .filter((name) => name.endsWith("-containers"))
        .flatMap((name) => readdirSync(join(storage, name)).filter((id) => /^[0-9a-f]{64}$/.test(id)))
    : [];
  for (const hierarchy of hierarchies())
    for (const name of [place.group, ...ids.flatMap((id) => [`libpod_parent/libpod-${id}`, `libpod_parent/libpod-conmon-${id}`])])
      removeGroup(join(hierarchy, name));
}

/** Roots of the control group file systems: one of version 2, or one for each controller of version 1. */
function hierarchies(): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .flatMap(([, path = "", type = ""]) => (/^cgroup2?$/.test(type) ? path : []));
}

function removeGroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeGroup(join(path, entry.name));
  rmdirSync(path);
}

interface Machine {
  readonly forwarding: string;
}

function rememberMachine(): void {
  const machine: Machine = { forwarding: readFileSync(forwarding, "utf8").trim() };
  writeFileSync(join(root, "machine.json"), JSON.stringify(machine));
}

function restoreMachine(): void {
  const machine = JSON.parse(readFileSync(join(root, "machine.json"), "utf8")) as Machine;
  applyFirewall(withoutPodman(readFirewall()));
  // Another daemon that came meanwhile needs it too.
  const now = readFileSync(forwarding, "utf8").trim();
  if (now !== machine.forwarding && !hasDaemonChains(readFirewall())) writeFileSync(forwarding, machine.forwarding);
  // podman makes it anew; it is nobody's while there is no container in it.
  for (const parent of hierarchies().map((path) => join(path, "libpod_parent"))) {
    const isUsed = existsSync(parent) && readdirSync(parent).some((name) => name.startsWith("libpod-"));
    if (!isUsed) removeGroup(parent);
  }
}
