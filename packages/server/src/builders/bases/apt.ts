// Installs Debian packages in a root file system with this machine's own apt: its proxies, certificates and keys count, and nothing of them gets into the image.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeAptSources, type AptSource } from "../../core/image/aptsources.ts";
import { readPackages, type Packages } from "../../core/image/packages.ts";
import { confined, run, type Running } from "./programs.ts";

export interface Apt {
  /** Installs these packages and brings all others to their newest version. Throws ProgramFailed. */
  install(root: string, packages: readonly string[]): Promise<void>;
}

/** `folder` keeps the lists of packages, which are fetched once. Throws ProgramFailed. */
export async function openApt(folder: string, sources: readonly AptSource[], running: Running): Promise<Apt> {
  const lists = join(folder, "lists");
  const list = join(folder, "berth.sources");
  await mkdir(join(lists, "partial"), { recursive: true });
  // apt unpacks a mirror on this machine from where it lies, which nobody sees from within the root.
  await writeFile(list, writeAptSources(sources.map((source) => ({ ...source, uri: source.uri.replace(/^file:/, "copy:") }))));
  const common = [
    ["Dir::Etc::SourceList", list],
    ["Dir::Etc::SourceParts", "-"],
    ["Dir::Etc::TrustedParts", "/etc/apt/trusted.gpg.d/"],
    ["Dir::State::Lists", lists],
    // Its own user could not pass Berth's home.
    ["APT::Sandbox::User", "root"],
    ["APT::Install-Recommends", "false"],
    ["Acquire::Languages", "none"],
    ["Acquire::Retries", "3"],
    ["Dpkg::Use-Pty", "0"],
  ];
  const apt = (more: readonly (readonly string[])[], ...words: string[]): string[] => [
    ...["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-qq", "-y"],
    ...[...common, ...more].flatMap(([name = "", value = ""]) => ["-o", `${name}=${value}`]),
    ...words,
  ];
  await run(apt([], "update"), { ...running, name: "apt-get update" });
  return {
    async install(root, packages) {
      const inside = [
        ["Dir", root],
        ["DPkg::Chroot-Directory", root],
      ];
      // Packages of some languages look into both while they are set up.
      const mount = 'mount -t proc proc "$ROOT/proc"; mount --bind /dev "$ROOT/dev"';
      const named = { ...running, name: "apt-get install" };
      const place = `ROOT=${quoted(root)}; ${mount}`;
      await run(confined(apt(inside, "dist-upgrade"), place), { ...named, name: "apt-get dist-upgrade" });
      if (packages.length > 0) await run(confined(apt(inside, "install", ...packages), place), named);
    },
  };
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** What is installed in it. */
export async function packagesIn(root: string): Promise<Packages> {
  return readPackages(await readFile(join(root, "var/lib/dpkg/status"), "utf8"));
}
