// Where this machine keeps its control groups and which files set a limit there: version 1 (a tree for each controller), version 2 (one tree), or both beside
// each other. Pure: works on the texts of /proc and on answers to what is where. Rules: kernel documentation, admin-guide/cgroup-v1 and cgroup-v2.

export type Controller = "memory" | "cpu" | "pids" | "cpuacct";
export interface Tree {
  readonly version: 1 | 2;
  /** The folder that stands for the group below which Berth's groups are made. */
  readonly parent: string;
  readonly controllers: readonly Controller[];
}

export interface LayoutFacts {
  /** Text of /proc/self/mountinfo. */
  readonly mountinfo: string;
  /** Text of /proc/self/cgroup. */
  readonly own: string;
  readonly isRoot: boolean;
  /** Whether this process may make groups in this folder and move processes there. */
  readonly writable: (folder: string) => boolean;
  /** Text of a file, undefined when there is none. */
  readonly read: (file: string) => string | undefined;
}

const controllers: readonly Controller[] = ["memory", "cpu", "pids", "cpuacct"];
const needed: readonly Controller[] = ["memory", "cpu", "pids"];

interface Mounted {
  readonly version: 1 | 2;
  readonly at: string;
  readonly root: string;
  readonly holds: readonly string[];
}

/** proc(5): ID, parent, device, root, mount point, options, optional fields, `-`, type, source, super options; spaces as \040. */
function mountedTrees(mountinfo: string): Mounted[] {
  return mountinfo.split("\n").flatMap((line): Mounted[] => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "/", at = ""] = before
      .split(" ")
      .map((field) => field.replace(/\\(\d{3})/g, (_whole, code: string) => String.fromCharCode(Number.parseInt(code, 8))));
    const [type, , options = ""] = after.split(" ");
    if (type === "cgroup2") return [{ version: 2, at, root, holds: [] }];
    return type === "cgroup" ? [{ version: 1, at, root, holds: options.split(",") }] : [];
  });
}

/** The path of this process's own group in a tree: `4:memory:/path`, and `0::/path` in version 2. */
function ownPath(own: string, tree: Mounted): string | undefined {
  for (const line of own.split("\n")) {
    const [, names = "", path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const fits = tree.version === 2 ? line.startsWith("0::") : names.split(",").some((name) => tree.holds.includes(name));
    if (fits) return path;
  }
  return undefined;
}

/**
 * The trees in which groups can be made. As root at the top of the tree, so that stopping a service that Berth was started by does not end the instances;
 * as an ordinary user at the highest folder that was handed to it (systemd's delegation), and nowhere when none was.
 */
export function findTrees(facts: LayoutFacts): Tree[] {
  const taken = new Set<Controller>();
  return mountedTrees(facts.mountinfo)
    .sort((a, b) => a.version - b.version)
    .flatMap((mounted) => {
      const parent = facts.isRoot ? (facts.writable(mounted.at) ? mounted.at : undefined) : highestWritable(mounted, facts);
      if (parent === undefined) return [];
      const there = mounted.version === 1 ? mounted.holds : (facts.read(`${parent}/cgroup.controllers`) ?? "").trim().split(/\s+/);
      const own = controllers.filter((name) => there.includes(name) && !taken.has(name));
      for (const name of own) taken.add(name);
      return own.length === 0 ? [] : [{ version: mounted.version, parent, controllers: own }];
    });
}

function highestWritable(mounted: Mounted, { own, writable }: LayoutFacts): string | undefined {
  const path = ownPath(own, mounted);
  // Below a mount of a part of the tree, paths are told from that part on.
  const inside =
    path === undefined ? undefined : mounted.root !== "/" && path.startsWith(mounted.root) ? path.slice(mounted.root.length) : path;
  let found: string | undefined;
  for (let at = inside; at !== undefined && at !== "/" && at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    if (!writable(`${mounted.at}${at}`)) break;
    found = `${mounted.at}${at}`;
  }
  return found;
}

export interface Limits {
  /** bytes */ readonly memory?: number;
  /** cores */ readonly cpu?: number;
  readonly processes?: number;
}

/** µs of a period of the CPU's time; the kernel's own default. */
const period = 100_000;

/** The files that put these limits on a group, in the order in which they are written. `optional`: machines without swap accounting lack it. */
export function limitFiles(tree: Tree, limits: Limits): { readonly file: string; readonly text: string; readonly optional?: true }[] {
  const files: { file: string; text: string; optional?: true }[] = [];
  const has = (name: Controller): boolean => tree.controllers.includes(name);
  // One page less than a core's shortest share would be refused (1 ms).
  const quota = limits.cpu === undefined ? undefined : Math.max(1000, Math.round(limits.cpu * period));
  if (tree.version === 2) {
    if (limits.memory !== undefined && has("memory"))
      files.push({ file: "memory.max", text: String(limits.memory) }, { file: "memory.swap.max", text: "0", optional: true });
    if (quota !== undefined && has("cpu")) files.push({ file: "cpu.max", text: `${String(quota)} ${String(period)}` });
  } else {
    // Memory and swap together may not be less than memory alone, so memory comes first.
    if (limits.memory !== undefined && has("memory"))
      files.push(
        { file: "memory.limit_in_bytes", text: String(limits.memory) },
        { file: "memory.memsw.limit_in_bytes", text: String(limits.memory), optional: true },
      );
    if (quota !== undefined && has("cpu"))
      files.push({ file: "cpu.cfs_period_us", text: String(period) }, { file: "cpu.cfs_quota_us", text: String(quota) });
  }
  if (limits.processes !== undefined && has("pids")) files.push({ file: "pids.max", text: String(limits.processes) });
  return files;
}

/** What makes all builds together yield to everything else on the machine: a tenth of an ordinary group's share. Niceness alone counts inside of a group only. */
export function modestFile(tree: Tree): { readonly file: string; readonly text: string } | undefined {
  if (!tree.controllers.includes("cpu")) return undefined;
  return tree.version === 2 ? { file: "cpu.weight", text: "10" } : { file: "cpu.shares", text: "102" };
}

/** Controllers that have to be handed on in every group of a version 2 tree above those with limits. */
export const handedOn = (tree: Tree): string =>
  tree.controllers
    .filter((name) => needed.includes(name))
    .map((name) => `+${name}`)
    .join(" ");

/** The number behind a word in files such as memory.events, memory.stat and pids.events; 0 when it is not told. */
export function counter(text: string | undefined, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text ?? "")?.[1] ?? 0);
}
