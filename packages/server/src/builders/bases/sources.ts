// Where Debian packages come from: this machine's own apt sources. No mirror is named anywhere in Berth.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { debianSources, readAptSources, type AptSource } from "../../core/image/aptsources.ts";

export interface DebianSources {
  /** `bookworm` */
  readonly suite: string;
  /** Of the release itself, for debootstrap. */
  readonly mirror: string;
  readonly sources: readonly AptSource[];
}

/** Those of this machine; undefined when it is no Debian, or its sources do not name the release that it has. `root`: another one's. */
export function machineSources(root = "/"): DebianSources | undefined {
  const suite = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(textOf(join(root, "etc/os-release")))?.[1];
  if (suite === undefined) return undefined;
  const folder = join(root, "etc/apt/sources.list.d");
  const all = [
    ...readAptSources(textOf(join(root, "etc/apt/sources.list")), "list"),
    ...namesIn(folder).flatMap((name) => {
      if (name.endsWith(".list")) return readAptSources(textOf(join(folder, name)), "list");
      return name.endsWith(".sources") ? readAptSources(textOf(join(folder, name)), "deb822") : [];
    }),
  ];
  return chosenSources(all, suite);
}

/** The same from a file of the operator's; its format is told by its name, as apt does. */
export function fileSources(path: string, suite: string): DebianSources | undefined {
  return chosenSources(readAptSources(readFileSync(path, "utf8"), path.endsWith(".sources") ? "deb822" : "list"), suite);
}

function chosenSources(all: readonly AptSource[], suite: string): DebianSources | undefined {
  const sources = debianSources(all, suite);
  const mirror = sources.find((source) => source.suite === suite)?.uri;
  return mirror === undefined ? undefined : { suite, mirror, sources };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return absent(error, "");
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    return absent(error, []);
  }
}

function absent<T>(error: unknown, instead: T): T {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return instead;
  throw error;
}

/** The suite and mirror that this machine's own packages come from; undefined when they are not Debian's. */
export function machineMirror(): { readonly suite: string; readonly mirror: string } | undefined {
  const found = machineSources();
  return found === undefined ? undefined : { suite: found.suite, mirror: found.mirror };
}
