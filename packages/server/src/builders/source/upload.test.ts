// Real archives through the real reader and writer: what is stored depends on the content alone, and no attack gets in or leaves anything behind.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { promisify } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sourceLimits, type ArchiveLimits } from "../../core/archive.ts";
import { BerthError } from "../../core/errors.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { folderTar, mendChecksum, streamOf, tarball, type Entry } from "../testing/tarball.ts";
import { readTar } from "../untar.ts";
import { readSourceTree } from "./tree.ts";
import { receiveUpload, type StoredArchive } from "./upload.ts";

const run = promisify(execFile);
let dir: string;
let blobs: TestBlobs;
const never = new AbortController().signal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "berth-upload-"));
  blobs = await folderBlobs(join(dir, "blobs"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function receive(data: Buffer | Readable, limits: ArchiveLimits = sourceLimits, signal = never): Promise<StoredArchive> {
  return receiveUpload(Buffer.isBuffer(data) ? streamOf(data) : data, { blobs, tmpDir: join(dir, "tmp"), limits }, signal);
}
async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof BerthError && error.code === "archive_refused") return String(error.params["reason"]);
  throw error instanceof Error ? error : new Error("it was accepted");
}
async function nothingIsLeft(): Promise<void> {
  expect(await blobs.list()).toEqual([]);
  expect(await readdir(join(dir, "tmp")).catch(() => [])).toEqual([]);
}
async function stored(digest: string): Promise<{ name: string; type: string | undefined; mode: number; content: string }[]> {
  const found = [];
  for await (const { raw, content } of readTar(await blobs.open(digest), { signal: never })) {
    const chunks: Buffer[] = [];
    for await (const data of content) chunks.push(data);
    found.push({ name: raw.name, type: raw.type, mode: raw.mode, content: raw.linkname ?? Buffer.concat(chunks).toString() });
  }
  return found;
}

describe("what is stored", () => {
  it("has the same digest for the same content, whatever order, times, owners, compression or tar program it came with", async () => {
    const folder = join(dir, "app");
    await mkdir(join(folder, "lib"), { recursive: true });
    await writeFile(join(folder, "start.sh"), "#!/bin/sh\n", { mode: 0o700 });
    await writeFile(join(folder, "lib", "a.txt"), "content", { mode: 0o600 });
    await symlink("lib/a.txt", join(folder, "link"));
    await run("tar", ["-C", folder, "-cf", join(dir, "gnu.tar"), "."]);
    await run("tar", ["-C", folder, "--format=pax", "-czf", join(dir, "pax.tgz"), "--mtime=2001-01-01", "start.sh", "link", "lib"]);
    const own = await tarball([
      { name: "link", type: "symlink", linkname: "lib/a.txt" },
      { name: "lib/a.txt", body: "content", uid: 77, mode: 0o644 },
      { name: "start.sh", body: "#!/bin/sh\n", mode: 0o777 },
    ]);
    const digests = new Set<string>();
    for (const data of [
      await readFile(join(dir, "gnu.tar")),
      await readFile(join(dir, "pax.tgz")),
      own,
      gzipSync(own),
      zstdCompressSync(own),
      Buffer.concat([gzipSync(own.subarray(0, 700)), gzipSync(own.subarray(700))]),
    ]) {
      const received = await receive(data);
      expect(received).toMatchObject({ files: 3, bytes: 17 });
      digests.add(received.digest);
    }
    expect(digests.size).toBe(1);
    const [digest = ""] = digests;
    expect(await stored(digest)).toEqual([
      { name: "lib/", type: "directory", mode: 0o755, content: "" },
      { name: "lib/a.txt", type: "file", mode: 0o644, content: "content" },
      { name: "link", type: "symlink", mode: 0o777, content: "lib/a.txt" },
      { name: "start.sh", type: "file", mode: 0o755, content: "#!/bin/sh\n" },
    ]);
    await run("tar", ["-C", dir, "-tf", join(dir, "blobs", digest.slice(7))]);
  });
  it("is another one when a byte, a name or an executable bit differs", async () => {
    const digests = await Promise.all(
      [{ a: "1" }, { a: "2" }, { b: "1" }, { "a*": "1" }].map(async (files) => (await receive(await folderTar(files))).digest),
    );
    expect(new Set(digests).size).toBe(4);
  });
  it("keeps long and foreign names, empty files, large files and hard links", async () => {
    const long = `${"deep/".repeat(60)}${"名".repeat(40)}.txt`;
    const big = Buffer.alloc(9 * 1024 * 1024, "0123456789abcdef");
    const received = await receive(
      await tarball([
        { name: long, body: "x" },
        { name: "empty", body: "" },
        { name: "big", body: big },
        { name: "again", type: "link", linkname: "big" },
        { name: "l", type: "symlink", linkname: long },
      ]),
    );
    const found = new Map((await stored(received.digest)).map((entry) => [entry.name, entry]));
    expect(found.get(long)?.content).toBe("x");
    expect(found.get("empty")?.content).toBe("");
    expect(found.get("big")?.content).toBe(big.toString());
    expect(found.get("again")?.content).toBe(big.toString());
    expect(found.get("l")?.content).toBe(long);
    expect(await readdir(join(dir, "tmp"))).toEqual([]);
  });
  it("takes an archive that arrives byte by byte", async () => {
    const data = gzipSync(await folderTar({ a: "x" }));
    expect((await receive(streamOf(data, 1))).files).toBe(1);
  });
});

const attacks: [string, Entry[], RegExp][] = [
  ["a name with ..", [{ name: "../evil", body: "x" }], /leads out/],
  ["an absolute name", [{ name: "/etc/evil", body: "x" }], /absolute/],
  ["an absolute link", [{ name: "x", type: "symlink", linkname: "/etc/passwd" }], /absolute/],
  ["a link out of the tree", [{ name: "x", type: "symlink", linkname: "../../etc" }], /leads out/],
  [
    "a file through a link",
    [
      { name: "x", type: "symlink", linkname: "." },
      { name: "x/y", body: "z" },
    ],
    /not a folder/,
  ],
  [
    "a way out through two links",
    [
      { name: "a/b/up", type: "symlink", linkname: "../.." },
      { name: "x", type: "symlink", linkname: "a/b/up/.." },
    ],
    /leads out/,
  ],
  ["a hard link to a file outside", [{ name: "x", type: "link", linkname: "/etc/shadow" }], /absolute/],
  ["a hard link through ..", [{ name: "x", type: "link", linkname: "../shadow" }], /leads out/],
  ["a hard link to nothing", [{ name: "x", type: "link", linkname: "later" }], /no file/],
  ["a device", [{ name: "x", type: "block-device", devmajor: 8, devminor: 0 }], /device/],
  ["a named pipe", [{ name: "x", type: "fifo" }], /pipe/],
  [
    "the same name twice",
    [
      { name: "x", body: "1" },
      { name: "x", body: "2" },
    ],
    /twice/,
  ],
  ["a name in a pax header with NUL", [{ name: "x", body: "1", pax: { path: "a\0b" } }], /NUL/],
  ["a name in a pax header with ..", [{ name: "x", body: "1", pax: { path: "../../x" } }], /leads out/],
];

describe("what is refused, without a trace", () => {
  it.each(attacks)("%s", async (_, entries, reason) => {
    expect(await refusalOf(receive(await tarball([{ name: "ok", body: "fine" }, ...entries, { name: "after", body: "fine" }])))).toMatch(
      reason,
    );
    await nothingIsLeft();
  });
  it("names that are not UTF-8", async () => {
    const data = await folderTar({ abcd: "x" });
    data.write("\xff\xfe", 1, "latin1");
    mendChecksum(data);
    expect(await refusalOf(receive(data))).toMatch(/UTF-8/);
    await nothingIsLeft();
  });
  it.each<[string, Buffer, RegExp]>([
    ["nothing at all", Buffer.alloc(0), /empty/],
    ["a zip file", Buffer.from("PK\u0003\u0004 and so on"), /zip/],
    ["noise", Buffer.alloc(4096, "noise!"), /not a tar/],
    ["damaged gzip", Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(2000, 0xaa)]), /damaged/],
    ["damaged zstd", Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.alloc(2000, 0xaa)]), /damaged/],
  ])("%s", async (_, data, reason) => {
    expect(await refusalOf(receive(data))).toMatch(reason);
    await nothingIsLeft();
  });
  it("archives that are cut short, wherever", async () => {
    const data = await folderTar({ a: "x".repeat(3000), b: "y" });
    for (const length of [100, 512, 1000, 3584, 4096, 4608])
      expect(await refusalOf(receive(data.subarray(0, length)))).toMatch(/cut short|not a tar/);
    const zeros = await folderTar({ a: Buffer.alloc(4096), b: "y" });
    expect(await refusalOf(receive(zeros.subarray(0, 512 + 4096)))).toMatch(/cut short/);
    for (const cut of [10, 60]) expect(await refusalOf(receive(gzipSync(data).subarray(0, -cut)))).toMatch(/damaged|cut short/);
    await nothingIsLeft();
  });
  it("bombs: by ratio, by size, by number, in either compression", async () => {
    const zeros = await folderTar({ zeros: Buffer.alloc(48 * 1024 * 1024) });
    expect(await refusalOf(receive(gzipSync(zeros)))).toMatch(/200 times/);
    expect(await refusalOf(receive(zstdCompressSync(zeros)))).toMatch(/200 times/);
    const small: ArchiveLimits = { ...sourceLimits, files: 50, totalBytes: 10_000, fileBytes: 8000 };
    expect(await refusalOf(receive(await folderTar({ a: "x".repeat(9000) }), small))).toMatch(/8000/);
    expect(await refusalOf(receive(await folderTar({ a: "x".repeat(6000), b: "x".repeat(6000) }), small))).toMatch(/10000/);
    expect(
      await refusalOf(
        receive(
          await tarball([
            { name: "a", body: "x".repeat(6000) },
            { name: "b", type: "link", linkname: "a" },
          ]),
          small,
        ),
      ),
    ).toMatch(/10000/);
    expect(
      await refusalOf(
        receive(await folderTar(Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`f${String(index)}`, ""]))), small),
      ),
    ).toMatch(/50 entries/);
    expect(await refusalOf(receive(Buffer.concat([await folderTar({ a: "" }), Buffer.alloc(2_000_000)]), small))).toMatch(/larger/);
    await nothingIsLeft();
  });
});

describe("what is broken off", () => {
  it("leaves nothing behind when the sender goes away, and says so", async () => {
    const body = new PassThrough();
    const receiving = receive(body);
    body.write((await folderTar({ a: "x".repeat(20_000) })).subarray(0, 10_000));
    body.destroy(Object.assign(new Error("aborted"), { code: "ECONNRESET" }));
    await expect(receiving).rejects.toMatchObject({ code: "client_closed" });
    await nothingIsLeft();
  });
  it("leaves nothing behind when it is cancelled, even past what memory holds", async () => {
    const body = new PassThrough();
    const abort = new AbortController();
    const reason = new Error("enough");
    const receiving = receive(body, sourceLimits, abort.signal);
    const data = await folderTar({ a: Buffer.alloc(20 * 1024 * 1024, "abc"), b: "y" });
    body.write(data.subarray(0, data.length - 5000), () => {
      abort.abort(reason);
    });
    await expect(receiving).rejects.toBe(reason);
    expect(body.destroyed).toBe(true);
    await nothingIsLeft();
  });
  it("passes on what the blob store says, and leaves nothing behind", async () => {
    const full = Object.assign(new Error("disk full"), { code: "ENOSPC" });
    const failing = receiveUpload(
      streamOf(await folderTar({ a: "x" })),
      { blobs: { put: () => Promise.reject(full) }, tmpDir: join(dir, "tmp") },
      never,
    );
    await expect(failing).rejects.toBe(full);
    await nothingIsLeft();
  });
});

describe("readSourceTree", () => {
  it("lists all files and loads only the texts that are asked for", async () => {
    const { digest } = await receive(
      await tarball([
        { name: "package.json", body: "{}" },
        { name: "sub/package.json", body: "sub" },
        { name: "src/index.js", body: "code" },
        { name: "big/package.json", body: "x".repeat(300 * 1024) },
        { name: "bin/package.json", body: "a\0b" },
        { name: "linked/package.json", type: "symlink", linkname: "../sub/package.json" },
        { name: "dangling", type: "symlink", linkname: "nowhere" },
      ]),
    );
    const tree = await readSourceTree(blobs, digest, (path) => path.endsWith("package.json"), never);
    expect([...tree.files].sort()).toEqual([
      "big/package.json",
      "bin/package.json",
      "linked/package.json",
      "package.json",
      "src/index.js",
      "sub/package.json",
    ]);
    expect(tree.read("package.json")).toBe("{}");
    expect(tree.read("linked/package.json")).toBe("sub");
    for (const path of ["src/index.js", "big/package.json", "bin/package.json", "nowhere"]) expect(tree.read(path)).toBeUndefined();
  });
  it("says so when the source is not stored", async () => {
    await expect(readSourceTree(blobs, `sha256:${"0".repeat(64)}`, () => true, never)).rejects.toMatchObject({ code: "not_found" });
  });
});
