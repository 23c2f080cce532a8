// Volumes as archives where something goes wrong: a full disk, a reader that leaves, a sender that breaks off. What every engine does alike is in the conformance suite.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { canMount, smallDisk } from "../../os/testing/smalldisk.ts";
import { fillFolder, packFolder } from "./archive.ts";

const never = new AbortController().signal;
const free = (): Promise<void> => Promise.resolve();
let home = "";
beforeEach(() => (home = mkdtempSync(join(tmpdir(), "berth-archive-"))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

const folderWith = (name: string, bytes: number): string => {
  const folder = join(home, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "large"), Buffer.alloc(bytes, 7));
  return folder;
};

describe.skipIf(!canMount)("on a disk that is too small", () => {
  it("says so, and leaves nothing", async () => {
    const disk = join(home, "disk");
    using _disk = smallDisk(disk, "1m");
    const source = folderWith("source", 5 * 1024 * 1024);
    const filling = { folder: join(disk, "volume"), staging: join(disk, "new"), checkFree: free };
    await expect(fillFolder(filling, packFolder(source, never), never)).rejects.toMatchObject({ code: "storage_full" });
    expect(readdirSync(disk)).toEqual([]);
    const small = folderWith("small", 1_000);
    await fillFolder(filling, packFolder(small, never), never);
    expect(readdirSync(join(disk, "volume"))).toEqual(["large"]);
  });
});

it("ends the reading when whoever reads leaves", async () => {
  const stream = packFolder(folderWith("source", 64 * 1024 * 1024), never);
  for await (const _chunk of stream) break;
  expect(stream.destroyed).toBe(true);
  const given = new AbortController();
  const other = packFolder(join(home, "source"), given.signal);
  given.abort(new Error("enough"));
  await expect(other.toArray()).rejects.toThrow();
});

it("is no archive when the folder cannot be read", async () => {
  await expect(packFolder(join(home, "nowhere"), never).toArray()).rejects.toThrow(/could not be read/);
});

it("does not take place when the volume is taken into use meanwhile", async () => {
  const folder = join(home, "volume");
  let asked = 0;
  const checkFree = (): Promise<void> => ((asked += 1) === 1 ? Promise.resolve() : Promise.reject(new Error("in use")));
  const filling = { folder, staging: join(home, "new"), checkFree };
  await expect(fillFolder(filling, packFolder(folderWith("source", 10), never), never)).rejects.toThrow("in use");
  expect([existsSync(folder), existsSync(join(home, "new"))]).toEqual([false, false]);
});

it("fails of what the archive failed of before it was read", async () => {
  const archive = new Readable({ read: () => undefined });
  const checkFree = (): Promise<void> => {
    archive.destroy(new Error("the line went dead"));
    return new Promise((resolve) => archive.once("close", resolve));
  };
  const filling = { folder: join(home, "volume"), staging: join(home, "new"), checkFree };
  await expect(fillFolder(filling, archive, never)).rejects.toThrow("the line went dead");
  expect(readdirSync(home)).toEqual([]);
});

it("is rid of what a killed one left, and of its own when it is given up", async () => {
  const staging = join(home, "new");
  mkdirSync(staging);
  writeFileSync(join(staging, "left over"), "");
  const given = new AbortController();
  const endless = new Readable({
    read() {
      setImmediate(() => this.push(Buffer.alloc(512)));
    },
  });
  // Blocks of nothing are read on as long as they come.
  const begun = fillFolder({ folder: join(home, "volume"), staging, checkFree: free }, endless, given.signal);
  setImmediate(() => given.abort(new Error("enough")));
  await expect(begun).rejects.toThrow();
  expect(existsSync(staging)).toBe(false);
  await fillFolder({ folder: join(home, "volume"), staging, checkFree: free }, packFolder(folderWith("source", 10), never), never);
  expect(readdirSync(join(home, "volume"))).toEqual(["large"]);
});
