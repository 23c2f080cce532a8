// Folder patterns as workspaces write them (`apps/*`, `packages/**`, `!**/test`). No pattern, however odd, may be slow.
import { joinPath } from "./source.ts";

/** Later globs that start with `!` take folders out again. */
export function matchesGlobs(folder: string, globs: readonly string[]): boolean {
  let matches = false;
  for (const glob of globs) {
    const negated = glob.startsWith("!");
    if (matchesSegments(folder.split("/"), joinPath(".", negated ? glob.slice(1) : glob).split("/"))) matches = !negated;
  }
  return matches;
}

/** Follows all places in the path that the glob may have reached, so that no pattern can be slow. */
function matchesSegments(path: readonly string[], glob: readonly string[]): boolean {
  let reached = new Set([0]);
  for (const segment of glob) {
    const next = new Set<number>();
    if (segment === "**") for (let index = Math.min(...reached); index <= path.length; index += 1) next.add(index);
    else for (const index of reached) if (index < path.length && matchesSegment(path[index] ?? "", segment, 3)) next.add(index + 1);
    if (next.size === 0) return false;
    reached = next;
  }
  return reached.has(path.length);
}

/** `*` and, a few times, `{a,b}` inside one path segment. */
function matchesSegment(name: string, pattern: string, choices: number): boolean {
  const choice = choices === 0 ? null : /^([^{}]*)\{([^{}]*)\}(.*)$/.exec(pattern);
  if (choice !== null)
    return (choice[2] ?? "")
      .split(",")
      .slice(0, 50)
      .some((item) => matchesSegment(name, `${choice[1] ?? ""}${item}${choice[3] ?? ""}`, choices - 1));
  const parts = pattern.split("*");
  if (parts.length === 1) return name === pattern;
  const [head = "", ...middle] = parts;
  const tail = middle.pop() ?? "";
  if (name.length < head.length + tail.length || !name.startsWith(head) || !name.endsWith(tail)) return false;
  let at = head.length;
  for (const part of middle) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - tail.length;
}
