// Bundles on a real disk: unpacked whole or not at all, never outside their folder; and tools found as the user who runs them.
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { pack, type Pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pruneReleases, unpackBundle } from "./bundle.ts";
import { removeTree } from "../../os/remove.ts";
import { findTool, toolFolder } from "./tools.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "berth-bundle-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});
const signal = new AbortController().signal;
const root = process.getuid?.() === 0;

async function tar(entries: readonly (readonly [Parameters<Pack["entry"]>[0], string?])[]): Promise<Buffer> {
  const archive = pack();
  for (const [header, text] of entries) archive.entry(header, text ?? "");
  archive.finalize();
  return buffer(archive);
}
const open = (bytes: Buffer) => (): Promise<Readable> =>
  Promise.resolve(Readable.from([bytes.subarray(0, 7), bytes.subarray(7)], { objectMode: false }));
const good: readonly (readonly [Parameters<Pack["entry"]>[0], string?])[] = [
  [{ name: "bin/run", mode: 0o755 }, "#!/bin/sh\n"],
  [{ name: "big.bin", mode: 0o600 }, "x".repeat(600_000)],
  [{ name: "latest", type: "symlink", linkname: "bin/run" }],
  [{ name: "a/b/c.txt" }, "deep"],
];

describe("bundles", () => {
  it("are unpacked as they were packed, compressed or not, to whom they belong", async () => {
    const bytes = await tar(good);
    for (const [name, packed] of [
      ["plain", bytes],
      ["gzip", gzipSync(bytes)],
      ["zstd", zstdCompressSync(bytes)],
    ] as const) {
      const target = join(dir, name);
      await unpackBundle(open(packed), target, root ? { uid: 12_345, gid: 12_345 } : undefined, signal);
      expect(readFileSync(join(target, "latest"), "utf8")).toBe("#!/bin/sh\n");
      expect(statSync(join(target, "bin/run")).mode & 0o777).toBe(0o755);
      expect(statSync(join(target, "big.bin")).size).toBe(600_000);
      expect(statSync(target).mode & 0o777).toBe(0o750);
      if (root) for (const path of [".", "a", "a/b/c.txt", "big.bin", "latest"]) expect(lstatSync(join(target, path)).uid).toBe(12_345);
    }
    expect(readdirSync(dir).sort()).toEqual(["gzip", "plain", "zstd"]);
  });

  it("are there whole or not at all", async () => {
    const bytes = zstdCompressSync(await tar(good));
    await expect(unpackBundle(open(bytes.subarray(0, bytes.length - 20)), join(dir, "cut"), undefined, signal)).rejects.toThrow();
    await expect(unpackBundle(() => Promise.reject(new Error("not stored")), join(dir, "cut"), undefined, signal)).rejects.toThrow(
      "not stored",
    );
    expect(readdirSync(dir)).toEqual([]);
    await Promise.all([1, 2, 3].map(() => unpackBundle(open(bytes), join(dir, "once"), undefined, signal)));
    expect(readdirSync(dir)).toEqual(["once"]);
  });

  it("never reach outside their folder", async () => {
    const attacks: readonly (readonly (readonly [Parameters<Pack["entry"]>[0], string?])[])[] = [
      [[{ name: "../out.txt" }, "x"]],
      [[{ name: "/tmp/berth-out.txt" }, "x"]],
      [[{ name: "l", type: "symlink", linkname: "../../out" }]],
      [[{ name: "l", type: "symlink", linkname: "/etc" }], [{ name: "l/out.txt" }, "x"]],
      [[{ name: "h", type: "link", linkname: "../../etc/passwd" }]],
      [[{ name: "d", type: "character-device", devmajor: 1, devminor: 3 }]],
      [[{ name: "f", type: "fifo" }]],
    ];
    for (const attack of attacks) {
      await expect(
        unpackBundle(
          () => tar(attack).then((bytes) => Readable.from([bytes], { objectMode: false })),
          join(dir, "in", "target"),
          undefined,
          signal,
        ),
        JSON.stringify(attack),
      ).rejects.toThrow();
    }
    expect(existsSync("/tmp/berth-out.txt")).toBe(false);
    expect(existsSync(join(dir, "out.txt"))).toBe(false);
  });

  it("go when nobody needs them, the newest and the used ones last", async () => {
    for (let age = 0; age < 6; age += 1) {
      mkdirSync(join(dir, `r${age}`));
      utimesSync(join(dir, `r${age}`), 1_000 - age, 1_000 - age);
    }
    await pruneReleases(dir, new Set(["sha256:r5"]), 2, 10_000_000_000);
    expect(readdirSync(dir).sort()).toEqual(["r0", "r1", "r5"]);
    await pruneReleases(dir, new Set(), 2, 1_000_000);
    expect(readdirSync(dir).sort()).toEqual(["r0", "r1", "r5"]);
  });

  it("are removed without following a link", async () => {
    mkdirSync(join(dir, "keep"));
    writeFileSync(join(dir, "keep", "file"), "");
    mkdirSync(join(dir, "tree"));
    symlinkSync("../keep", join(dir, "tree", "link"));
    await removeTree(join(dir, "tree"));
    await removeTree(join(dir, "tree"));
    expect(readdirSync(join(dir, "keep"))).toEqual(["file"]);
    expect(existsSync(join(dir, "tree"))).toBe(false);
  });
});

describe("tools", () => {
  const fake = (folder: string, name: string, version: string, mode = 0o755): void => {
    mkdirSync(join(dir, folder), { recursive: true });
    writeFileSync(join(dir, folder, name), `#!/bin/sh\necho "Tool ${version}"\n`, { mode });
  };

  it("are found by version, the plain name first", async () => {
    fake("a", "python3", "3.8.1");
    fake("a", "python3.12", "3.12.4");
    const path = [join(dir, "a")];
    expect(await findTool("python", ">=3.10 <3.13", { path })).toMatchObject({
      found: { path: join(dir, "a", "python3.12"), version: "3.12.4" },
    });
    expect(await findTool("python", "*", { path })).toMatchObject({ found: { version: "3.8.1" } });
    expect(await findTool("python", "3.99", { path })).toMatchObject({ failure: { code: "tool_version", params: { wanted: "3.99" } } });
    expect(await findTool("no-such-tool", ">=1", { path })).toMatchObject({
      failure: { code: "tool_missing", params: { tool: "no-such-tool", wanted: " >=1" } },
    });
  });

  it.runIf(root)("as root: are not found where their user cannot execute them", async () => {
    fake("private", "poetry", "9.9.9");
    execFileSync("chmod", ["700", dir]);
    expect(await findTool("poetry", ">=9.9", { path: [join(dir, "private")] })).toHaveProperty("found");
    expect(await findTool("poetry", ">=9.9", { path: [join(dir, "private")], runAs: { uid: 12_345, gid: 12_345 } })).toHaveProperty(
      "failure",
    );
    // A program that needs no interpreter to read it: what drops its rights must not reach it with the rights it still has.
    copyFileSync("/usr/bin/env", join(dir, "private", "uv"));
    expect(await findTool("uv", "*", { path: [join(dir, "private")], usual: [] })).toHaveProperty("found");
    expect(await findTool("uv", "*", { path: [join(dir, "private")], usual: [], runAs: { uid: 12_345, gid: 12_345 } })).toHaveProperty(
      "failure",
    );
  });

  it("behind rustup are those of its toolchains, since rustup itself would look for them in a home that builds do not have", async () => {
    fake(".cargo/bin", "rustup", "1.28.0");
    symlinkSync("rustup", join(dir, ".cargo/bin/cargo"));
    fake(".rustup/toolchains/nightly-x/bin", "cargo", "1.99.0");
    fake(".rustup/toolchains/stable-x/bin", "cargo", "1.90.0");
    const path = [join(dir, ".cargo/bin")];
    expect(await findTool("rust", "*", { path, usual: [] })).toMatchObject({
      found: { path: join(dir, ".rustup/toolchains/stable-x/bin/cargo"), version: "1.90.0" },
    });
    expect(await findTool("rust", ">=1.95", { path, usual: [] })).toMatchObject({ found: { version: "1.99.0" } });
  });

  it("behind a version manager are its versions: the one that the machine's owner chose, and another where a project asks for it", async () => {
    for (const name of ["python", "python3", "python3.13"]) fake(".pyenv/shims", name, "0.0.0");
    for (const version of ["3.9.18", "3.11.7", "3.13.0"]) fake(`.pyenv/versions/${version}/bin`, "python", version);
    fake("usr", "python3", "3.8.1");
    const search = { path: [join(dir, ".pyenv/shims"), join(dir, "usr")], usual: [] };
    // Nobody chose: the newest.
    expect(await findTool("python", "*", search)).toMatchObject({ found: { version: "3.13.0" } });
    writeFileSync(join(dir, ".pyenv/version"), "3.11.7\n");
    expect(await findTool("python", "*", search)).toMatchObject({ found: { path: join(dir, ".pyenv/versions/3.11.7/bin/python") } });
    expect(await findTool("python", "<3.11", search)).toMatchObject({ found: { version: "3.8.1" } });
    expect(await findTool("python", ">=3.12", search)).toMatchObject({ found: { version: "3.13.0" } });
    writeFileSync(join(dir, ".pyenv/version"), "system\n");
    expect(await findTool("python", "*", search)).toMatchObject({ found: { path: join(dir, "usr/python3") } });
    expect(await findTool("python", "~3.9.0", search)).toMatchObject({ found: { version: "3.9.18" } });
  });

  it("behind asdf, mise and Volta, too", async () => {
    fake(".asdf/shims", "ruby", "0.0.0");
    for (const version of ["3.2.10", "3.2.9", "3.3.1"]) fake(`.asdf/installs/ruby/${version}/bin`, "ruby", version);
    const asdf = { path: [join(dir, ".asdf/shims")], usual: [] };
    expect(await findTool("ruby", "~3.2.0", asdf)).toMatchObject({ found: { version: "3.2.10" } });
    writeFileSync(join(dir, ".tool-versions"), "nodejs 22.1.0\nruby 3.2.9 # the old one\n");
    expect(await findTool("ruby", "*", asdf)).toMatchObject({ found: { version: "3.2.9" } });

    fake(".volta/bin", "volta-shim", "0.0.0");
    symlinkSync("volta-shim", join(dir, ".volta/bin/pnpm"));
    fake(".volta/tools/image/pnpm/10.1.0/bin", "pnpm", "10.1.0");
    expect(await findTool("pnpm", "*", { path: [join(dir, ".volta/bin")], usual: [] })).toMatchObject({ found: { version: "10.1.0" } });
  });

  it("are taken as they are where a version manager keeps its versions elsewhere", async () => {
    fake("far/shims", "ruby", "3.1.0");
    fake("near/bin", "rustup", "1.70.0");
    symlinkSync("rustup", join(dir, "near/bin/cargo"));
    expect(await findTool("ruby", "*", { path: [join(dir, "far/shims")], usual: [] })).toMatchObject({ found: { version: "3.1.0" } });
    expect(await findTool("rust", "*", { path: [join(dir, "near/bin")], usual: [] })).toMatchObject({ found: { version: "1.70.0" } });
  });

  it("offer Berth's own Node.js when the machine has none that fits, and one folder holds exactly the tool", async () => {
    execFileSync("chmod", ["755", dir]);
    const answer = await findTool("node", process.versions.node, {
      path: [],
      runtimeDir: join(dir, "runtime"),
      ...(root ? { runAs: { uid: 12_345, gid: 12_345 } } : {}),
    });
    if (!("found" in answer)) throw new Error(answer.failure.code);
    const folder = toolFolder(join(dir, "runtime"), answer.found);
    expect(execFileSync(join(folder, "node"), ["--version"]).toString().trim()).toBe(`v${process.versions.node}`);
    expect(toolFolder(join(dir, "runtime"), answer.found)).toBe(folder);
  });
});
