// The blob folder: whole or not at all, private, and honest about what is on disk.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { canMount, smallDisk } from "../os/testing/smalldisk.ts";
import { openBlobFolder } from "./folder.ts";
import type { BlobStore } from "./store.ts";

let root: string;
let store: BlobStore;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "berth-blobs-"));
  store = await openBlobFolder(root);
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const digestOf = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const fileOf = (digest: string) => join(root, "sha256", digest.slice(7, 9), digest.slice(7));
const drafts = () => readdirSync(join(root, "drafts"));
async function all(): Promise<string[]> {
  const digests: string[] = [];
  for await (const blob of store.list()) digests.push(blob.digest);
  return digests.sort();
}

describe("the blob folder", () => {
  it("gives back what was put, by its hash, privately", async () => {
    const bytes = randomBytes(1_500_000);
    const put = await store.put(Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]), { expected: digestOf(bytes) });
    expect(put).toEqual({ digest: digestOf(bytes), size: bytes.length });
    expect((await buffer(await store.open(put.digest))).equals(bytes)).toBe(true);
    expect(await store.has(put.digest)).toBe(bytes.length);
    expect(statSync(fileOf(put.digest)).mode & 0o777).toBe(0o600);
    expect(statSync(root).mode & 0o077 & statSync(join(root, "sha256")).mode).toBe(0);
    expect((await store.put(Readable.from([]))).size).toBe(0);
    expect(await all()).toEqual([put.digest, digestOf(Buffer.alloc(0))].sort());
  });

  it("keeps nothing of content that is not what was expected, nor of an upload that broke off", async () => {
    await expect(store.put(Readable.from([Buffer.from("other")]), { expected: digestOf(Buffer.from("wanted")) })).rejects.toMatchObject({
      code: "invalid_request",
    });
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.from("half");
      throw new Error("connection lost");
    }
    await expect(store.put(Readable.from(broken()))).rejects.toThrow("connection lost");
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        yield Buffer.alloc(10);
        controller.abort();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await expect(store.put(Readable.from(endless()), {}, controller.signal)).rejects.toMatchObject({ name: "AbortError" });
    expect(await all()).toEqual([]);
    expect(drafts()).toEqual([]);
  });

  it("says so when there is nothing, or the bytes on disk are damaged", async () => {
    const missing = digestOf(Buffer.from("nothing"));
    await expect(store.open(missing)).rejects.toMatchObject({ code: "not_found" });
    expect(await store.has(missing)).toBeUndefined();
    await store.remove(missing);
    const { digest } = await store.put(Readable.from([Buffer.from("healthy")]));
    writeFileSync(fileOf(digest), "damaged");
    await expect(buffer(await store.open(digest))).rejects.toThrow("damaged on disk");
    for (const wrong of ["", "sha256:../../etc/passwd", "md5:00"])
      await expect(store.has(wrong)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("removes by age only what was not stored again since", async () => {
    const put = () => store.put(Readable.from([Buffer.from("again")]));
    const { digest } = await put();
    utimesSync(fileOf(digest), 1, 1);
    await put();
    await store.remove(digest, { storedBefore: new Date(1_000_000) });
    expect(await store.has(digest)).toBe(5);
    utimesSync(fileOf(digest), 1, 1);
    await store.remove(digest, { storedBefore: new Date(1_000_000) });
    expect(await store.has(digest)).toBeUndefined();
    expect(drafts()).toEqual([]);
  });

  it("keeps one whole copy when the same content is put many times at once", async () => {
    const bytes = randomBytes(200_000);
    await Promise.all(Array.from({ length: 8 }, () => store.put(Readable.from([bytes]))));
    expect(await all()).toEqual([digestOf(bytes)]);
    expect((await buffer(await store.open(digestOf(bytes)))).equals(bytes)).toBe(true);
  });

  it("sweeps away what a crash left half-written, and not what is being written", async () => {
    writeFileSync(join(root, "drafts/old"), "half");
    utimesSync(join(root, "drafts/old"), 1, 1);
    writeFileSync(join(root, "drafts/new"), "half");
    await openBlobFolder(root);
    expect(drafts()).toEqual(["new"]);
  });

  it.skipIf(!canMount)("says that the disk is full (on a small one, mounted as root)", async () => {
    const small = join(root, "small");
    using _disk = smallDisk(small, "1m");
    await expect((await openBlobFolder(small)).put(Readable.from([randomBytes(2_000_000)]))).rejects.toMatchObject({
      code: "storage_full",
    });
  });
});
