// Wraps a build step's program so that it runs as the build's user, without a way to more rights, and, where this machine allows it, with a process
// view of its own: then the end of its first process is the end of all of them, whatever they do to hide.
// Nothing that still has Berth's rights ever sees the build's environment: LD_PRELOAD or PATH in it would be a way to become root.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { bubblewrap, canSandbox, dropInside } from "../../sandbox/bubblewrap.ts";
import { viewArguments, type View } from "../../sandbox/view.ts";
import type { RunAs } from "../builder.ts";

export interface Confined {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Set when the system call that starts the program changes the user; wrappers do it themselves. */
  readonly user: RunAs | undefined;
  /** What the wrapper reads from its file descriptor 3. */
  readonly input: string | undefined;
}
/** How programs are started on this machine; found out once. */
export interface Confinement {
  /** `sandbox`: own view of processes and files. `namespace`: own process view. `user`: own user only. `none`: Berth's own user; what hides from its parents and its mark may stay. */
  readonly level: "sandbox" | "namespace" | "user" | "none";
  /** `mark` is an entry of `env` that the wrappers carry, too. A sandbox starts in `cwd` and shows `view`; without one the caller sets the folder. */
  wrap(
    argv: readonly string[],
    env: Readonly<Record<string, string>>,
    mark: string,
    place: { readonly cwd: string; readonly view: View },
  ): Confined;
}

const wrapperPath = "/usr/sbin:/usr/bin:/sbin:/bin";
/**
 * Takes the build's environment from descriptor 3 and stays as the parent of the program: the first process of a namespace would not be
 * ended by its own signals. Its exit code is the program's, or 128 and the signal's number.
 */
const entrance = 'eval "$(cat <&3)"; exec 3<&-; "$@"; exit "$?"';
/** Variables that a shell keeps for itself and refuses to set. */
const shellsOwn: ReadonlySet<string> = new Set(["_", "UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"]);

/** The same inside a sandbox, which begins at its own root. */
const sandboxEntrance = 'eval "$(cat <&3)"; exec 3<&-; cd "$1" || exit 126; shift; "$@"; exit "$?"';

/** Tries the strongest form first; what this machine refuses (a container without rights, a hardened kernel) is left out. `scratch` is a folder of Berth's own; absent: no sandbox. */
export async function findConfinement(runAs: RunAs | undefined, scratch?: string): Promise<Confinement> {
  if (scratch !== undefined && (await canSandbox(scratch, runAs))) return { level: "sandbox", wrap: sandboxed(runAs) };
  const drop =
    runAs === undefined
      ? []
      : [
          "setpriv",
          `--reuid=${String(runAs.uid)}`,
          `--regid=${String(runAs.gid)}`,
          "--clear-groups",
          "--no-new-privs",
          "--bounding-set=-all",
          "--inh-caps=-all",
          "--",
        ];
  const own = [
    "unshare",
    ...(runAs === undefined ? ["--user", "--map-current-user"] : []),
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
  ];
  if (await works([...own, ...drop, "true"])) return { level: "namespace", wrap: wrapped([...own, ...drop]) };
  if (runAs !== undefined && (await works([...drop, "true"]))) return { level: "user", wrap: wrapped(drop) };
  return plainConfinement(runAs);
}

/** Without any wrapper: for machines that have none of them. */
export function plainConfinement(runAs: RunAs | undefined): Confinement {
  return {
    level: runAs === undefined ? "none" : "user",
    wrap: ([program = "", ...args], env) => ({ program, args, env, user: runAs, input: undefined }),
  };
}

/** Ends with Berth's own process: a build of a control plane that died is begun again by the next one. */
function sandboxed(runAs: RunAs | undefined): Confinement["wrap"] {
  return (argv, env, mark, { cwd, view }) => {
    const [program = "", ...args] = [
      ...bubblewrap(["--die-with-parent", ...viewArguments(view), "--"]),
      ...dropInside(runAs),
      "sh",
      "-c",
      sandboxEntrance,
      "sh",
      cwd,
      ...argv,
    ];
    return { program, args, env: { PATH: wrapperPath, [mark]: env[mark] ?? "" }, user: undefined, input: exportsOf(env) };
  };
}

function wrapped(wrapper: readonly string[]): Confinement["wrap"] {
  const [program = "", ...args] = wrapper;
  return (argv, env, mark) => ({
    program,
    args: [...args, "sh", "-c", entrance, "sh", ...argv],
    env: { PATH: wrapperPath, [mark]: env[mark] ?? "" },
    user: undefined,
    input: exportsOf(env),
  });
}

function exportsOf(env: Readonly<Record<string, string>>): string {
  const settable = Object.entries(env).filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !shellsOwn.has(name));
  return settable.map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`).join("");
}

async function works([program = "", ...args]: readonly string[]): Promise<boolean> {
  const child = spawn(program, args, { cwd: "/", stdio: "ignore", env: { PATH: wrapperPath } });
  const failed = new Promise<false>((resolve) => {
    child.once("error", () => {
      resolve(false);
    });
  });
  return Promise.race([
    failed,
    once(child, "exit").then(
      ([code]) => code === 0,
      () => false,
    ),
  ]);
}
