// The host builder's way to find runtimes: by the local engine's finder, in a folder that holds exactly the one tool.
import { join } from "node:path";
import type { FindTool } from "../builders/builder.ts";
import { findTool, toolFolder } from "../engines/local/tools.ts";

export function createToolFinder(home: string, path: readonly string[]): FindTool {
  const runtimeDir = join(home, "runtime");
  return async (name, wanted, runAs) => {
    const answer = await findTool(name, wanted, { path, runtimeDir, ...(runAs === undefined ? {} : { runAs }) });
    if ("failure" in answer) return { ok: false, cause: answer.failure };
    return { ok: true, path: answer.found.path, version: answer.found.version, binDir: toolFolder(runtimeDir, answer.found) };
  };
}
