// Makes the files from which a program starts: its environment, its mounts and the chain of commands that ends in it.
// Order is a security promise: everything a tenant may write (environment, command, folder) is used only after the change to the tenant's user.
import { execFile } from "node:child_process";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Command } from "@berth/contract/spec.ts";
import { shellQuote } from "./files.ts";
import { mountScript } from "./mounts.ts";
import { runPrologue, systemPath } from "./shim.ts";

const run = promisify(execFile);

export interface User { readonly uid: number; readonly gid: number }

export interface Program {
  /** Folder of the instance or task: pipes, exit status, scripts. Only Berth's user enters it. */
  readonly dir: string;
  /** Absent: Berth's own user. */
  readonly user?: User;
  /** Absolute folder in which the program starts. */
  readonly workdir: string;
  readonly command: Command;
  readonly env: Readonly<Record<string, string>>;
  /** Binds to make in a mount namespace; empty = none needed. */
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
  /** Paths below which nothing may be mounted, since the program would lose itself. */
  readonly keep: readonly string[];
  readonly tty: boolean;
}

/** Arguments of a stack's user, as a part of commands and file ownership. */
export const ownedBy = (user: User | undefined): { readonly uid?: number; readonly gid?: number } => (user === undefined ? {} : { uid: user.uid, gid: user.gid });

export function argumentsOf(command: Command): readonly string[] {
  return "exec" in command ? command.exec : ["/bin/sh", "-c", command.shell];
}

/** Runs as the tenant's user: takes over the environment, enters the folder, becomes the program. 126 is a shell's code for "found, but cannot run". */
const enter = `eval "$(/bin/cat <&3)"; umask 027; cd "$1" || exit 126; shift; exec "$@" 3<&-`;

/** setpriv of util-linux: the user, no groups, no capability and no way to gain one. */
function dropTo(user: User | undefined, isolated: boolean): readonly string[] {
  if (user !== undefined) return ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"];
  // In its own user namespace the shell holds all capabilities over that namespace; the program holds none.
  return isolated ? ["setpriv", "--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all", "--"] : [];
}

/** The commands before the program, to be exec'ed in one chain, and the program itself. File descriptor 3 is the environment file. */
export function chainOf(program: Program): readonly string[] {
  const isolated = program.mounts.length > 0;
  const wanted = argumentsOf(program.command);
  const command = program.tty ? ["script", "-q", "-e", "-c", wanted.map(shellQuote).join(" "), "/dev/null"] : wanted;
  const inner = [...dropTo(program.user, isolated), "/bin/sh", "-c", enter, "berth", program.workdir, ...command];
  if (!isolated) return inner;
  const unshare = program.user === undefined && process.getuid?.() !== 0 ? ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"] : ["unshare", "--mount"];
  return [...unshare, "--propagation", "private", "/bin/sh", join(program.dir, "mounts"), ...inner];
}

export function environmentScript(env: Readonly<Record<string, string>>): string {
  return Object.entries(env).filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)).map(([name, value]) => `export ${name}=${shellQuote(value.replaceAll("\0", ""))}\n`).join("");
}

/** Writes `env`, `mounts` and `run`. Called before every start, so that a changed machine (another tool, another interpreter) is noticed. */
export function writeProgram(program: Program): void {
  const write = (name: string, content: string): void => writeFileSync(join(program.dir, name), content, { mode: 0o600 });
  write("env", environmentScript(program.env));
  if (program.mounts.length > 0) {
    const staging = join(program.dir, "root");
    mkdirSync(staging, { recursive: true });
    write("mounts", mountScript({ staging, mounts: program.mounts, keep: program.keep }));
  }
  write("run", `${runPrologue(shellQuote(program.dir))}exec 3< "$dir/env"\ncd /\nexec ${chainOf(program).map(shellQuote).join(" ")}\n`);
}

/** Makes the three named pipes, unless they are there. The program's user owns its own two, so that it may open /dev/stdout again. */
export async function makePipes(dir: string, user: User | undefined): Promise<void> {
  await run("mkfifo", ["-m", "600", join(dir, "stdout"), join(dir, "stderr"), join(dir, "hold")], { env: { PATH: systemPath } });
  if (user !== undefined) for (const name of ["stdout", "stderr"]) chownSync(join(dir, name), user.uid, user.gid);
}
