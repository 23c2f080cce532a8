// What the demo made, written down before it makes it, so that `--down` removes exactly that, also after a run that broke off.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { readSurroundings } from "../../packages/cli/src/config.ts";
import { readConfig } from "../../packages/server/src/config.ts";
import { DemoError } from "./berth.ts";

export interface Places {
  readonly home: string;
  readonly runDir: string;
  /** Of the command line: where it keeps logins, and compiled code. */
  readonly configDir: string;
  readonly cacheDir: string;
}

export interface Record_ {
  /** Folders that were not there before. */
  readonly made: readonly string[];
  /** The stack was deployed by the demo, into whatever home there was. */
  readonly stack: boolean;
  /** The demo started the server. */
  readonly server: boolean;
  /** Content of dist/.stamp when it did: another one means that the server runs an older build. */
  readonly build: string;
  /** The clone that the demo ran from last. */
  readonly from?: string;
  /** The demo added a cluster, in which its stack runs. */
  readonly cluster?: boolean;
  /** Where that server answers: its login is forgotten with it. */
  readonly url?: string;
}

export const nothing: Record_ = { made: [], stack: false, server: false, build: "" };

/** Where this user's Berth lives, by the same rules as the programs themselves. */
export function places(): Places {
  const config = readConfig();
  const surroundings = readSurroundings();
  return { home: config.home, runDir: config.runDir, configDir: surroundings.configDir, cacheDir: surroundings.cacheDir };
}

const fileOf = (home: string): string => join(home, "demo.json");

export function readRecord(home: string): Record_ | undefined {
  if (!existsSync(fileOf(home))) return undefined;
  try {
    return { ...nothing, ...(JSON.parse(readFileSync(fileOf(home), "utf8")) as Partial<Record_>) };
  } catch (error) {
    // Written as a whole by renaming, so this is somebody else's: then nothing here is the demo's.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function writeRecord(home: string, record: Record_): void {
  mkdirSync(home, { recursive: true, mode: 0o711 });
  const draft = `${fileOf(home)}.new`;
  writeFileSync(draft, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  renameSync(draft, fileOf(home));
}

/** The record so far, or a first one that says which folders are about to be made. */
export function openRecord(where: Places): Record_ {
  const known = readRecord(where.home);
  if (known !== undefined) return known;
  const folders = [where.home, where.runDir, where.configDir, where.cacheDir];
  const record = { ...nothing, made: folders.filter((folder) => !existsSync(folder) || (folder === where.home && isEmpty(folder))) };
  writeRecord(where.home, record);
  return record;
}

const isEmpty = (folder: string): boolean => statSync(folder).isDirectory() && readdirSync(folder).length === 0;

export function forgetRecord(home: string): void {
  rmSync(fileOf(home), { force: true });
}

/** Removes a folder that the demo made; refuses what can never be one. */
export function removeMade(folder: string): void {
  const path = resolve(folder);
  if (path === "/" || path === homedir() || dirname(path) === "/" || path.startsWith("/proc") || homedir().startsWith(`${path}/`))
    throw new DemoError(
      `${path} is too near to the root of things to be removed by a program.`,
      "Everything of Berth has stopped; remove what is in it yourself.",
    );
  rmSync(path, { recursive: true, force: true });
}

/** Removes the command line's folder, unless it knows other servers or somebody put something else there. */
export function removeEmptyConfig(folder: string): void {
  const file = join(folder, "credentials.json");
  if (!existsSync(folder) || readdirSync(folder).some((name) => name !== "credentials.json")) return;
  if (existsSync(file) && !/"servers":\s*\{\s*\}/.test(readFileSync(file, "utf8"))) return;
  rmSync(folder, { recursive: true, force: true });
}
