// The agent's small files. Readers treat a broken one as absent, never as an error that stops the agent.
import { readFileSync, utimesSync } from "node:fs";
import { writeWhole } from "../../os/files.ts";

export function writeJson(path: string, value: unknown, options: { readonly mode?: number; readonly durable?: boolean } = {}): void {
  writeWhole(path, `${JSON.stringify(value)}\n`, options);
}

/** The file's text, or undefined when there is none (or it cannot be read). */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Absence is an answer here; what cannot be read is treated the same, and the caller decides anew.
    return undefined;
  }
}

/** Parsed JSON, or undefined when it is absent or broken (a power cut can leave an empty file). */
export function readJson(path: string): unknown {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // See above: a broken file is an absent one.
    return undefined;
  }
}

/** Whoever watches the folder that this one lies in sees it change: what is new inside would not show there. Only a hint, so a folder that is gone is none. */
export function touchFolder(dir: string): void {
  try {
    const now = Date.now() / 1000;
    utimesSync(dir, now, now);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

/** A word of a POSIX shell script that stands for exactly this text. */
export const shellQuote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** The `code` of a system error (ENOENT, ...), or "" when it is another kind of error. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
