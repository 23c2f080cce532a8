// Sending a folder as a source of a stack, with what git knows about it.
import { stat } from "node:fs/promises";
import type { Source } from "@berth/contract/resources/sources.ts";
import type { Context } from "../context.ts";
import { isCode, isLocal } from "../credentials.ts";
import { UsageError } from "../failure.ts";
import { bytes } from "../output/time.ts";
import { archiveOf } from "./archive.ts";
import { gitFacts } from "./git.ts";
import { walk } from "./walk.ts";

/** Packs and uploads `folder`; says how much on stderr. `name` is how the folder is called in messages. */
export async function uploadFolder(ctx: Context, stack: string, folder: string, name = "the folder"): Promise<Source> {
  const found = await stat(folder).catch((error: unknown) => {
    if (isCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  });
  if (found?.isDirectory() !== true) throw new UsageError(`${folder} is not a folder.`);
  const [packing, facts] = await Promise.all([walk(folder, ctx.signal), gitFacts(folder)]);
  if (packing.entries.length === 0)
    throw new UsageError(`${folder} has no files to send.`, "Is everything in it named by .gitignore or .berthignore?");
  for (const path of packing.leftOut) ctx.out.note(`Left out: ${path} is a link that leads out of the folder.`);
  const files = packing.entries.length;
  ctx.out.progress(ctx.out.errPaint.dim(`Uploading ${name} (${files} file${files === 1 ? "" : "s"}, ${bytes(packing.bytes)}) ...`));
  // A file that cannot be read ends the call with its own reason, not with that of a broken connection.
  const unreadable = new AbortController();
  const archive = archiveOf(packing, {
    near: isLocal(ctx.settings.serverUrl),
    onFailure: (error) => {
      unreadable.abort(error);
    },
  });
  return (await ctx.api()).uploadSource(
    { params: { stack }, query: { ...facts }, ...archive },
    { signal: AbortSignal.any([ctx.signal, unreadable.signal]) },
  );
}
