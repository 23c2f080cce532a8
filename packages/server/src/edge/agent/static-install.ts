// Puts `berth-static` where every instance finds it on its PATH: a wrapper that runs the file server with Berth's own Node.js.
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openFolder, sharedNode } from "../../engines/local/tools.ts";
import { writeWhole } from "../../os/files.ts";
import { readIfThere, shellQuote } from "./files.ts";

/** The server's source: beside this module in the repository, beside the bundle in the built product. */
function source(): string {
  const candidates = ["./berth-static.js", "./static/berth-static.ts"].map((name) => fileURLToPath(new URL(name, import.meta.url)));
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`berth-static is not in the installation: ${candidates.join(", ")}`);
  return found;
}

/** The same as plain JavaScript, for images: they have a Node.js of their own, which may be older. */
export async function staticServerText(): Promise<string> {
  const from = source();
  const text = await readFile(from, "utf8");
  return from.endsWith(".ts") ? stripTypeScriptTypes(text) : text;
}

/** Idempotent; the files are readable by every user. */
export function installStatic(runtimeDir: string): void {
  const bin = openFolder(join(openFolder(runtimeDir), "bin"));
  const lib = openFolder(join(runtimeDir, "lib"));
  const from = source();
  const script = join(lib, from.endsWith(".ts") ? "berth-static.ts" : "berth-static.mjs");
  const text = readFileSync(from, "utf8");
  if (readIfThere(script) !== text) writeWhole(script, text, { mode: 0o644 });
  chmodSync(script, 0o644);
  const wrapper = `#!/bin/sh\nexec ${shellQuote(sharedNode(runtimeDir))} ${shellQuote(script)} "$@"\n`;
  const program = join(bin, "berth-static");
  if (readIfThere(program) !== wrapper) writeWhole(program, wrapper, { mode: 0o755 });
  chmodSync(program, 0o755);
}
