// The shell script that puts volumes at their absolute paths inside a private mount namespace. It writes nothing into the host's own tree:
// a new root is built in memory from binds of what the host has, and only the folders on the way to a volume are made anew.
// It runs as root where Berth does, so nothing in it may be resolved through a folder that a tenant can write.
import { readdirSync, readlinkSync, realpathSync, lstatSync, type Stats } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { shellQuote } from "./files.ts";

export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface MountPlan {
  /** An empty folder on which the new root is built. */
  readonly staging: string;
  readonly mounts: readonly Mount[];
  /** Paths that have to stay visible as they are, such as the program's own folder. */
  readonly keep: readonly string[];
}

const within = (path: string, folder: string): boolean => path === folder || folder === "/" || path.startsWith(`${folder}/`);
const system = [
  "/proc",
  "/sys",
  "/dev",
  "/boot",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/usr/bin",
  "/usr/sbin",
  "/usr/lib",
  "/usr/lib32",
  "/usr/lib64",
  "/usr/libexec",
];

function statIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** The path with every symbolic link of its existing part resolved, so that the new root can be built of plain folders. */
export function resolveTarget(target: string): string {
  let existing = target;
  while (statIfThere(existing) === undefined) existing = dirname(existing);
  return normalize(join(realpathSync(existing), target.slice(existing.length)));
}

/** Why these volumes may not be mounted so; undefined when they may. The steps after mounting run system programs, which no volume may replace. */
export function refusedMounts(mounts: readonly Mount[], keep: readonly string[]): string | undefined {
  for (const mount of mounts) {
    if (normalize(mount.target) !== mount.target || mount.target === "/" || mount.target.endsWith("/") || /[\0\n]/.test(mount.target))
      return `${mount.target} is not a plain absolute path`;
    const target = resolveTarget(mount.target);
    if (system.some((folder) => within(target, folder) || within(folder, target))) return `${mount.target} belongs to the system`;
    if (target === "/etc" || (within(target, "/etc") && statIfThere(target) !== undefined)) return `${mount.target} belongs to the system`;
    if (keep.some((path) => within(path, target) || within(target, path))) return `a volume at ${mount.target} would hide the program`;
    const other = mounts.find((one) => one !== mount && within(resolveTarget(one.target), target));
    if (other !== undefined) return `the volumes at ${mount.target} and ${other.target} lie inside each other`;
  }
  return undefined;
}

/** Every existing folder from `/` to the one that holds the target. */
function foldersAbove(target: string): string[] {
  const parent = dirname(target);
  const above = parent === "/" ? ["/"] : [...foldersAbove(parent), parent];
  return above.filter((folder) => statIfThere(folder)?.isDirectory() === true);
}

/**
 * The script's text. The caller runs it with CAP_SYS_ADMIN in a private mount namespace; its arguments are what it execs at the end.
 * It ends with 125 when one step fails, so that no program ever runs beside its volume instead of in it. Throws a RangeError for a refused target.
 */
export function mountScript(plan: MountPlan): string {
  const refused = refusedMounts(plan.mounts, plan.keep);
  if (refused !== undefined) throw new RangeError(refused);
  const mounts = plan.mounts.map((mount) => ({ ...mount, target: resolveTarget(mount.target) }));
  const targets = new Set(mounts.map((mount) => mount.target));
  const rebuilt = [...new Set(mounts.flatMap((mount) => foldersAbove(mount.target)))].sort((a, b) => a.length - b.length);
  const inRoot = (path: string): string => shellQuote(join(plan.staging, path));
  const lines = ["set -e", "trap 'echo \"berth: cannot mount the volumes\" >&2; exit 125' EXIT", "umask 022"];
  lines.push(`mount -n -t tmpfs -o mode=755,size=16m tmpfs ${inRoot("/")}`, `mount -n --make-unbindable ${inRoot("/")}`);
  for (const folder of rebuilt) lines.push(...rebuild(folder, new Set(rebuilt), targets, inRoot));
  for (const { source, target, readOnly } of mounts) {
    lines.push(`mkdir -p ${inRoot(target)}`, `mount -n --bind ${shellQuote(source)} ${inRoot(target)}`);
    if (readOnly) lines.push(`mount -n -o remount,bind,ro ${inRoot(target)}`);
  }
  lines.push(`cd ${inRoot("/")}`, "pivot_root . .", "umount -n -l .", "cd /", "trap - EXIT", 'exec "$@"');
  return `${lines.join("\n")}\n`;
}

/** Makes one folder of the new root: what it holds is bound from the host, but for folders that are rebuilt themselves and places where a volume comes. */
function rebuild(folder: string, rebuilt: ReadonlySet<string>, targets: ReadonlySet<string>, inRoot: (path: string) => string): string[] {
  const lines: string[] = [];
  const mode = statIfThere(folder)?.mode;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stat = statIfThere(path);
    if (stat === undefined || targets.has(path)) continue;
    if (rebuilt.has(path)) lines.push(`mkdir ${inRoot(path)}`);
    else if (stat.isSymbolicLink()) lines.push(`ln -s ${shellQuote(readlinkSync(path))} ${inRoot(path)}`);
    else if (stat.isDirectory()) lines.push(`mkdir ${inRoot(path)}`, `mount -n --rbind ${shellQuote(path)} ${inRoot(path)}`);
    // A file or socket may vanish between listing and binding; only folders and links are worth a program's start.
    else lines.push(`true > ${inRoot(path)}`, `mount -n --bind ${shellQuote(path)} ${inRoot(path)} || rm -f ${inRoot(path)}`);
  }
  if (mode !== undefined) lines.push(`chmod ${(mode & 0o7777).toString(8)} ${inRoot(folder)}`);
  return lines;
}
