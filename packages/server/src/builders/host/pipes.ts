// Real pipes for a build's output. What Node.js calls pipes are sockets, and `echo x > /dev/stderr`, which many build scripts do, fails on a socket.
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { chown, unlink } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import type { RunAs } from "../builder.ts";

export interface OutputPipe {
  readonly readable: Readable;
  /** For the child; `release` closes it here once the child has it. */
  readonly writeFd: number;
  release(): void;
}

/** Two pipes that the build's user may open again by name (/dev/stdout). `dir` is for Berth alone, and holds nothing of them afterwards. */
export async function openPipes(dir: string, owner: RunAs | undefined): Promise<readonly [OutputPipe, OutputPipe]> {
  const paths = [join(dir, `pipe-${randomUUID()}`), join(dir, `pipe-${randomUUID()}`)] as const;
  await promisify(execFile)("mkfifo", ["-m", "600", ...paths], { env: { PATH: "/usr/bin:/bin" } });
  return Promise.all([openPipe(paths[0], owner), openPipe(paths[1], owner)]);
}

async function openPipe(path: string, owner: RunAs | undefined): Promise<OutputPipe> {
  if (owner !== undefined) await chown(path, owner.uid, owner.gid);
  // Neither call waits: the reader does not ask for a writer, and the writer has its reader.
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writing = openSync(path, constants.O_WRONLY);
  await unlink(path);
  return {
    readable: new Socket({ fd: reading, readable: true, writable: false }),
    writeFd: writing,
    release: () => {
      closeSync(writing);
    },
  };
}
