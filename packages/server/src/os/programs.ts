// Programs of this machine, by their files.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Whether this process may run the file. One that is not there, or not for us, is no program. */
export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error) return false;
    throw error;
  }
}

/** The first of that name in the folders of a search path, as `PATH` has them. */
export function findOnPath(name: string, path: string): string | undefined {
  return path
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}
