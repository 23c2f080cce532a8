// The environment of build steps: what the plan, the caches and the user say, and nothing of Berth's own. Pure.
import type { BuildPlan } from "@berth/contract/buildplan.ts";

export interface EnvironmentFacts {
  readonly plan: BuildPlan;
  /** The user's variables, as they are: nothing is expanded in them. */
  readonly userEnv: Readonly<Record<string, string>>;
  /** What every build on this machine needs to reach the network: proxies, mirrors, certificate files. */
  readonly passEnv: Readonly<Record<string, string>>;
  /** The plan's root as an absolute path. */
  readonly root: string;
  readonly homeDir: string;
  readonly tmpDir: string;
  /** Cache name -> absolute folder. */
  readonly caches: ReadonlyMap<string, string>;
  /** Folders of the tools that were found, in the plan's order. */
  readonly toolDirs: readonly string[];
  /** Where the system's own programs are. */
  readonly systemPath: string;
  readonly buildId: string;
}

/** Every process of a build carries it, so that none can be lost. */
export const markName = "BERTH_BUILD";

/** Later entries win; HOME, TMPDIR and the mark are Berth's, whatever anybody says. */
export function stepEnvironment(facts: EnvironmentFacts): Record<string, string> {
  const path = searchPath(facts.toolDirs, facts.systemPath);
  const own = { HOME: facts.homeDir, TMPDIR: facts.tmpDir, [markName]: facts.buildId };
  // SOURCE_DATE_EPOCH (reproducible-builds.org): compilers that write times into their results write this one; zip knows none before 1980.
  const env: Record<string, string> = {
    LANG: "C.UTF-8",
    CI: "1",
    SOURCE_DATE_EPOCH: "315532800",
    PYTHONUNBUFFERED: "1",
    ...facts.passEnv,
    PATH: path,
  };
  for (const cache of facts.plan.caches) {
    const folder = facts.caches.get(cache.name);
    if (folder === undefined) continue;
    for (const [name, value] of Object.entries(cache.env)) env[name] = expand(value, { CACHE: folder, ROOT: facts.root, PATH: path });
  }
  for (const [name, value] of Object.entries(facts.plan.env)) env[name] = expand(value, { ROOT: facts.root, PATH: path });
  return { ...env, ...facts.userEnv, ...own };
}

/** Folders of found tools first; one that the system searches anyway keeps its place there, so that `/usr/bin` never hides a newer tool. */
function searchPath(toolDirs: readonly string[], systemPath: string): string {
  const system = systemPath.split(":").filter((folder) => folder !== "");
  return [
    ...new Set([
      ...toolDirs.filter((folder) => !system.includes(folder)),
      ...toolDirs.filter((folder) => system.includes(folder)),
      ...system,
    ]),
  ].join(":");
}

function expand(value: string, known: Readonly<Record<string, string>>): string {
  return value.replace(/\$(ROOT|PATH|CACHE)\b/g, (whole, name: string) => known[name] ?? whole);
}
