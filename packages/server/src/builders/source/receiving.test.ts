import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeReceiving } from "./receiving.ts";

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "berth-receiving-"));
});
afterEach(() => {
  rmSync(top, { recursive: true, force: true });
});
const mode = process.getuid?.() === 0 ? 0o711 : 0o700;

it.each([
  ["not there", undefined],
  ["closed to git's own user", 0o700],
  ["open to everybody", 0o777],
])("a folder that was %s can be passed and not listed as root, and is Berth's alone otherwise", async (_what, before) => {
  const dir = join(top, "tmp");
  if (before !== undefined) {
    mkdirSync(dir);
    chmodSync(dir, before);
  }
  await makeReceiving(dir);
  expect(statSync(dir).mode & 0o777).toBe(mode);
});
