// What may be part of a source: every way out of the tree is refused, and the canonical order does not depend on how entries arrived.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArchiveTree, checkEntry, comparePaths, entryPath, sourceLimits, type ArchiveItem } from "./archive.ts";
import { BerthError } from "./errors.ts";

const file = (path: string, size = 0): ArchiveItem => ({ type: "file", path, size, executable: false });
const link = (path: string, target: string): ArchiveItem => ({ type: "symlink", path, target });

function finish(items: readonly ArchiveItem[]): ArchiveItem[] {
  const tree = new ArchiveTree(sourceLimits);
  for (const item of items) tree.add(item);
  return tree.finish();
}
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof BerthError && error.code === "archive_refused") return String(error.params["reason"]);
    throw error;
  }
  return "accepted";
}

describe("names", () => {
  it.each([
    ["../x", /leads out/],
    ["a/../../x", /leads out/],
    ["a/..", /leads out/],
    ["/etc/passwd", /absolute/],
    ["a\0b", /NUL/],
    ["a\u{FFFD}", /UTF-8/],
    ["", /no name/],
    [`${"a".repeat(256)}`, /too long/],
    [`${"a/".repeat(1025)}b`, /too long/],
  ])("refuses %j", (name, reason) => {
    expect(refusal(() => entryPath(name))).toMatch(reason);
  });
  it.each([
    ["./a/b", "a/b"],
    ["a//b/", "a/b"],
    [".", "."],
    ["./", "."],
    ["...", "..."],
    ["a/..b", "a/..b"],
    ["文件.txt", "文件.txt"],
    ["a\\b", "a\\b"],
  ])("takes %j as %j", (name, path) => {
    expect(entryPath(name)).toBe(path);
  });
  it("never repeats control characters or endless names in a refusal", () => {
    const reason = refusal(() => entryPath(`/${"x".repeat(5000)}\u001b[31m`));
    expect(reason.length).toBeLessThan(200);
    expect(reason).not.toMatch(/\p{Cc}/u);
  });
});

describe("links", () => {
  it.each<[string, ArchiveItem[]]>([
    ["a plain way out", [link("x", "../y")]],
    ["a way out from a folder", [link("a/b", "../../y")]],
    ["a way out through another link", [link("d/e/up", "../.."), link("x", "d/e/up/../y")]],
    ["a way out through a link to the root", [link("here", "."), link("x", "here/here/../etc")]],
    [
      "a way out that only looks like staying",
      [{ type: "directory", path: "a/b/c" }, link("deep", "a/b/c"), link("x", "deep/../../../../y")],
    ],
  ])("refuses %s", (_, items) => {
    expect(refusal(() => finish(items))).toMatch(/leads out/);
  });
  it.each<[string, ArchiveItem[]]>([
    ["links within the tree", [file("a/f"), link("b/l", "../a/f")]],
    ["a link to the root itself", [link("a/root", "..")]],
    ["a dangling link", [link("x", "nowhere/at/all")]],
    ["a loop, which the kernel refuses to follow", [link("x", "y"), link("y", "x")]],
  ])("takes %s", (_, items) => {
    expect(refusal(() => finish(items))).toBe("accepted");
  });
  it("gives up on links that would take for ever to follow", () => {
    const items = Array.from({ length: 3000 }, (_, index) =>
      link(`l${String(index)}`, `${"d/../".repeat(380)}l${String((index + 1) % 3000)}`),
    );
    expect(refusal(() => finish([{ type: "directory", path: "d" }, ...items]))).toMatch(/too many and too deep/);
  });
});

describe("trees", () => {
  it("refuses a file below a link or a file, whichever came first", () => {
    expect(refusal(() => finish([link("a", "b"), file("a/x")]))).toMatch(/not a folder/);
    expect(refusal(() => finish([file("a/b/c/x"), file("a/b")]))).toMatch(/not a folder/);
  });
  it("refuses a second entry of the same name", () => {
    expect(refusal(() => finish([file("a"), file("a")]))).toMatch(/twice/);
    expect(refusal(() => finish([file("a"), link("a", "b")]))).toMatch(/twice/);
  });
  it("counts copies with the size of what they copy, however long the chain", () => {
    const tree = new ArchiveTree({ ...sourceLimits, totalBytes: 1000 });
    tree.add(file("f", 400));
    tree.add({ type: "copy", path: "g", of: "f" });
    expect(
      refusal(() => {
        tree.add({ type: "copy", path: "h", of: "g" });
      }),
    ).toMatch(/1000 bytes/);
    const long = new ArchiveTree(sourceLimits);
    long.add(file("c0", 1));
    for (let index = 1; index < 20_000; index += 1) long.add({ type: "copy", path: `c${String(index)}`, of: `c${String(index - 1)}` });
    expect(long.bytes).toBe(20_000);
    expect(
      refusal(() => {
        long.add({ type: "copy", path: "z", of: "nothing" });
      }),
    ).toMatch(/no file/);
  });
  it("bounds the folders that names imply", () => {
    const tree = new ArchiveTree({ ...sourceLimits, files: 1000 });
    for (let index = 0; index < 20; index += 1) tree.add(file(`${String(index)}/${"d/".repeat(200)}f`));
    expect(refusal(() => tree.finish())).toMatch(/1000 entries/);
  });
  it("gives the same items in the same order however they arrived, each folder before what is in it", () => {
    const name = fc.constantFrom("a", "b", "a.b", "a-b", "a b", "é", "Z");
    const paths = fc.uniqueArray(
      fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => `${parts.join("/")}/file`),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(
        paths.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        ([list, shuffled]) => {
          const one = finish(list.map((path) => file(path)));
          expect(finish(shuffled.map((path) => file(path)))).toEqual(one);
          const seen = new Set<string>();
          for (const item of one) {
            const parent = item.path.split("/").slice(0, -1).join("/");
            expect(parent === "" || seen.has(parent)).toBe(true);
            seen.add(item.path);
          }
          expect([...one].sort((a, b) => comparePaths(a.path, b.path))).toEqual(one);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("kinds", () => {
  const raw = { name: "x", size: 0, mode: 0o644, linkname: undefined, pax: undefined };
  it.each([
    ["character-device", /device/],
    ["block-device", /device/],
    ["fifo", /pipe/],
    [undefined, /unknown/],
  ])("refuses %s", (type, reason) => {
    expect(refusal(() => checkEntry({ ...raw, type }, sourceLimits))).toMatch(reason);
  });
  it("refuses sparse files, absolute links and sizes out of bounds", () => {
    expect(refusal(() => checkEntry({ ...raw, type: "file", pax: { "GNU.sparse.major": "1" } }, sourceLimits))).toMatch(/sparse/);
    expect(refusal(() => checkEntry({ ...raw, type: "symlink", linkname: "/etc/passwd" }, sourceLimits))).toMatch(/absolute/);
    expect(
      refusal(() => checkEntry({ ...raw, type: "symlink", linkname: "/usr/bin/python3" }, { ...sourceLimits, absoluteLinks: true })),
    ).toBe("accepted");
    expect(refusal(() => checkEntry({ ...raw, type: "file", size: sourceLimits.fileBytes + 1 }, sourceLimits))).toMatch(/larger/);
    expect(refusal(() => checkEntry({ ...raw, type: "file", size: -1 }, sourceLimits))).toMatch(/not valid/);
  });
});
