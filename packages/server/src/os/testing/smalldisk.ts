// A disk that is soon full, for tests that run as root.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether file systems can be mounted here. */
export const canMount = ((): boolean => {
  if (process.getuid?.() !== 0) return false;
  const at = mkdtempSync(join(tmpdir(), "berth-mount-"));
  try {
    smallDisk(at, "64k")[Symbol.dispose]();
    return true;
  } catch {
    // Not here; then there is no small disk to fill.
    return false;
  } finally {
    rmSync(at, { recursive: true });
  }
})();

/** A file system of so many bytes (as tmpfs(5) says sizes) in this folder, which is made; gone with its end. `mode`: who may use it, in octal. */
export function smallDisk(folder: string, size: string, mode = "1777"): Disposable {
  mkdirSync(folder, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=${mode}`, "tmpfs", folder], { stdio: "ignore" });
  return {
    [Symbol.dispose]: () => {
      execFileSync("umount", [folder], { stdio: "ignore" });
    },
  };
}
