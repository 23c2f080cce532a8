// Which folder is sent for a build context, and where in it the context lies: a member of a workspace is sent with its workspace. Asks for the few files that decide it.
import type { PlanRequest } from "@berth/contract/resources/plans.ts";
import { joinPath, relativePath } from "../../core/buildplan/source.ts";
import { decidingFiles, sourceRoot } from "../../core/buildplan/sourceroot.ts";
import { BerthError } from "../../core/errors.ts";

/** `from`: the folder that is sent, from the project's folder; `root`: the context inside of it. */
export interface Placement {
  readonly from: string;
  readonly root: string;
}
export type Placed =
  | { readonly status: "needs"; readonly files: string[] }
  | { readonly status: "placed"; readonly placements: ReadonlyMap<string, Placement> };

type Sent = Pick<PlanRequest, "files" | "absent" | "sources" | "within">;

/** A context that was sent under its own name is taken as it is. Errors: `invalid_request` for a `within` that is no path inside a repository. */
export function placeContexts(request: Sent, contexts: readonly string[]): Placed {
  const within = joinPath(".", request.within ?? ".");
  if (within.startsWith("..") || request.within?.startsWith("/") === true)
    throw new BerthError("invalid_request", { reason: "`within` names no folder of a repository" });
  const placements = new Map<string, Placement>();
  const files = new Set<string>();
  const absent = new Set(request.absent);
  for (const context of contexts) {
    if (Object.hasOwn(request.sources, context)) {
      placements.set(context, { from: context, root: "." });
      continue;
    }
    const folder = joinPath(within, context);
    const texts = new Map<string, string>();
    const before = files.size;
    for (const file of decidingFiles(folder)) {
      const path = relativePath(within, file);
      const text = Object.hasOwn(request.files, path) ? request.files[path] : undefined;
      if (text !== undefined) texts.set(file, text);
      else if (!absent.has(path)) files.add(path);
    }
    if (files.size > before) continue;
    const top = sourceRoot({ files: new Set(texts.keys()), read: (path) => texts.get(path) }, folder);
    placements.set(context, { from: relativePath(within, top), root: relativePath(top, folder) });
  }
  return files.size > 0 ? { status: "needs", files: [...files].sort() } : { status: "placed", placements };
}
