// Runs programs behind bubblewrap: with processes, IPC, host name and file system of their own; as an ordinary user by a user namespace.
// Whether this machine allows it is tried, not assumed, since each of kernel, container and security module may refuse it.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { statOf, type ProcessIdentity } from "../os/process.ts";
import { viewArguments } from "./view.ts";

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PATH for Berth's own steps before a program; the program gets another. */
export const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin";
const isRoot = process.getuid?.() === 0;

/**
 * The command that makes a sandbox and goes on with what follows it, which still has all rights over the sandbox (as root: Berth's own) until
 * `dropInside`. As an ordinary user it is user 0 there, and the program becomes itself again in a second user namespace below: with a single one neither
 * could terminals be mounted nor could a later process join.
 */
export function bubblewrap(options: readonly string[]): string[] {
  const own = isRoot ? [] : ["--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL"];
  return ["bwrap", ...own, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--chdir", "/", ...options];
}

/** Becomes the tenant's user (absent: stays Berth's) with no groups, no capability and no way to gain one. */
export function dropInside(user: User | undefined): string[] {
  const none = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
  if (user !== undefined) return ["setpriv", `--reuid=${String(user.uid)}`, `--regid=${String(user.gid)}`, "--clear-groups", ...none, "--"];
  if (isRoot) return ["setpriv", ...none, "--"];
  return [
    "unshare",
    "--user",
    `--map-user=${String(process.getuid?.())}`,
    `--map-group=${String(process.getgid?.())}`,
    "--keep-caps",
    "--",
    "setpriv",
    ...none,
    "--ambient-caps=-all",
    "--",
  ];
}

/** The namespaces are opened first and the start time is read afterwards: a pid that was given again ends in an error, never in somebody else's sandbox. */
const joining = (opening: string, flags: string): string => `exec ${opening}
start() { read -r line < "/proc/$1/stat" || return; line=\${line##*) }; set -f; set -- $line; echo "\${20}"; }
[ "$(start "$1")" = "$2" ] || exit 125
shift 2
exec nsenter ${flags} -- "$@"`;

/** Goes on inside the sandbox with what follows, which has the same rights as after `bubblewrap` and has to close descriptors 4 to 9. */
export function joinSandbox(first: ProcessIdentity): string[] {
  const kinds = [
    ["mnt", "mount"],
    ["pid", "pid"],
    ["ipc", "ipc"],
    ["uts", "uts"],
    ["cgroup", "cgroup"],
    ...(isRoot ? [] : [["user", "user"]]),
  ] as const;
  const opening = kinds.map(([file], at) => `${String(at + 4)}</proc/$1/ns/${file ?? ""}`).join(" ");
  const flags = kinds.map(([, flag], at) => `--${flag ?? ""}=/proc/self/fd/${String(at + 4)}`).join(" ");
  return ["/bin/sh", "-c", joining(opening, isRoot ? flags : `--preserve-credentials ${flags}`), "berth", String(first.pid), first.start];
}

/** Whether programs of this user can be run in a sandbox here, and later ones beside them. `scratch` is an existing folder of Berth's own. */
export async function canSandbox(scratch: string, user: User | undefined): Promise<boolean> {
  const folder = mkdtempSync(join(scratch, "sandbox-try-"));
  try {
    const info = join(folder, "info");
    const view = viewArguments({ binds: [], hidden: [], tmp: folder });
    const inside = [
      ...bubblewrap(["--as-pid-1", "--new-session", "--die-with-parent", "--info-fd", "4", ...view, "--"]),
      "/bin/sh",
      "-c",
      '"$@"; exit $?',
      "berth",
      ...dropInside(user),
      "/bin/sh",
      "-c",
      "read -r _ < /proc/self/stat && echo inside && exec sleep 20",
    ];
    const trying = run(["/bin/sh", "-c", 'exec 4> "$1"; shift; exec "$@"', "berth", info, ...inside]);
    try {
      await trying.said;
      const pid = /"child-pid": (\d+)/.exec(readFileSync(info, "utf8"))?.[1];
      const first = statOf(Number(pid));
      if (first === undefined) return false;
      const joined = run([...joinSandbox(first), ...dropInside(user), "/bin/sh", "-c", '[ "$$" -lt 100 ] && echo inside']);
      await joined.said;
      return true;
    } finally {
      trying.end();
    }
  } catch {
    // Every refusal means the same: no sandbox on this machine, which capabilities say.
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether the kernel counts an ordinary user's processes for each of its user namespaces (Linux 5.14), so that a sandbox can have a limit of its own. */
export async function countsApart(scratch: string): Promise<boolean> {
  const view = viewArguments({ binds: [], hidden: [], tmp: scratch });
  const trying = run([
    ...bubblewrap(["--die-with-parent", ...view, "--"]),
    ...dropInside(undefined),
    "prlimit",
    "--nproc=3",
    "--",
    "/bin/sh",
    "-c",
    "(:) && echo inside",
  ]);
  return trying.said.then(
    () => true,
    () => false,
  );
}

/** Starts a command; `said` is fulfilled by its first word and rejected by an end without one. */
function run([program = "", ...args]: readonly string[]): { readonly said: Promise<void>; readonly end: () => void } {
  const said = Promise.withResolvers<void>();
  const child = execFile(program, args, { cwd: "/", env: { PATH: systemPath }, timeout: 10_000, killSignal: "SIGKILL" }, (error) => {
    said.reject(error ?? new Error("it said nothing"));
  });
  child.stdout?.once("data", () => {
    said.resolve();
  });
  return {
    said: said.promise,
    end: () => {
      child.kill("SIGKILL");
    },
  };
}
