// Reads a Procfile: process types and the lines that start them. Lines that cannot be read become warnings, never a failure.
import type { Command } from "@berth/contract/spec.ts";
import { commandOf } from "./command.ts";
import type { Notes } from "./draft.ts";
import type { Look } from "./source.ts";

export interface Procfile {
  readonly file: string;
  readonly processes: ReadonlyMap<string, Command>;
}

/** undefined when the folder has none, or none with a usable line. */
export function readProcfile(look: Look, notes: Notes): Procfile | undefined {
  const text = look.read("Procfile");
  if (text === undefined) return undefined;
  const file = look.label("Procfile");
  const lines = new Map<string, Command>();
  for (const [index, line] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const match = /^([A-Za-z0-9_-]{1,63})[ \t]*:(.*)$/.exec(line.trim());
    const [, name = "", rest = ""] = match ?? [];
    const command = rest.trim();
    if (command === "") {
      notes.warn("procfile_line_unreadable", { file, line: String(index + 1) });
      continue;
    }
    if (lines.has(name)) notes.warn("procfile_repeated", { file, process: name });
    lines.set(name, commandOf(command));
  }
  if (lines.has("release"))
    notes.found(file, "has a release line: it runs once for each release, before that goes live, and not during the build");
  return lines.size === 0 ? undefined : { file, processes: lines };
}
