// The kubeconfig that somebody names.
import { readFile } from "node:fs/promises";
import type { Context } from "../context.ts";
import { exitCodes, Failure } from "../failure.ts";

/** `-` is standard input. */
export async function kubeconfigIn({ prompt }: Context, file: string): Promise<string> {
  try {
    return file === "-" ? await prompt.readAll() : await readFile(file, "utf8");
  } catch (error) {
    throw new Failure(exitCodes.failed, `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}.`, {
      next: "Write one with `kubectl config view --minify --flatten`.",
      cause: error,
    });
  }
}
