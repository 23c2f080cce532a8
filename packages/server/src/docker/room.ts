// How much room a daemon's own disk has: for failures that the daemon says are for want of it.
import { statfs } from "node:fs/promises";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { DockerApi } from "./api.ts";
import { DockerError, DockerStreamError, DockerUnreachable } from "./errors.ts";

const pattern = /no space left on device|disk quota exceeded/i;

/** Whether what a daemon says means that its disk is full. */
export const saysDiskFull = (said: string): boolean => pattern.test(said);

/** Whether an error of a daemon does. */
export const isDiskFull = (error: unknown): error is DockerError | DockerStreamError =>
  (error instanceof DockerError || error instanceof DockerStreamError) && saysDiskFull(error.message);

interface Room {
  readonly folder: string;
  /** Bytes free, and in all. */
  readonly free: number;
  readonly all: number;
  /** Files that there is room for; undefined where that is not counted. */
  readonly files: number | undefined;
}

/** undefined: the daemon may be on another machine, or too full to answer. */
async function measure(api: DockerApi): Promise<Room | undefined> {
  try {
    const { DockerRootDir: folder = "" } = await api.json<{ readonly DockerRootDir?: string }>("GET", "/info");
    const { bavail, blocks, bsize, files, ffree } = await statfs(folder);
    return { folder, free: bavail * bsize, all: blocks * bsize, files: files === 0 ? undefined : ffree };
  } catch (error) {
    if (error instanceof DockerError || error instanceof DockerUnreachable || (error as NodeJS.ErrnoException).syscall === "statfs")
      return undefined;
    throw error;
  }
}

const fewFiles = (room: Room): boolean => room.files !== undefined && room.files < 1_000;

function told(room: Room | undefined): string {
  if (room === undefined) return "How much is free there is not known here";
  const files = fewFiles(room) ? ` and room for ${String(room.files)} more files only` : "";
  return `Now ${megabytes(room.free)} of ${megabytes(room.all)} are free${files} in ${room.folder}`;
}

/** What is free now, for people; what a failed call had taken is free again by then. */
export async function roomOf(api: DockerApi): Promise<string> {
  return told(await measure(api));
}

/** Bytes below which a disk counts as full: a program's last write was larger than what it left. */
const scarce = 16 * 1024 * 1024;

/** What is free, for people, when it is next to nothing. */
export async function scarceRoomOf(api: DockerApi): Promise<string | undefined> {
  const room = await measure(api);
  return room !== undefined && (room.free < scarce || fewFiles(room)) ? told(room) : undefined;
}

/** Cause: `host_disk_full`. `what`: for which there was no room. */
export async function diskFullCause(api: DockerApi, what: string, said: string): Promise<Cause> {
  return cause("host_disk_full", { what, room: await roomOf(api) }, [{ kind: "event", text: said.slice(0, 4096) }]);
}

const megabytes = (bytes: number): string => `${String(Math.round(bytes / 1e6))} MB`;
