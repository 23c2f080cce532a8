// What was added to a root file system since a moment, as a layer of an image. Knows nothing of images.
import { writeFile } from "node:fs/promises";
import { confined, run, type Running } from "./programs.ts";

/** What is made or changed from now on is newer than this file: the kernel sets that time, and no package can. */
export async function markMoment(file: string): Promise<void> {
  await writeFile(file, "");
}

/**
 * Packs what is newer than the mark into the file `archive`, sorted by name. Times before `day` stay, since compiled Python names those of its sources; later ones become `day`.
 * What was removed since stays in the layers below: packages that are only added remove nothing.
 */
export async function packLayer(root: string, mark: string, archive: string, day: Date, running: Running): Promise<void> {
  const script = `cd "$1" && find . -mindepth 1 -xdev -cnewer "$2" -print0 | LC_ALL=C sort --zero-terminated |
    tar --create --file "$3" --null --no-recursion --numeric-owner --clamp-mtime --mtime="@$4" --files-from -`;
  const seconds = String(Math.floor(day.getTime() / 86_400_000) * 86_400);
  await run(confined(["sh", "-c", script, "sh", root, mark, archive, seconds]), { ...running, name: "tar" });
}

/** Unpacks a root file system into a folder, with its owners. */
export function unpackRoot(archive: string, folder: string, running: Running): Promise<void> {
  return run(["tar", "--extract", "--file", archive, "--numeric-owner", "--same-owner", "--same-permissions", "--directory", folder], {
    ...running,
    name: "tar",
  });
}
