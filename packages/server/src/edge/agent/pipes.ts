// The named pipes of an instance, as the agent holds them: open from before the start until all lines are taken, because a pipe's content dies with its last holder.
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { join } from "node:path";

/** false for a folder that was being removed: its lines are read, or given up. */
export const hasPipes = (dir: string): boolean => ["stdout", "stderr", "hold"].every((name) => existsSync(join(dir, name)));

export class Pipes {
  readonly #output: readonly number[];

  constructor(dir: string) {
    // Read-write and without blocking: opening never waits for the other side.
    const open = (name: string): number => openSync(join(dir, name), constants.O_RDWR | constants.O_NONBLOCK);
    this.#output = [open("stdout"), open("stderr")];
  }

  close(): void {
    for (const handle of this.#output) closeSync(handle);
  }
}
