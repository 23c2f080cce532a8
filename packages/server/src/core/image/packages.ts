// What a Debian root file system holds, as names and versions, and what became different between two of them. Pure.
import { contentHash } from "../canonical.ts";

/** Version by package name. */
export type Packages = Readonly<Record<string, string>>;

export interface PackageChanges {
  readonly added: readonly { readonly name: string; readonly version: string }[];
  readonly removed: readonly { readonly name: string; readonly version: string }[];
  readonly changed: readonly { readonly name: string; readonly from: string; readonly to: string }[];
}

/** The installed packages of a dpkg status file (deb822 paragraphs, dpkg(1)). What was removed and left its settings behind is not among them. */
export function readPackages(status: string): Packages {
  const found: [string, string][] = [];
  for (const paragraph of status.split(/\n{2,}/)) {
    const field = (name: string): string | undefined => new RegExp(`^${name}: *(.*)$`, "m").exec(paragraph)?.[1]?.trim();
    const name = field("Package");
    const version = field("Version");
    if (name !== undefined && version !== undefined && field("Status") === "install ok installed") found.push([name, version]);
  }
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** In the order of their names. */
export function comparePackages(before: Packages, after: Packages): PackageChanges {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const changes = { added: [], removed: [], changed: [] } as {
    added: { name: string; version: string }[];
    removed: { name: string; version: string }[];
    changed: { name: string; from: string; to: string }[];
  };
  for (const name of names) {
    const [from, to] = [before[name], after[name]];
    if (from === to) continue;
    if (from === undefined && to !== undefined) changes.added.push({ name, version: to });
    else if (to === undefined && from !== undefined) changes.removed.push({ name, version: from });
    else if (from !== undefined && to !== undefined) changes.changed.push({ name, from, to });
  }
  return changes;
}

/** The same for the same packages in the same versions, wherever they were installed. */
export function packagesDigest(packages: Packages): string {
  return contentHash(packages);
}
