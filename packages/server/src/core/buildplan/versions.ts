// Which version of a tool a project asks for: collects what its files say, takes the first that can be understood, and tells about the others.
import { rangeOfNpm, rangeOfPin, disjoint, type Line } from "./ranges.ts";
import type { Notes } from "./draft.ts";
import { baseOf, dig, foldersUp, joinPath, nearest, readToml, type Look } from "./source.ts";

/** What one file says about a tool, in its own words and as a semver range (undefined: not understood). */
export interface VersionSaid {
  readonly file: string;
  readonly says: string;
  readonly wanted: string | undefined;
}

export interface VersionChosen {
  readonly wanted: string;
  readonly why: string;
}

/** Takes the first (in order of precedence) that can be understood; `*` when there is none. */
export function chooseVersion(tool: string, all: readonly VersionSaid[], notes: Notes): VersionChosen {
  const said = all.map((item) => ({ ...item, says: item.says.slice(0, 100) }));
  for (const item of said) if (item.wanted === undefined) notes.warn("version_unreadable", { file: item.file, tool, says: item.says });
  const usable = said.filter((item): item is VersionSaid & { wanted: string } => item.wanted !== undefined);
  const chosen = usable[0];
  if (chosen === undefined) return { wanted: "*", why: "no file asks for a version" };
  notes.found(chosen.file, `asks for ${tool} ${chosen.says}${chosen.says === chosen.wanted ? "" : ` (any ${chosen.wanted} will do)`}`);
  for (const other of usable.slice(1)) {
    if (disjoint(chosen.wanted, other.wanted))
      notes.warn("versions_disagree", { file: other.file, tool, says: other.says, chosenFile: chosen.file, chosen: chosen.says });
    else notes.found(other.file, `asks for ${tool} ${other.says} too; ${baseOf(chosen.file)} comes first`);
  }
  return { wanted: chosen.wanted, why: `${chosen.file} says ${chosen.says}` };
}

/** The files of version switchers that hold one version in one line, nearest folder first (`.nvmrc`, `.python-version`, ...). */
export function saidByFile(look: Look, names: readonly string[], line: Line): VersionSaid[] {
  return names.flatMap((name) => {
    const found = nearest(look, name);
    const says = found?.text
      .split("\n")
      .map((item) =>
        item
          .replace(/#.*/, "")
          .trim()
          .replace(/^(?:python|ruby)-(?=\d)/, ""),
      )
      .find((item) => item !== "");
    return found === undefined || says === undefined
      ? []
      : [{ file: found.file, says, wanted: rangeOfPin(says, line) ?? rangeOfNpm(says) }];
  });
}

/** What `.tool-versions` (asdf) and `mise.toml` say about a tool under any of its names there. */
export function saidBySwitchers(look: Look, names: readonly string[], line: Line, notes: Notes): VersionSaid[] {
  return [...saidByAsdf(look, names, line), ...saidByMise(look, names, line, notes)];
}

function saidByAsdf(look: Look, names: readonly string[], line: Line): VersionSaid[] {
  for (const folder of foldersUp(look.root)) {
    for (const entry of (look.at(folder).read(".tool-versions") ?? "").split("\n")) {
      const [name = "", version] = entry.replace(/#.*/, "").trim().split(/\s+/);
      if (names.includes(name) && version !== undefined) return [pinned(joinPath(folder, ".tool-versions"), version, line)];
    }
  }
  return [];
}

function saidByMise(look: Look, names: readonly string[], line: Line, notes: Notes): VersionSaid[] {
  for (const folder of foldersUp(look.root)) {
    for (const file of ["mise.toml", ".mise.toml", ".config/mise.toml"]) {
      const parsed = readToml(look.at(folder), file);
      if (parsed === undefined) continue;
      if (!parsed.ok) {
        notes.warn("file_unreadable", { file: joinPath(folder, file), reason: parsed.reason });
        continue;
      }
      for (const name of names) {
        const version = versionIn(dig(parsed.value, "tools", name));
        if (version !== undefined) return [pinned(joinPath(folder, file), version, line)];
      }
    }
  }
  return [];
}

/** mise takes `"20"`, `["20", "22"]` and `{ version = "20" }`. */
function versionIn(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return versionIn(value[0]);
  const inner = dig(value, "version");
  return typeof inner === "string" ? inner : undefined;
}

function pinned(file: string, version: string, line: Line): VersionSaid {
  return { file, says: version, wanted: rangeOfPin(version, line) ?? rangeOfNpm(version) };
}
