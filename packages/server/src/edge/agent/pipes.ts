// The named pipes of an instance, as the agent holds them: open from before the start until all lines are taken, because a pipe's content dies with its last holder.
import { closeSync, constants, existsSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { errorCode } from "./files.ts";

/** false for a folder that was being removed: its lines are read, or given up. */
export const hasPipes = (dir: string): boolean => ["stdout", "stderr", "hold"].every((name) => existsSync(join(dir, name)));

export class Pipes {
  readonly #output: readonly number[];
  readonly #hold: number;

  constructor(dir: string) {
    // Read-write and without blocking: opening never waits for the other side.
    const open = (name: string): number => openSync(join(dir, name), constants.O_RDWR | constants.O_NONBLOCK);
    this.#output = [open("stdout"), open("stderr")];
    this.#hold = open("hold");
  }

  /** Lets the shim of the ended run go: from here on the pipes are safe in the agent's hands. */
  releaseShim(): void {
    writeSync(this.#hold, "\n");
  }

  /** Takes back what a shim that was killed never read, so that it does not release the next one. */
  emptyHold(): void {
    const rest = Buffer.alloc(64);
    try {
      while (readSync(this.#hold, rest) > 0);
    } catch (error) {
      if (errorCode(error) !== "EAGAIN") throw error;
    }
  }

  close(): void {
    for (const handle of [...this.#output, this.#hold]) closeSync(handle);
  }
}
