// Another build of this program for tests of upgrades: its bundles, or its sources where those are tested, in a folder of their own and changed as a test likes.
// The folder goes with the test.
import { appendFileSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { serverProgram } from "./harness.ts";

const repository = join(import.meta.dirname, "..");
const isBuilt = serverProgram.endsWith(".js");

export interface OtherBuild {
  /** Can be run like the one of the repository. */
  readonly program: string;
  /** Folder of its migrations. */
  readonly migrations: string;
}

/** Copies the server to this folder. */
export function copyServer(folder: string): OtherBuild {
  symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"));
  cpSync(join(repository, "package.json"), join(folder, "package.json"));
  if (isBuilt) {
    cpSync(dirname(serverProgram), join(folder, "dist"), { recursive: true, filter: (path) => !path.endsWith(".map") });
    return { program: join(folder, "dist/server.js"), migrations: join(folder, "dist/migrations") };
  }
  mkdirSync(join(folder, "packages"), { recursive: true });
  cpSync(join(repository, "packages/server"), join(folder, "packages/server"), {
    recursive: true,
    filter: (path) => !/node_modules|\.test\.ts$/.test(path.slice(repository.length)),
  });
  cpSync(join(repository, "tsconfig.json"), join(folder, "tsconfig.json"));
  return { program: join(folder, "packages/server/src/main.ts"), migrations: join(folder, "packages/server/migrations") };
}

/** The same as another version. Throws when the program does not say 0.1.0 exactly once. */
export function copyAsVersion(folder: string, version: string): OtherBuild {
  const copy = copyServer(folder);
  const file = isBuilt ? copy.program : join(dirname(copy.program), "config.ts");
  const parts = readFileSync(file, "utf8").split('const version = "0.1.0";');
  if (parts.length !== 2) throw new Error(`${file} names its version ${String(parts.length - 1)} times`);
  writeFileSync(file, parts.join(`const version = "${version}";`));
  return copy;
}

/** The same version, built anew: its edge takes the place of the one that runs, as after any upgrade. */
export function anotherBuild(folder: string): string {
  const { program } = copyServer(folder);
  appendFileSync(join(dirname(program), isBuilt ? "edge.js" : "edge/main.ts"), "// Built anew.\n");
  return program;
}
