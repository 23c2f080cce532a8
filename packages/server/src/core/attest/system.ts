// What the files of an image's package manager say is installed. Pure.
// deb822 paragraphs: dpkg(1); apk's own: https://wiki.alpinelinux.org/wiki/Apk_spec; os-release(5)
import type { OperatingSystem, SoftwarePackage } from "./package.ts";

/** Of a dpkg status file; `distroless`: of one of the files that images without dpkg keep for each package, which name no state. */
export function dpkgPackages(text: string, from: string, distroless = false): SoftwarePackage[] {
  return text.split(/\n{2,}/).flatMap((paragraph) => {
    const field = fields(paragraph, /^([A-Za-z-]+): *(.*)$/);
    const [name, version, architecture] = [field.get("Package"), field.get("Version"), field.get("Architecture")];
    if (name === undefined || version === undefined || (!distroless && field.get("Status") !== "install ok installed")) return [];
    return [{ ecosystem: "deb" as const, name, version, from, ...(architecture === undefined ? {} : { architecture }) }];
  });
}

export function apkPackages(text: string, from: string): SoftwarePackage[] {
  return text.split(/\n{2,}/).flatMap((paragraph) => {
    const field = fields(paragraph, /^([A-Za-z]):(.*)$/);
    const [name, version, architecture] = [field.get("P"), field.get("V"), field.get("A")];
    if (name === undefined || version === undefined) return [];
    return [{ ecosystem: "apk" as const, name, version, from, ...(architecture === undefined ? {} : { architecture }) }];
  });
}

/** undefined when the text names none. */
export function readOsRelease(text: string): OperatingSystem | undefined {
  const field = fields(text, /^([A-Z_]+)=(.*)$/);
  const of = (name: string): string | undefined => field.get(name)?.replace(/^(["'])(.*)\1$/, "$2");
  const id = of("ID");
  if (id === undefined || id === "") return undefined;
  const version = of("VERSION_ID") ?? of("VERSION_CODENAME") ?? "";
  return { id, version, pretty: of("PRETTY_NAME") ?? `${id} ${version}`.trim() };
}

/** Images of runtimes that their makers publish name the version in their environment. `env`: `NAME=value`. */
export function runtimePackages(env: readonly string[]): SoftwarePackage[] {
  return env.flatMap((entry) => {
    const [, variable = "", version = ""] = /^([A-Z]+)_VERSION=v?(\d[\w.+-]*)$/.exec(entry) ?? [];
    const name = runtimes[variable];
    return name === undefined ? [] : [{ ecosystem: "generic" as const, name, version, from: `${variable}_VERSION of the image` }];
  });
}
const runtimes: Readonly<Record<string, string>> = {
  NODE: "node",
  PYTHON: "python",
  GOLANG: "go",
  RUBY: "ruby",
  PHP: "php",
  JAVA: "openjdk",
  RUST: "rust",
};

/** The first value of each. */
function fields(text: string, pattern: RegExp): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, name = "", value = ""] = pattern.exec(line) ?? [];
    if (name !== "" && !found.has(name)) found.set(name, value.trim());
  }
  return found;
}
