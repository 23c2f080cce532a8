// For tests of base images: a repository of Debian packages on this machine, and a making from it on what tests have of debootstrap.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BaseRecipe } from "../../core/image/bases.ts";
import type { DockerApi } from "../../docker/api.ts";
import { openApt } from "../bases/apt.ts";
import { unpackRoot } from "../bases/layer.ts";
import type { MakingDeps } from "../bases/make.ts";
import { debianTar } from "./debian.ts";

/** A system, and a runtime of two packages of the test's own. */
export const labRecipes: readonly BaseRecipe[] = [
  { name: "debian", summary: "", run: [], build: [], line: { of: "base-files", pattern: /^(\d+)/ } },
  {
    name: "tool",
    summary: "",
    runtime: "node",
    run: ["berth-tool"],
    build: ["berth-maker"],
    own: ["node"],
    line: { of: "berth-tool", pattern: /^(\d+)/ },
    env: { TOOL: "here" },
  },
];

/** Publishes a package with one program, which prints its version. An older version of it is gone then. */
export function publish(dir: string, name: string, version: string): void {
  const folder = join(dir, "deb", name);
  const repo = join(dir, "repo");
  for (const path of [join(folder, "DEBIAN"), join(folder, "usr/bin"), repo]) mkdirSync(path, { recursive: true });
  const control = `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: Berth tests <tests@berth.invalid>\nDescription: a test\n`;
  writeFileSync(join(folder, "DEBIAN/control"), control);
  writeFileSync(join(folder, "usr/bin", name), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
  const said = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: "utf8" }).trim();
  said("dpkg-deb", "--build", "--root-owner-group", folder, join(repo, `${name}.deb`));
  const entries = readdirSync(repo)
    .filter((file) => file.endsWith(".deb"))
    .map((file) => {
      const path = join(repo, file);
      const sum = said("sha256sum", path).split(" ")[0] ?? "";
      return `${said("dpkg-deb", "--field", path)}\nFilename: ./${file}\nSize: ${said("stat", "--format=%s", path)}\nSHA256: ${sum}\n`;
    });
  writeFileSync(join(repo, "Packages"), entries.join("\n"));
}

/** A making in `dir` at a time that the test says. */
export function labDeps(api: DockerApi, dir: string, clock: () => Date): MakingDeps {
  const folder = join(dir, "making");
  return {
    api,
    record: join(dir, "bases.json"),
    folder,
    clock,
    recipes: labRecipes,
    bootstrap: async (root) => unpackRoot(await debianTar(), root, {}),
    openApt: () => openApt(join(folder, "work"), [{ uri: `file:${join(dir, "repo")}`, suite: "./", components: [], trusted: true }], {}),
    own: { node: { path: process.execPath, version: process.versions.node }, npm: { command: "npm", range: "11" } },
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    onProgress: () => undefined,
  };
}
