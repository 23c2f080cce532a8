// Wraps a build step's program so that it runs as the build's user, without a way to more rights, and, where this machine allows it, with a process
// view of its own: then the end of its first process is the end of all of them, whatever they do to hide. Decides nothing about files.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { RunAs } from "../builder.ts";

export interface Confined {
  readonly program: string;
  readonly args: readonly string[];
  /** Set when the wrapper does not change the user itself. */
  readonly user: RunAs | undefined;
}
/** How programs are started on this machine; found out once. */
export interface Confinement {
  /** `namespace`: own process view. `user`: own user only. `none`: Berth's own user; what hides from its parents and its mark may stay. */
  readonly level: "namespace" | "user" | "none";
  wrap(argv: readonly string[]): Confined;
}

/** A wrapper's own word when the program is not there; with exit code 127. */
export const notStarted = /^(?:setpriv|unshare): failed to execute /;

/** Tries the strongest form first; what this machine refuses (a container without rights, a hardened kernel) is left out. */
export async function findConfinement(runAs: RunAs | undefined): Promise<Confinement> {
  const drop = runAs === undefined ? [] : ["setpriv", `--reuid=${String(runAs.uid)}`, `--regid=${String(runAs.gid)}`, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"];
  const own = ["unshare", ...(runAs === undefined ? ["--user", "--map-current-user"] : []), "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
  if (await works([...own, ...drop, "true"])) return { level: "namespace", wrap: prefixed([...own, ...drop]) };
  if (runAs === undefined) return { level: "none", wrap: plain(undefined) };
  if (await works([...drop, "true"])) return { level: "user", wrap: prefixed(drop) };
  return { level: "user", wrap: plain(runAs) };
}

function prefixed(prefix: readonly string[]): Confinement["wrap"] {
  const [program = "", ...before] = prefix;
  return (argv) => ({ program, args: [...before, ...argv], user: undefined });
}

function plain(user: RunAs | undefined): Confinement["wrap"] {
  return ([program = "", ...args]) => ({ program, args, user });
}

async function works([program = "", ...args]: readonly string[]): Promise<boolean> {
  const child = spawn(program, args, { cwd: "/", stdio: "ignore", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
  const ended = once(child, "exit");
  const failed = new Promise<false>((resolve) => { child.once("error", () => { resolve(false); }); });
  ended.catch(() => undefined);
  return Promise.race([failed, ended.then(([code]) => code === 0, () => false)]);
}
