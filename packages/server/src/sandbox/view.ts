// What a sandboxed program sees of the file system: the system's programs, read-only, and what is named for it; nothing else of the machine, nothing of
// Berth's. The arguments are carried out with Berth's rights, so no path in them may lead through a folder that a tenant can write.
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, realpathSync, type Stats } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface View {
  /** In any order. No target may lie below a target that a tenant can write; `/tmp` takes care of itself. */
  readonly binds: readonly Bind[];
  /** Folders of this machine that stay hidden, wherever they lie: Berth's home and its run folder. */
  readonly hidden: readonly string[];
  /** The folder of this machine that is `/tmp` inside, unless something else has to lie there. */
  readonly tmp: string;
}

/** Where operating systems keep programs and what these read; what a machine does not have is left out. */
const systemFolders = [
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/etc",
  "/opt",
  "/nix",
  "/gnu",
  "/snap",
  "/var/lib/ca-certificates",
  "/run/current-system",
];
/** What runtimes read to find out how many processors there are. */
const hardware = ["/sys/devices/system/cpu", "/sys/devices/system/node"];

export const within = (path: string, folder: string): boolean => path === folder || folder === "/" || path.startsWith(`${folder}/`);
const statIfThere = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

function realIfThere(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    // A link that leads nowhere on this machine leads nowhere inside, too.
    return undefined;
  }
}

/** Whether `/tmp` inside is the view's own folder; otherwise it is memory, and the folder is seen at its own path. */
export function ownsTmp(view: Pick<View, "binds">): boolean {
  return !view.binds.some((bind) => within(bind.target, "/tmp"));
}

/** Where a program of this view finds its folder for temporary files. */
export const tmpOf = (view: View): string => (ownsTmp(view) ? "/tmp" : view.tmp);

/** Arguments of bubblewrap that make this view, the whole root of it. */
export function viewArguments(view: View): string[] {
  const ownTmp = ownsTmp(view);
  const all = [...view.binds, ...(ownTmp ? [] : [{ source: view.tmp, target: view.tmp, readOnly: false }])];
  const binds = [...new Map(all.map((bind) => [bind.target, bind])).values()].sort((a, b) => a.target.length - b.target.length);
  const targets = binds.map((bind) => bind.target);
  const args = systemFolders.flatMap((folder) => shown(folder, targets));
  args.push(...nameService());
  const folders = [...new Set(view.hidden.flatMap((folder) => [folder, realIfThere(folder) ?? folder]))];
  // What lies in another hidden folder is hidden with it, and what is not shown at all needs no cover.
  const hidden = folders.filter(
    (folder) =>
      !folders.some((other) => other !== folder && within(folder, other)) &&
      [...systemFolders, ...(ownTmp ? [] : ["/tmp"])].some((visible) => within(folder, visible)),
  );
  args.push("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev");
  for (const path of hardware) args.push("--ro-bind-try", path, path);
  if (targets.includes("/tmp")) args.push("--dir", "/tmp");
  else if (ownTmp) args.push("--bind", view.tmp, "/tmp");
  else args.push("--perms", "1777", "--tmpfs", "/tmp");
  for (const folder of hidden)
    args.push(
      ...foldersAbove(folder)
        .filter((one) => one !== "/tmp")
        .flatMap((one) => ["--dir", one]),
      "--tmpfs",
      folder,
    );
  // bubblewrap would make them for Berth's user alone.
  for (const folder of new Set(targets.flatMap(foldersAbove))) if (folder !== "/tmp") args.push("--dir", folder);
  for (const { source, target, readOnly } of binds) args.push(readOnly ? "--ro-bind" : "--bind", source, target);
  if (!targets.some((target) => within(target, "/var/tmp"))) args.push("--symlink", "/tmp", "/var/tmp");
  if (!targets.some((target) => within(target, "/var/run"))) args.push("--dir", "/run", "--symlink", "/run", "/var/run");
  for (const folder of [...hidden.toReversed(), "/"]) args.push("--remount-ro", folder);
  return args;
}

/** Every folder above a path, the outermost first, without the root. */
function foldersAbove(path: string): string[] {
  const parent = dirname(path);
  return parent === "/" ? [] : [...foldersAbove(parent), parent];
}

/** One system folder: a link as a link, a folder as a whole, unless something has to be put inside where this machine has no folder. */
function shown(path: string, targets: readonly string[]): string[] {
  const stat = statIfThere(path);
  if (stat === undefined || targets.includes(path)) return [];
  const inside = targets.filter((target) => target !== path && within(target, path));
  if (stat.isSymbolicLink()) return inside.length === 0 ? ["--symlink", readlinkSync(path), path] : [];
  if (!stat.isDirectory() || inside.every((target) => realIfThere(target) === target && statIfThere(target)?.isDirectory() === true))
    return ["--ro-bind-try", path, path];
  // The new root is memory: there the missing folders can be made, and this machine's own tree stays as it is.
  return ["--dir", path, ...readdirSync(path).flatMap((name) => shown(join(path, name), targets))];
}

/** `/etc/resolv.conf` is often a link to what a service keeps up to date below `/run`: its folder, since the file is replaced and not rewritten. */
function nameService(): string[] {
  const real = realIfThere("/etc/resolv.conf");
  if (real === undefined || systemFolders.some((folder) => within(real, folder))) return [];
  const folder = dirname(real);
  return ["/", "/run", "/tmp", "/var"].includes(folder) ? ["--ro-bind-try", real, real] : ["--ro-bind-try", folder, folder];
}

/** The path and every link on the way to what it stands for: npm's programs are links to links, and each has to be there. */
function links(path: string): string[] {
  const found = new Set<string>();
  for (let at = path; !found.has(at);) {
    found.add(at);
    if (statIfThere(at)?.isSymbolicLink() === true) at = resolve(dirname(at), readlinkSync(at));
  }
  return [...found];
}

/** The first kilobyte of a file; nothing when it cannot be read, which shows when it is run. */
function beginningOf(path: string): string {
  try {
    const file = openSync(path, "r");
    try {
      const start = Buffer.alloc(1024);
      return start.toString("utf8", 0, readSync(file, start));
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

/** The program that executes this one, when it is a script that names it by its path: in its first line, or, where that would be too long for the kernel, in a shell's word that Python takes for a text. */
function interpreterOf(script: string): string | undefined {
  const text = beginningOf(script);
  const shell = /^#![^\n]*\n'''exec' (?:"(?<quoted>\/[^"\n]+)"|(?<plain>\/[^ \n]+))/.exec(text)?.groups;
  return shell?.["quoted"] ?? shell?.["plain"] ?? /^#![ \t]*(\/[^ \t\n]+)/.exec(text)?.[1];
}

/** The Python that a virtual environment was made with: its own program may be a copy, its libraries never are. */
function pythonBelow(program: string): string | undefined {
  const home = /^home\s*=\s*(\/.*\S)\s*$/m.exec(beginningOf(join(dirname(dirname(program)), "pyvenv.cfg")))?.[1];
  return home === undefined ? undefined : join(home, basename(program));
}

/** The program and all that it stands on: where its links lead, what executes it, and what executes that. */
function neededBy(path: string): string[] {
  const found = new Set<string>();
  const open = [path];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (found.has(at)) continue;
    const places = [...links(at), realIfThere(at) ?? at];
    for (const place of places) found.add(place);
    for (const further of [interpreterOf(at), ...places.map(pythonBelow)])
      if (further !== undefined && statIfThere(further) !== undefined) open.push(further);
  }
  return [...found];
}

/** Somebody's home, Berth's own or another's: it may hold secrets. */
const isHome = (folder: string): boolean => folder === homedir() || folder === "/root" || dirname(folder) === "/home";

/**
 * What has to be seen for this program to run: nothing when it belongs to the system, else the folder that it was installed to, and those of what executes
 * it. A folder of settings in somebody's home (`~/.local`, `~/.cargo`) may hold their secrets, so of these only programs and libraries are shown.
 */
export function programFolders(path: string): string[] {
  const places = neededBy(path).filter((one) => !systemFolders.some((folder) => within(one, folder)));
  return [
    ...new Set(
      places.flatMap((place) => {
        const folder = dirname(place);
        const prefix = basename(folder) === "bin" ? dirname(folder) : folder;
        if (prefix.split("/").length < 3 || isHome(prefix) || within(homedir(), prefix)) return [place];
        if (isHome(dirname(prefix)))
          return [basename(folder) === "bin" ? folder : place, ...["lib", "lib64", "libexec"].map((name) => join(prefix, name))].filter(
            (one) => statIfThere(one) !== undefined,
          );
        return [prefix];
      }),
    ),
  ];
}

/** What has to be seen for the programs of these folders of a PATH to run. */
export function pathFolders(folders: readonly string[]): string[] {
  const found = folders
    .filter((folder) => folder.startsWith("/") && statIfThere(folder) !== undefined)
    .flatMap((folder) => programFolders(join(folder, "any")));
  return [...new Set(found)].filter((path) => statIfThere(path) !== undefined);
}
