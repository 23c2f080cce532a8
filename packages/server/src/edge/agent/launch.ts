// Makes the files from which a program starts: its environment, its mounts and the chain of commands that ends in it.
// Order is a security promise: everything a tenant may write (environment, command, folder) is used only after the change to the tenant's user.
import { execFile } from "node:child_process";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { argumentsOf } from "../../core/command.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { ProcessIdentity } from "../../os/process.ts";
import { bubblewrap, dropInside, joinSandbox, systemPath, type User } from "../../sandbox/bubblewrap.ts";
import { enterGroups, type Group } from "../../sandbox/cgroups.ts";
import { viewArguments, type View } from "../../sandbox/view.ts";
import { shellQuote } from "./files.ts";
import { mountScript } from "./mounts.ts";
import { runPrologue } from "./shim.ts";

const run = promisify(execFile);

export interface Program {
  /** Folder of the instance or task: pipes, exit status, scripts. Only Berth's user enters it. */
  readonly dir: string;
  /** Absent: Berth's own user. */
  readonly user?: User;
  /** Absolute folder in which the program starts. */
  readonly workdir: string;
  readonly command: Command;
  readonly env: Readonly<Record<string, string>>;
  /** Present: it runs in a sandbox that shows this and nothing else. */
  readonly view?: View;
  /** Binds to make in a mount namespace where there is no sandbox; empty = none needed. */
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
  /** Paths below which nothing may be mounted, since the program would lose itself. */
  readonly keep: readonly string[];
  readonly tty: boolean;
  /** The most processes and threads of its user (in its sandbox), where no control group limits them. */
  readonly processLimit?: number;
}

/** Arguments of a stack's user, as a part of commands and file ownership. */
export const ownedBy = (user: User | undefined): { readonly uid?: number; readonly gid?: number } =>
  user === undefined ? {} : { uid: user.uid, gid: user.gid };

/**
 * Runs as the tenant's user: takes over the environment, enters the folder, becomes the program without any descriptor of Berth's. 126 is a shell's code for
 * "found, but cannot run".
 */
const enter = `eval "$(/bin/cat <&3)"; umask 027; cd "$1" || exit 126; shift; exec "$@" 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-`;

/**
 * The first process of a sandbox. The program is its child, since a first process is not ended by its own signals. Its own stderr is file descriptor 6, so that
 * the shell's word about a signal tells an end by one; then which processes the program left behind, which end with the sandbox, and its exit code.
 */
const firstProcess = `exec 7>&2 2>&6
"$@"
code=$?
for one in /proc/[0-9]*; do
  [ "$one" != /proc/1 ] && { read -r stat < "$one/stat"; } 2>/dev/null || continue
  case $stat in *") Z "* | *") X "*) ;; *) name=\${stat#*\\(}; printf 'left %s\\n' "\${name%\\)*}" >&6 ;; esac
done
printf 'code %s\\n' "$code" >&6
exit "$code"`;

function entering(program: Program, prologue = ""): readonly string[] {
  const wanted = argumentsOf(program.command);
  const command = program.tty ? ["script", "-q", "-e", "-c", `exec ${wanted.map(shellQuote).join(" ")}`, "/dev/null"] : wanted;
  const limit = program.processLimit === undefined ? [] : ["prlimit", `--nproc=${program.processLimit}`, "--"];
  return [...limit, "/bin/sh", "-c", `${prologue}${enter}`, "berth", program.workdir, ...command];
}

/** Outside of a sandbox: setpriv of util-linux, where there is anything to give up. */
function dropTo(user: User | undefined, isolated: boolean): readonly string[] {
  if (user !== undefined) return dropInside(user);
  // In its own user namespace the shell holds all capabilities over that namespace; the program holds none.
  return isolated ? ["setpriv", "--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all", "--"] : [];
}

/** The commands before the program, to be exec'ed in one chain, and the program itself, without a sandbox. File descriptor 3 is the environment file. */
function plainChain(program: Program): readonly string[] {
  const isolated = program.mounts.length > 0;
  const inner = [...dropTo(program.user, isolated), ...entering(program)];
  if (!isolated) return inner;
  const unshare =
    program.user === undefined && process.getuid?.() !== 0
      ? ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
      : ["unshare", "--mount"];
  return [...unshare, "--propagation", "private", "/bin/sh", join(program.dir, "mounts"), ...inner];
}

/** The chain of a run: descriptors 3 to 6 are the environment, bubblewrap's report, its arguments and the first process's last words. */
export function chainOf(program: Program): readonly string[] {
  if (program.view === undefined) return plainChain(program);
  const options = ["--as-pid-1", "--new-session", "--info-fd", "4", "--args", "5", "--"];
  return [...bubblewrap(options), "/bin/sh", "-c", firstProcess, "berth", ...dropInside(program.user), ...entering(program, "exec 2>&7; ")];
}

/** What a command beside a program joins: the first process of its sandbox, if it has one now, and its control groups. */
export interface Beside {
  readonly sandbox?: ProcessIdentity;
  readonly group?: Group;
}

/** The command that runs a program beside another: where that one runs, or, when it does not run now, as if it did. Ended with the process that is started here. */
export function besideCommand(program: Program, beside: Beside): string[] {
  const inside = [...dropInside(program.user), ...entering(program)];
  const chain =
    program.view === undefined
      ? plainChain(program)
      : beside.sandbox === undefined
        ? [...bubblewrap(["--die-with-parent", ...viewArguments(program.view), "--"]), ...inside]
        : [...joinSandbox(beside.sandbox), ...inside];
  return [
    "/bin/sh",
    "-c",
    `${enterGroups(beside.group?.entrances ?? [])}exec 3< ${shellQuote(join(program.dir, "env"))}; exec "$@"`,
    "berth",
    ...chain,
  ];
}

export function environmentScript(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    .map(([name, value]) => `export ${name}=${shellQuote(value.replaceAll("\0", ""))}\n`)
    .join("");
}

/** Writes `env`, `view` or `mounts`, and `run`. Called before every start, so that a changed machine (another tool, another interpreter) is noticed. */
export function writeProgram(program: Program, group: Group | undefined): void {
  const write = (name: string, content: string): void => writeFileSync(join(program.dir, name), content, { mode: 0o600 });
  write("env", environmentScript(program.env));
  const { view } = program;
  if (view !== undefined)
    write(
      "view",
      viewArguments({ ...view, binds: [...view.binds, ...(group?.folders ?? []).map((one) => ({ ...one, readOnly: true }))] })
        .map((one) => `${one}\0`)
        .join(""),
    );
  else if (program.mounts.length > 0) {
    const staging = join(program.dir, "root");
    mkdirSync(staging, { recursive: true });
    write("mounts", mountScript({ staging, mounts: program.mounts, keep: program.keep }));
  }
  const files = view === undefined ? "" : ' 4> "$dir/info-$1" 5< "$dir/view" 6> "$dir/ended-$1"';
  write(
    "run",
    `${runPrologue(shellQuote(program.dir))}${enterGroups(group?.entrances ?? [])}exec 3< "$dir/env"${files}\ncd /\numask 022\nexec ${chainOf(program).map(shellQuote).join(" ")}\n`,
  );
}

/** Makes the three named pipes, unless they are there. The program's user owns its own two, so that it may open /dev/stdout again. */
export async function makePipes(dir: string, user: User | undefined): Promise<void> {
  await run("mkfifo", ["-m", "600", join(dir, "stdout"), join(dir, "stderr"), join(dir, "hold")], { env: { PATH: systemPath } });
  if (user !== undefined) for (const name of ["stdout", "stderr"]) chownSync(join(dir, name), user.uid, user.gid);
}
