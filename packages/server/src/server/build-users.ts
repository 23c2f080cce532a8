// Which user a stack's builds run as when Berth is root: one for each stack, used by nothing else and never given again, so that ending all its processes ends only a build.
import { existsSync, readFileSync } from "node:fs";
import { writeWhole } from "../os/files.ts";
import type { RunAs } from "../builders/builder.ts";

/** Uids of builds; instances have a range of their own below it. */
const first = 400_000;
/** The user that git runs as. */
export const gitUser: RunAs = { uid: 399_999, gid: 399_999 };

export function createBuildUsers(file: string, isRoot: boolean): (stackId: string) => RunAs | undefined {
  if (!isRoot) return () => undefined;
  const given = new Map<string, number>(
    existsSync(file) ? Object.entries(JSON.parse(readFileSync(file, "utf8")) as Record<string, number>) : [],
  );
  return (stackId) => {
    const known = given.get(stackId);
    const uid = known ?? first + given.size;
    if (known === undefined) {
      given.set(stackId, uid);
      writeWhole(file, JSON.stringify(Object.fromEntries(given)));
    }
    return { uid, gid: uid };
  };
}
