// Control groups for instances and builds: limits that hold for everything a program starts, whatever it does to hide, and figures of all of it together.
// Where the machine lets Berth write none, there are none, and nobody claims a limit that does not hold.
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { counter, findTrees, handedOn, limitFiles, modestFile, type Controller, type Limits, type Tree } from "./cgroup-layout.ts";

export interface GroupUsage {
  readonly cpuSeconds: number;
  /** bytes, without what is only kept to spare the disk */ readonly memory: number;
  readonly processes: readonly number[];
}
export interface GroupTrouble {
  /** Processes that the kernel ended for want of memory. */ readonly memoryKills: number;
  /** The most that was in use at once, bytes. */ readonly memoryPeak: number | undefined;
  /** Processes and threads that were refused. */ readonly processesRefused: number;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // Gone with its group, or a kernel without it.
    return undefined;
  }
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    // Somebody else's, or read-only in a container.
    return false;
  }
}

/** One group, in every tree that has a part of it. Made by `Cgroups.make`. */
export class Group {
  readonly #trees: readonly { readonly tree: Tree; readonly dir: string }[];

  constructor(trees: readonly { readonly tree: Tree; readonly dir: string }[]) {
    this.#trees = trees;
  }

  /** Files to which a process writes `0` to become a member, with everything that it starts from then on. */
  get entrances(): string[] {
    return this.#trees.map(({ dir }) => join(dir, "cgroup.procs"));
  }

  /** Each tree's folder with the place at which a sandbox shows it, so that a runtime finds its own limits and nobody else's. */
  get folders(): { readonly source: string; readonly target: string }[] {
    return this.#trees.flatMap(({ tree, dir }) =>
      tree.version === 2
        ? [{ source: dir, target: "/sys/fs/cgroup" }]
        : tree.controllers.map((name) => ({ source: dir, target: `/sys/fs/cgroup/${name}` })),
    );
  }

  /** Pids of the members, as this machine sees them. */
  members(): number[] {
    const found = this.#trees.flatMap(({ dir }) =>
      (readIfThere(join(dir, "cgroup.procs")) ?? "")
        .split("\n")
        .filter((line) => line !== "" && line !== "0")
        .map(Number),
    );
    return [...new Set(found)];
  }

  usage(): GroupUsage {
    const memory = this.#file("memory", "memory.current", "memory.usage_in_bytes");
    const cold = this.#file("memory", "memory.stat", "memory.stat");
    const spent = this.#with("cpuacct");
    const cpuSeconds =
      spent === undefined
        ? counter(this.#file("cpu", "cpu.stat", "cpu.stat"), "usage_usec") / 1e6
        : Number(readIfThere(join(spent.dir, "cpuacct.usage")) ?? 0) / 1e9;
    return {
      cpuSeconds,
      memory: Math.max(0, Number(memory ?? 0) - (counter(cold, "total_inactive_file") || counter(cold, "inactive_file"))),
      processes: this.members(),
    };
  }

  /** What went wrong in it since it was made. */
  trouble(): GroupTrouble {
    const peak = this.#file("memory", "memory.peak", "memory.max_usage_in_bytes");
    return {
      memoryKills: counter(this.#file("memory", "memory.events", "memory.oom_control"), "oom_kill"),
      memoryPeak: peak === undefined ? undefined : Number(peak),
      processesRefused: counter(this.#file("pids", "pids.events", "pids.events"), "max"),
    };
  }

  /** Lets nothing new begin in it, so that ending its members one after another comes to an end. */
  shut(): void {
    const pids = this.#with("pids");
    if (pids !== undefined) writeIfPossible(join(pids.dir, "pids.max"), "0");
    const unified = this.#trees.find(({ tree }) => tree.version === 2);
    if (unified !== undefined) writeIfPossible(join(unified.dir, "cgroup.kill"), "1");
  }

  /** false: something still lives in it. Absent = removed. */
  remove(): boolean {
    return this.#trees.map(({ dir }) => removeGroup(dir)).every((removed) => removed);
  }

  /** Sets limits; throws the system's error when one that counts is refused. */
  limit(limits: Limits): void {
    for (const { tree, dir } of this.#trees) {
      for (const { file, text, optional } of limitFiles(tree, limits)) {
        if (optional === true) writeIfPossible(join(dir, file), text);
        else writeFileSync(join(dir, file), text);
      }
    }
  }

  #with(controller: Controller): { readonly tree: Tree; readonly dir: string } | undefined {
    return this.#trees.find(({ tree }) => tree.controllers.includes(controller));
  }

  #file(controller: Controller, unified: string, own: string): string | undefined {
    const found = this.#with(controller);
    return found === undefined ? undefined : readIfThere(join(found.dir, found.tree.version === 2 ? unified : own));
  }
}

function writeIfPossible(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    // A kernel without this file, or a group that is gone: the caller's other means still hold.
  }
}

function removeGroup(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ENOENT";
  }
}

export class Cgroups {
  readonly #trees: readonly { readonly tree: Tree; readonly dir: string }[];

  private constructor(trees: readonly { readonly tree: Tree; readonly dir: string }[]) {
    this.#trees = trees;
  }

  /**
   * The groups of one home, below `berth/` and `berth-builds/` of this machine and of nobody else's, after a try of the real thing; undefined when none can be made.
   * `kind` is who makes them: agent and builds each sweep their own.
   */
  static open(home: string, kind: "instances" | "builds", isRoot = process.getuid?.() === 0): Cgroups | undefined {
    const name = `${createHash("sha256").update(home).digest("hex").slice(0, 12)}-${kind}`;
    const found = findTrees({
      mountinfo: readIfThere("/proc/self/mountinfo") ?? "",
      own: readIfThere("/proc/self/cgroup") ?? "",
      isRoot,
      read: readIfThere,
      writable: (folder) => canWrite(folder) && (isRoot || canWrite(join(folder, "cgroup.procs"))),
    });
    const trees = found.flatMap((tree) => {
      const dir = prepare(tree, kind, name);
      return dir === undefined ? [] : [{ tree, dir }];
    });
    const all = new Cgroups(trees);
    return trees.length > 0 && all.#works() ? all : undefined;
  }

  /** Which limits hold here. */
  get can(): { readonly memory: boolean; readonly cpu: boolean; readonly processes: boolean } {
    const has = (name: Controller): boolean => this.#trees.some(({ tree }) => tree.controllers.includes(name));
    return { memory: has("memory"), cpu: has("cpu"), processes: has("pids") };
  }

  /** A new, empty group with these limits; one that is there is taken as it is and gets them. Throws the system's error. */
  make(id: string, limits: Limits): Group {
    const group = this.group(id);
    for (const { dir } of this.#trees) mkdirSync(join(dir, id), { recursive: true });
    group.limit(limits);
    return group;
  }

  /** A group by its name, whether it is there or not. */
  group(id: string): Group {
    return new Group(this.#trees.map(({ tree, dir }) => ({ tree, dir: join(dir, id) })));
  }

  /** Names of all groups that there are. */
  list(): string[] {
    return [
      ...new Set(
        this.#trees.flatMap(({ dir }) =>
          existsSync(dir)
            ? readdirSync(dir, { withFileTypes: true })
                .filter((entry) => entry.isDirectory())
                .map((entry) => entry.name)
            : [],
        ),
      ),
    ];
  }

  /** Removes what holds no process, but for these; false while something is left. Whoever opens them again makes them again. */
  close(inUse: ReadonlySet<string> = new Set()): boolean {
    for (const id of this.list()) if (!inUse.has(id)) this.group(id).remove();
    return this.#trees.map(({ dir }) => removeGroup(dir) && (removeGroup(dirname(dir)) || true)).every((removed) => removed);
  }

  #works(): boolean {
    const id = `try-${String(process.pid)}`;
    try {
      const { memory, cpu, processes } = this.can;
      this.make(id, {
        ...(memory ? { memory: 64 * 1024 * 1024 } : {}),
        ...(cpu ? { cpu: 1 } : {}),
        ...(processes ? { processes: 100 } : {}),
      });
      return this.group(id).entrances.every((file) => canWrite(file));
    } catch {
      // Delegated in name only.
      return false;
    } finally {
      this.group(id).remove();
    }
  }
}

/** Makes `berth/<name>` or `berth-builds/<name>` in a tree and hands the controllers on; undefined when this is refused. */
function prepare(tree: Tree, kind: "instances" | "builds", name: string): string | undefined {
  try {
    let at = tree.parent;
    for (const next of [kind === "builds" ? "berth-builds" : "berth", name]) {
      if (tree.version === 2) writeFileSync(join(at, "cgroup.subtree_control"), handedOn(tree));
      at = join(at, next);
      mkdirSync(at, { recursive: true });
    }
    const modest = kind === "builds" ? modestFile(tree) : undefined;
    // Refused where the machine's owner has decided otherwise (`cpu.idle`): limits hold all the same.
    if (modest !== undefined) writeIfPossible(join(dirname(at), modest.file), modest.text);
    if (tree.version === 2) writeFileSync(join(at, "cgroup.subtree_control"), handedOn(tree));
    return at;
  } catch {
    // A group with processes cannot hand its controllers on (the rule of version 2), or the tree is read-only: not for Berth.
    return undefined;
  }
}

/** First words of a shell script by which it becomes a member of these groups. It ends with 125 where it cannot: no program runs without its limits. */
export function enterGroups(entrances: readonly string[]): string {
  return entrances.map((file) => `echo 0 > '${file}' || exit 125\n`).join("");
}
