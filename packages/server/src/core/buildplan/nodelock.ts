// Compares package.json with its lockfile, to say before the build that a strict install is going to refuse. It tells only what it is sure of.
import { dig, digTexts, isFields } from "./source.ts";
import { allDependencies, type Package } from "./nodepackage.ts";

/** What does not match, in a few words; undefined when nothing is known to be wrong. */
export function lockfileMismatch(lockfile: string, text: string, pkg: Package, siblings: ReadonlySet<string>): string | undefined {
  if (lockfile.endsWith(".json")) return npmMismatch(text, pkg);
  return dependencyMissing(lockfile, text, pkg, siblings);
}

/** npm keeps a copy of the manifest's dependencies in the lockfile (format 2 and 3). */
function npmMismatch(text: string, pkg: Package): string | undefined {
  let lock: unknown;
  try {
    lock = JSON.parse(text);
  } catch (error) {
    return `the lockfile is not valid JSON: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`;
  }
  const root = dig(lock, "packages", "");
  if (!isFields(root)) return undefined;
  for (const key of ["dependencies", "devDependencies", "optionalDependencies"] as const) {
    const locked = digTexts(root, key);
    for (const [name, range] of pkg[key]) {
      if (key === "dependencies" && pkg.optionalDependencies.has(name)) continue;
      if (locked.get(name) === undefined) return `${name} is missing`;
      if (locked.get(name) !== range) return `${name} is locked for ${locked.get(name) ?? ""}, not ${range}`;
    }
    for (const name of locked.keys()) if (!pkg[key].has(name)) return `${name} is no longer wanted`;
  }
  return undefined;
}

/** Whether every dependency occurs in the lockfile; catches what was added since, but not every changed range. Yarn 1 writes nothing about `siblings`, members of the same workspace. */
export function dependencyMissing(lockfile: string, text: string, pkg: Package, siblings: ReadonlySet<string>): string | undefined {
  if (lockfile.endsWith(".json")) return undefined;
  for (const [name, range] of allDependencies(pkg).slice(0, 500)) {
    if (siblings.has(name) || /^(?:workspace|link|file|portal|catalog|patch):/.test(range)) continue;
    if (!text.includes(lockfile === "yarn.lock" ? `${name}@` : name)) return `${name} is missing`;
  }
  return undefined;
}
