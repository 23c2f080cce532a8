// Which Java a project asks for: the pins of version switchers first, then what its build file says.
import type { BuildTool } from "@berth/contract/buildplan.ts";
import type { Notes } from "./draft.ts";
import { rangeOfPin } from "./ranges.ts";
import type { Look } from "./source.ts";
import { chooseVersion, saidByFile, saidBySwitchers, type VersionSaid } from "./versions.ts";

/** A compiler release: any newer JDK can compile for it. `1.8` is 8. */
export function atLeast(says: string): string | undefined {
  const major = /^(?:1\.)?(\d{1,3})(?:[._].*)?$/.exec(says.trim())?.[1];
  return major === undefined ? undefined : `>=${major}`;
}

/** `said` is what the build file says; it comes after the pins. */
export function javaTool(look: Look, said: readonly VersionSaid[], notes: Notes): BuildTool {
  const properties = /^[ \t]*java\.runtime\.version[ \t]*[=:][ \t]*(\S+)/m.exec(look.read("system.properties") ?? "")?.[1];
  const heroku: VersionSaid[] =
    properties === undefined
      ? []
      : [{ file: look.label("system.properties"), says: properties, wanted: rangeOfPin(properties.replace(/^1\./, ""), "major") }];
  const pins = [...saidByFile(look, [".java-version"], "major"), ...heroku, ...saidBySwitchers(look, ["java"], "major", notes)];
  return { name: "java", ...chooseVersion("java", [...pins, ...said], notes), phase: "both" };
}
