// What the agent knows of the machine it works on, found out once at its start: whose user instances get, whether volumes can be mounted, which runtimes there are.
import type { Say } from "../complaints.ts";
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { Ref, Workload } from "../../engines/engine.ts";
import { findTool, sharedNode, standardPath, toolFolder } from "../../engines/local/tools.ts";
import { writeWhole } from "../../os/files.ts";
import { bootId } from "../../os/process.ts";
import type { AgentConfig } from "./config.ts";
import { environmentOf } from "./environment.ts";
import { errorText } from "./files.ts";
import { besideCommand, type Program } from "./launch.ts";
import { mountScript, refusedMounts, type Mount } from "./mounts.ts";
import { canSandbox, countsApart, systemPath } from "../../sandbox/bubblewrap.ts";
import { Cgroups } from "../../sandbox/cgroups.ts";
import { programFolders, tmpOf, type View } from "../../sandbox/view.ts";
import { mostProcesses } from "../../engines/workload.ts";
import { Groups } from "./groups.ts";
import { heard } from "./heard.ts";
import { Ports } from "./ports.ts";
import { ProcessTable } from "./procfs.ts";
import { shimScript } from "./shim.ts";
import { Stacks, VolumeGone } from "./stacks.ts";
import { installStatic } from "./static-install.ts";

export interface Machine {
  readonly home: string;
  readonly instancesDir: string;
  readonly tasksDir: string;
  readonly logsDir: string;
  readonly runtimeDir: string;
  /** Path of the shim's script. */
  readonly shim: string;
  readonly boot: string;
  readonly ownUsers: boolean;
  readonly mounting: boolean;
  /** Programs run behind bubblewrap. */
  readonly sandbox: boolean;
  /** Berth's own folders, which no program sees. */
  readonly hidden: readonly string[];
  /** Limits that hold for everything a program starts; undefined where this machine gives Berth none. */
  readonly groups: Groups | undefined;
  /** Whether each sandbox has its own count of processes, so that a limit of them holds without control groups. */
  readonly countsProcesses: boolean;
  readonly steadyAfter: number;
  readonly stacks: Stacks;
  readonly ports: Ports;
  readonly now: () => number;
  readonly random: () => number;
  /** Processes as they are now, at most 20 ms old. */
  readonly processes: () => ProcessTable;
  /** Resolves when what an instance wrote until now is in its log; false where no collector answers. */
  readonly heard: (ref: Ref, instance: string) => Promise<boolean>;
  readonly say: Say;
}

/** A start that cannot succeed, with the cause the user should see. */
export class StartRefused extends Error {
  readonly failure: Cause;
  constructor(failure: Cause) {
    super(failure.code);
    this.name = "StartRefused";
    this.failure = failure;
  }
}

export async function openMachine(config: AgentConfig, deps: Pick<Machine, "now" | "random" | "say">): Promise<Machine> {
  const root = process.getuid?.() === 0;
  const ownUsers = config.agent.isolation === "own-user" || (config.agent.isolation === "auto" && root);
  if (ownUsers && !root) throw new TypeError("agent config/agent/isolation: own-user needs root");
  const edge = join(config.home, "edge");
  const stacks = new Stacks(config.home, ownUsers ? config.agent.firstUid : undefined);
  const machineDirs = { instancesDir: join(edge, "instances"), tasksDir: join(edge, "tasks") };
  for (const folder of [edge, ...Object.values(machineDirs)]) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o700);
  }
  const runtimeDir = join(config.home, "runtime");
  installStatic(runtimeDir);
  const trial = ownUsers ? { uid: config.agent.firstUid, gid: config.agent.firstUid } : undefined;
  const sandbox = config.agent.sandbox === "auto" && (await canSandbox(edge, trial));
  const cgroups = config.agent.cgroups === "auto" ? Cgroups.open(config.home, "instances") : undefined;
  const shim = join(edge, "shim");
  writeWhole(shim, shimScript);
  let table = { at: Number.NEGATIVE_INFINITY, processes: new ProcessTable() };
  const processes = (): ProcessTable => {
    const at = deps.now();
    if (at - table.at > 20 || at < table.at) table = { at, processes: new ProcessTable() };
    return table.processes;
  };
  return {
    ...deps,
    ...machineDirs,
    home: config.home,
    logsDir: join(config.home, "logs"),
    runtimeDir,
    shim,
    boot: bootId(),
    ownUsers,
    stacks,
    sandbox,
    hidden: [config.home, config.runDir],
    groups: cgroups === undefined ? undefined : new Groups(cgroups),
    countsProcesses: sandbox && !root && (await countsApart(edge)),
    mounting: config.agent.volumes === "auto" && (sandbox || (await canMount(join(edge, "mount-try")))),
    steadyAfter: config.agent.steadyAfter,
    ports: new Ports(config.agent.ports, deps.random),
    processes,
    heard: (ref, instance) => heard(join(config.runDir, "logs.sock"), ref, instance),
  };
}

/** Tries the real thing, since each of kernel, container and security module may refuse it. */
async function canMount(folder: string): Promise<boolean> {
  const dirs = { staging: join(folder, "root"), source: join(folder, "volume") };
  try {
    for (const dir of Object.values(dirs)) mkdirSync(dir, { recursive: true });
    const target = "/berth-mount-try";
    writeWhole(
      join(folder, "mounts"),
      mountScript({ staging: dirs.staging, mounts: [{ source: dirs.source, target, readOnly: false }], keep: [] }),
    );
    writeWhole(join(folder, "env"), "");
    const [command = "", ...args] = besideCommand(
      {
        dir: folder,
        workdir: "/",
        command: { exec: ["/bin/sh", "-c", `true > ${target}/works`] },
        env: {},
        mounts: [{ source: dirs.source, target, readOnly: false }],
        keep: [],
        tty: false,
      },
      {},
    );
    await new Promise<void>((resolve, reject) => {
      execFile(command, args, { cwd: "/", env: { PATH: systemPath }, timeout: 10_000 }, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    return existsSync(join(dirs.source, "works"));
  } catch {
    // Any refusal means the same: volumes by variable only, which capabilities say.
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const releaseDir = (machine: Machine, stackId: string, digest: string): string =>
  join(machine.stacks.open(stackId).releases, digest.replace(/^sha256:/, ""));

export interface ProgramOf {
  readonly id: string;
  readonly dir: string;
  readonly workload: Workload;
  readonly command: Command;
  readonly ports: Readonly<Record<string, number>>;
  readonly tty: boolean;
}

/** Everything about a program but its start; makes volumes and folders that are missing. Throws StartRefused. */
export async function programOf(machine: Machine, of: ProgramOf, signal?: AbortSignal): Promise<Program> {
  const { workload } = of;
  const stack = machine.stacks.open(workload.stackId);
  const root = rootOf(machine, workload);
  const path: string[] = [];
  const shown: string[] = [machine.runtimeDir, ...programFolders(sharedNode(machine.runtimeDir))];
  for (const tool of workload.tools) {
    const answer = await findTool(
      tool.name,
      tool.wanted,
      { ...(stack.user === undefined ? {} : { runAs: stack.user }), path: [], runtimeDir: machine.runtimeDir },
      signal,
    );
    if ("failure" in answer) throw new StartRefused(answer.failure);
    path.push(toolFolder(machine.runtimeDir, answer.found));
    shown.push(...programFolders(answer.found.path));
  }
  const binds = workload.volumes.map((volume): Mount & { volume: string } => ({
    volume: volume.volume,
    source: volumeFolder(machine, workload.stackId, volume.volume),
    target: volume.path,
    readOnly: volume.readOnly === true,
  }));
  const mounts = machine.mounting ? binds : [];
  // Not the program's own folders only: a volume over Berth's home would hide what later steps of the start need.
  const keep = [machine.home, root];
  const refused = refusedMounts(mounts, keep);
  if (refused !== undefined) throw new StartRefused(cause("start_failed", { reason: refused }));
  const volumes = Object.fromEntries(binds.map((bind) => [bind.volume, machine.mounting ? bind.target : bind.source]));
  const at = (folder: string, readOnly: boolean): Mount => ({ source: folder, target: folder, readOnly });
  const tmp = machine.stacks.temporary(workload.stackId, of.id);
  const view: View | undefined = machine.sandbox
    ? {
        tmp,
        hidden: machine.hidden,
        binds: [...new Set(shown)]
          .map((folder) => at(folder, true))
          .concat(at(root, false), at(stack.home, false), machine.mounting ? mounts : binds.map((bind) => at(bind.source, bind.readOnly))),
      }
    : undefined;
  const env = environmentOf({
    workload,
    instance: of.id,
    ports: of.ports,
    root,
    home: stack.home,
    tmp: view === undefined ? tmp : tmpOf(view),
    volumes,
    path: [...path, join(machine.runtimeDir, "bin"), ...standardPath].join(":"),
  });
  const processLimit = processLimitOf(machine, workload);
  return {
    dir: of.dir,
    ...(stack.user === undefined ? {} : { user: stack.user }),
    workdir: join(root, workload.workdir),
    command: of.command,
    env,
    mounts,
    keep,
    tty: of.tty,
    ...(view === undefined ? {} : { view }),
    ...(processLimit === undefined ? {} : { processLimit }),
  };
}

function volumeFolder(machine: Machine, stackId: string, volume: string): string {
  try {
    return machine.stacks.volume(stackId, volume);
  } catch (error) {
    if (error instanceof VolumeGone)
      throw new StartRefused(cause("volume_missing", { volume, folder: error.folder }, [{ kind: "file", text: error.message }]));
    throw error;
  }
}

/** Where no control group limits processes: by sandbox where those count apart, else by stack and only against a flood that would take the machine down. */
function processLimitOf(machine: Machine, workload: Workload): number | undefined {
  if (machine.groups?.can.processes === true) return undefined;
  if (machine.countsProcesses) return workload.resources.processes ?? mostProcesses;
  return machine.ownUsers ? mostProcesses : undefined;
}

function rootOf(machine: Machine, workload: Workload): string {
  if (workload.artifact.kind === "image")
    throw new StartRefused(
      cause("image_needs_container_engine", { component: workload.ref.component, image: workload.artifact.reference }),
    );
  const root = releaseDir(machine, workload.stackId, workload.artifact.digest);
  try {
    readdirSync(root);
  } catch (error) {
    throw new StartRefused(cause("artifact_missing", { digest: workload.artifact.digest }, [{ kind: "file", text: errorText(error) }]));
  }
  const workdir = join(root, workload.workdir);
  if (workdir !== root && !workdir.startsWith(`${root}/`))
    throw new StartRefused(cause("start_failed", { reason: `the folder ${workload.workdir} lies outside the release` }));
  return root;
}
