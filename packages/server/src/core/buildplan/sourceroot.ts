// Which folder has to be sent so that a project somewhere in a repository can be built: its own, or one above that holds its workspace or its neighbours.
// Pure: the caller gives the few files that decide it.
import { workspaceFiles } from "@berth/contract/workspace.ts";
import { neededElsewhere, workspaceTop } from "./outside.ts";
import { foldersUp, joinPath, lookInto, type SourceTree } from "./source.ts";

/** Every file that decides about `folder`, from the repository's top; none when nothing lies above it. */
export function decidingFiles(folder: string): string[] {
  return folder === "." ? [] : foldersUp(folder).flatMap((above) => workspaceFiles.map((name) => joinPath(above, name)));
}

/** The folder to send, from the repository's top: `folder` itself or one above it. What leads out of the repository is left for detection to complain about. */
export function sourceRoot(tree: SourceTree, folder: string): string {
  const look = lookInto(tree, folder);
  const top = workspaceTop(look);
  const neighbours = neededElsewhere(look).flatMap(({ path }) => (path === undefined || path.startsWith("..") ? [] : [path]));
  return foldersUp(top).find((above) => neighbours.every((path) => above === "." || path === above || path.startsWith(`${above}/`))) ?? top;
}
