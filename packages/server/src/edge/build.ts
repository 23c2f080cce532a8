// Tells two builds of the edge apart, also when they have the same version: by the content of its programs.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** `entry`: path of the edge's entry file, bundled or source. In a checkout only the entry itself is looked at. */
export function edgeBuild(entry: string): string {
  const folder = dirname(entry);
  const names = entry.endsWith(".ts")
    ? [basename(entry)]
    : readdirSync(folder)
        .filter((name) => /^(edge(-[a-z]+)?|berth-static)\.js$/.test(name))
        .sort();
  const hash = createHash("sha256");
  for (const name of names) hash.update(`${name}\0`).update(readFileSync(join(folder, name)));
  return hash.digest("hex").slice(0, 16);
}
