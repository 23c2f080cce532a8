// Version managers put a program of their own on PATH that looks up which version is meant, in settings of the caller's home and of the folder it is called
// in. A build and an instance have neither, so the versions themselves stand in for it.
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import semver from "semver";

export interface Programs {
  /** What this name means on this machine. */
  readonly chosen: readonly string[];
  /** Versions that are installed beside it, the newest first: for a project that asks for one of them. */
  readonly others: readonly string[];
}

/** The programs that stand behind this one; itself, when no version manager made it. Some of them may not be there. */
export function behindShim(path: string): Programs {
  try {
    const real = realpathSync(path);
    // rustup: `~/.cargo/bin/cargo` is a link to itself.
    if (basename(real) === "rustup") {
      const toolchains = join(dirname(dirname(dirname(real))), ".rustup", "toolchains");
      const found = choose(path, versionsIn(toolchains, 1), (version) => version.startsWith("stable"));
      return { chosen: [...found.chosen, ...found.others], others: [] };
    }
    // Volta: a link to one program for all names.
    if (basename(real) === "volta-shim") {
      const images = join(dirname(dirname(path)), "tools", "image");
      return choose(path, versionsIn(images, 2), () => true);
    }
    if (basename(dirname(path)) !== "shims") return { chosen: [path], others: [] };
    const root = dirname(dirname(path));
    // pyenv, rbenv, nodenv, goenv, phpenv and jenv; asdf and mise.
    const one = versionsIn(join(root, "versions"), 1);
    const wanted = new Set(one.length > 0 ? wordsOf(join(root, "version")) : wordsOf(join(dirname(root), ".tool-versions")));
    const found = choose(path, [...one, ...versionsIn(join(root, "installs"), 2)], (version) => wanted.has(version));
    // Without a word of its owner the newest is meant; "system" says that none of them is.
    return found.chosen.length > 0 || wanted.has("system") ? found : { chosen: found.others, others: [] };
  } catch {
    // A dangling link: the program itself shows whether it works.
    return { chosen: [path], others: [] };
  }
}

/** Folders of versions, `depth` levels below this one, the newest first; none when it is not there. */
function versionsIn(folder: string, depth: number): string[] {
  if (depth === 0) return [folder];
  try {
    return readdirSync(folder)
      .flatMap((name) => versionsIn(join(folder, name), depth - 1))
      .sort((a, b) => semver.rcompare(numberOf(a), numberOf(b)) || b.localeCompare(a));
  } catch {
    return [];
  }
}

const numberOf = (folder: string): semver.SemVer => semver.coerce(basename(folder)) ?? new semver.SemVer("0.0.0");

/** The program of each version; itself where versions are kept elsewhere, or out of reach: it shows whether it works. */
function choose(path: string, folders: readonly string[], isChosen: (version: string) => boolean): Programs {
  if (folders.length === 0) return { chosen: [path], others: [] };
  const program = (folder: string): string => join(folder, "bin", basename(path));
  return {
    chosen: folders.filter((folder) => isChosen(basename(folder))).map(program),
    others: folders.filter((folder) => !isChosen(basename(folder))).map(program),
  };
}

/** What a version manager's owner wrote down, comments left out; nothing when there is no such file. */
function wordsOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8")
      .replaceAll(/#.*/g, "")
      .split(/[\s:]+/)
      .filter((word) => word !== "");
  } catch {
    return [];
  }
}
