// Removes folders that tenants have written into. Berth may be root, and they may swap a folder for a link in the middle of it.
import { execFile } from "node:child_process";

/**
 * Removes the folder with everything in it; absent = success. By `rm`, which steps from open folder to open folder and never follows a link,
 * and stays on its file system; Node's own removal works by path and could be led elsewhere.
 */
export function removeTree(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile("rm", ["-rf", "--one-file-system", "--", path], { cwd: "/", env: { PATH: "/usr/bin:/bin" } }, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
