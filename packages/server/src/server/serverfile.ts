// What the running server leaves in the home folder for the programs beside it: where it answers, or how far its start has come. Believed only
// as long as the process that wrote it holds the home's lock.
import { readFileSync, rmSync } from "node:fs";
import type { Paths } from "../paths.ts";
import { writeWhole } from "../os/files.ts";
import { readHolder } from "./lock.ts";

export interface ServerFile {
  readonly pid: number;
  readonly version: string;
  /** Where it answers; absent while it starts. */
  readonly url?: string;
  /** Where its edge's router listens. */
  readonly routerUrl?: string;
  /** A sentence for people: what it waits for while it starts; afterwards, what it does not do. */
  readonly note?: string;
  /** The cluster that it drives; absent when it drives none. */
  readonly cluster?: string;
}

export function writeServerFile(paths: Paths, file: ServerFile): void {
  writeWhole(paths.serverFile, JSON.stringify(file), { mode: 0o644 });
}

export function removeServerFile(paths: Paths): void {
  rmSync(paths.serverFile, { force: true });
}

/** Of the server that runs now: `url` is missing while it starts. undefined = none runs. What an earlier process left is not believed. */
export function readServer(paths: Paths): ServerFile | undefined {
  const holder = readHolder(paths.serverLock);
  if (holder === undefined) return undefined;
  try {
    const file = JSON.parse(readFileSync(paths.serverFile, "utf8")) as ServerFile;
    if (file.pid === holder.pid) return file;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" && !(error instanceof SyntaxError)) throw error;
  }
  return { pid: holder.pid, version: "" };
}
