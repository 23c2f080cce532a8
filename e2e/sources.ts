// Another build of this program for tests of upgrades: its sources in a folder of their own, changed as a test likes. The folder goes with the test.
import { appendFileSync, cpSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const repository = join(import.meta.dirname, "..");

/** Copies the server's sources to this folder; answers the program there that can be run like the one of the repository. */
export function copySources(folder: string): string {
  mkdirSync(join(folder, "packages"), { recursive: true });
  cpSync(join(repository, "packages/server"), join(folder, "packages/server"), {
    recursive: true,
    filter: (path) => !/node_modules|\.test\.ts$/.test(path.slice(repository.length)),
  });
  symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"));
  for (const file of ["package.json", "tsconfig.json"]) cpSync(join(repository, file), join(folder, file));
  return join(folder, "packages/server/src/main.ts");
}

/** The same version, built anew: its edge takes the place of the one that runs, as after any upgrade. */
export function anotherBuild(folder: string): string {
  const program = copySources(folder);
  appendFileSync(join(folder, "packages/server/src/edge/main.ts"), "// Built anew.\n");
  return program;
}
