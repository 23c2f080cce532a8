// What base images get from this machine's Berth instead of Debian: the Node.js that runs it, and npm, through npm itself.
import { copyFile, chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OwnProgram } from "../../core/image/bases.ts";
import type { Packages } from "../../core/image/packages.ts";
import { confined, run, type Running } from "./programs.ts";

export interface OwnPrograms {
  /** The executable, and its version without a leading `v`. */
  readonly node: { readonly path: string; readonly version: string };
  /** The command, and the range of versions that belongs to this Node.js. */
  readonly npm: { readonly command: string; readonly range: string };
}

/** Puts them below /usr/local. Answers with the versions that were put. Throws ProgramFailed with npm's last words. */
export async function putOwnPrograms(
  own: OwnPrograms,
  wanted: readonly OwnProgram[],
  root: string,
  scratch: string,
  running: Running,
): Promise<Packages> {
  const put: Record<string, string> = {};
  const local = join(root, "usr/local");
  if (wanted.includes("node")) {
    await mkdir(join(local, "bin"), { recursive: true });
    await copyFile(own.node.path, join(local, "bin/node"));
    await chmod(join(local, "bin/node"), 0o755);
    put["node"] = own.node.version;
  }
  if (wanted.includes("npm")) {
    const options = ["--global", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"];
    await run(
      confined([own.npm.command, "install", ...options, "--prefix", local, "--cache", join(scratch, "npm"), `npm@${own.npm.range}`]),
      { ...running, name: "npm install npm" },
    );
    const about = JSON.parse(await readFile(join(local, "lib/node_modules/npm/package.json"), "utf8")) as { readonly version: string };
    put["npm"] = about.version;
  }
  return put;
}
