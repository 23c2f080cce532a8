// What Buildah keeps for later builds: a store for each stack, so that nothing that one stack made can become a part of what another gets. Bounded together:
// what was not used for longest goes first. Knows where stores are and how large; what is in them is Buildah's.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const sizeFile = "size";

export class BuildahStores {
  readonly #folder: string;
  /** Stores that builds use at this moment, and how many. */
  readonly #used = new Map<string, number>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  pathOf(stackId: string): string {
    return join(this.#folder, createHash("sha256").update(stackId).digest("hex").slice(0, 24));
  }

  /** The stack's store, which stays until it is released. `alone`: no other build uses it now. */
  async take(stackId: string): Promise<{ readonly path: string; readonly alone: boolean }> {
    const path = this.pathOf(stackId);
    const before = this.#used.get(path) ?? 0;
    this.#used.set(path, before + 1);
    await mkdir(join(path, "tmp"), { recursive: true, mode: 0o700 });
    // What a build that was ended had there; the caches of steps are there as well, and stay.
    if (before === 0)
      for (const name of await readdir(join(path, "tmp")))
        if (!name.startsWith("buildah-cache")) await rm(join(path, "tmp", name), { recursive: true, force: true });
    return { path, alone: before === 0 };
  }

  release(path: string): void {
    const left = (this.#used.get(path) ?? 1) - 1;
    if (left === 0) this.#used.delete(path);
    else this.#used.set(path, left);
  }

  isUsedAlone(path: string): boolean {
    return this.#used.get(path) === 1;
  }

  /** Bytes on the disk; noted, so that the next look need not count again. */
  async measure(path: string): Promise<number> {
    const { stdout } = await run("du", ["-s", "--block-size=1", join(path)], { maxBuffer: 1024 * 1024 });
    const size = Number(stdout.split("\t")[0]);
    const noted = join(path, sizeFile);
    await writeFile(noted, String(size));
    const now = new Date();
    await utimes(noted, now, now);
    return size;
  }

  /** All stores together, as they were last measured, bytes. */
  async total(): Promise<number> {
    return (await this.#all()).reduce((sum, { size }) => sum + size, 0);
  }

  /** Removes stores that nobody uses, the one that was used longest ago first, until all that is kept is within the bound. */
  async removeOldest(most: number): Promise<void> {
    const all = (await this.#all()).sort((a, b) => a.at - b.at);
    let total = all.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of all) {
      if (total <= most) return;
      if (this.#used.has(path)) continue;
      await this.remove(path);
      total -= size;
    }
  }

  /** Absent = success. Gone in one step, so that a crash leaves no half of a store. */
  async remove(path: string): Promise<void> {
    if (!existsSync(path)) return;
    const gone = `${path}.gone`;
    await rm(gone, { recursive: true, force: true });
    await rename(path, gone);
    await rm(gone, { recursive: true, force: true });
  }

  /** What a removal that was interrupted left. */
  async sweep(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder))
      if (name.endsWith(".gone")) await rm(join(this.#folder, name), { recursive: true, force: true });
  }

  async #all(): Promise<{ readonly path: string; readonly size: number; readonly at: number }[]> {
    const names = (await readdir(this.#folder)).filter((name) => !name.includes("."));
    return Promise.all(
      names.map(async (name) => {
        const path = join(this.#folder, name);
        const noted = join(path, sizeFile);
        // One that was never measured belongs to a build that failed: it is the first to go.
        if (!existsSync(noted)) return { path, size: 0, at: 0 };
        return { path, size: Number(await readFile(noted, "utf8")), at: (await stat(noted)).mtimeMs };
      }),
    );
  }
}
