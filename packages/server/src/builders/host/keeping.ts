// What a build may see and use of this machine: its own folders, its stack's caches, its tools, and its share of memory and processes.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import { times } from "../../core/words.ts";
import type { Cgroups, Group } from "../../sandbox/cgroups.ts";
import { pathFolders, programFolders, type View } from "../../sandbox/view.ts";
import type { BuildPlace } from "./place.ts";

export interface BuildKeeping {
  /** Folders that no build sees: Berth's home and its run folder. */
  readonly hidden: readonly string[];
  readonly groups: Cgroups | undefined;
  /** Bytes that all processes of a build may use together; undefined = no limit. */
  readonly memory: number | undefined;
}

/** Processes and threads of one build: enough for a compiler on every core, too few to fill the machine's table. */
export const buildProcesses = 4096;

export interface ViewFacts {
  readonly place: BuildPlace;
  readonly hidden: readonly string[];
  readonly caches: ReadonlyMap<string, string>;
  /** Folders with links to the tools that were found. */
  readonly toolDirs: readonly string[];
  /** PATH of the system's own programs. */
  readonly systemPath: string;
  /** Settings of the network, whose values may name files of certificates. */
  readonly passEnv: Readonly<Record<string, string>>;
}

export function buildView({ place, hidden, caches, toolDirs, systemPath, passEnv }: ViewFacts): View {
  const own = [place.workDir, place.homeDir, place.tmpDir, ...caches.values()];
  const tools = toolDirs.flatMap((dir) => [dir, ...readdirSync(dir).flatMap((name) => programFolders(join(dir, name)))]);
  const files = Object.values(passEnv).filter((value) => value.startsWith("/") && existsSync(value));
  const shown = [...tools, ...pathFolders(systemPath.split(":")), ...files].filter(
    (path) => existsSync(path) && !hidden.some((folder) => folder === path || folder.startsWith(`${path}/`)),
  );
  return {
    tmp: place.tmpDir,
    hidden,
    binds: [...new Set(shown)]
      .map((path) => ({ source: path, target: path, readOnly: true }))
      .concat(own.map((path) => ({ source: path, target: path, readOnly: false }))),
  };
}

export function beginGroup({ groups, memory }: BuildKeeping, id: string): Group | undefined {
  return groups?.make(id, { ...(groups.can.processes ? { processes: buildProcesses } : {}), ...(memory === undefined ? {} : { memory }) });
}

/** Removes the groups of builds that are not running. What the kernel still clears up is removed by the next call. */
export function endGroups({ groups }: BuildKeeping, running: ReadonlySet<string>): void {
  for (const id of groups?.list() ?? []) if (!running.has(id)) groups?.group(id).remove();
}

/** A limit that a failed step met, as the kernel counted it. */
export function limitCause(
  keeping: BuildKeeping,
  group: Group | undefined,
  step: string,
  evidence: readonly Evidence[],
): Cause | undefined {
  const trouble = group?.trouble();
  if (trouble === undefined) return undefined;
  if (trouble.memoryKills > 0 && keeping.memory !== undefined) {
    const used = trouble.memoryPeak === undefined ? "" : `; ${mebibytes(trouble.memoryPeak)} were in use at its peak`;
    return cause(
      "build_out_of_memory",
      { step, limit: mebibytes(keeping.memory) },
      [{ kind: "event", text: `the kernel ended ${String(trouble.memoryKills)} of the build's processes${used}` }, ...evidence].slice(
        0,
        50,
      ) as Evidence[],
    );
  }
  if (trouble.processesRefused === 0) return undefined;
  return cause(
    "build_process_limit",
    { step, limit: `${String(buildProcesses)} processes and threads` },
    [{ kind: "event", text: `the kernel refused to start a process or thread ${times(trouble.processesRefused)}` }, ...evidence].slice(
      0,
      50,
    ) as Evidence[],
  );
}

const mebibytes = (bytes: number): string =>
  bytes >= 2 * 1024 ** 3 ? `${String(Number((bytes / 1024 ** 3).toFixed(1)))} GiB` : `${String(Math.round(bytes / 1024 ** 2))} MiB`;
