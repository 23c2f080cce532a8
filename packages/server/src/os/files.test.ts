// Files that have to outlast a power cut: their bytes are synced, and so is the folder that names them.
import fs, { existsSync, mkdtempSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openSecretBox } from "../db/secretbox.ts";
import { writeWhole } from "./files.ts";

const sync = fs.fsyncSync;
let folder: string;
let path: string;
/** What was synced, and whether the file had its name by then. */
let synced: { readonly what: string; readonly named: boolean }[];
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "berth-files-")));
  path = join(folder, "file");
  synced = [];
  // The real one still runs: what it is called with cannot be seen from outside.
  fs.fsyncSync = (handle) => {
    synced.push({ what: readlinkSync(`/proc/self/fd/${String(handle)}`), named: existsSync(path) });
    sync(handle);
  };
  syncBuiltinESMExports();
});
afterEach(() => {
  fs.fsyncSync = sync;
  syncBuiltinESMExports();
  rmSync(folder, { recursive: true, force: true });
});

test("a durable file's folder is synced once the file has its name", () => {
  writeWhole(path, "content", { durable: true });
  expect(readFileSync(path, "utf8")).toBe("content");
  expect(synced).toEqual([
    { what: expect.stringContaining(`${path}.`) as string, named: false },
    { what: folder, named: true },
  ]);
});

test("a file that need not last waits for no disk", () => {
  writeWhole(path, "content");
  expect(synced).toEqual([]);
});

test("a new key file's name is synced before anything can be sealed with it", () => {
  openSecretBox(path);
  expect(synced.at(-1)).toEqual({ what: folder, named: true });
});
