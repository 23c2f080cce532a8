import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { extract } from "tar-stream";
import { afterEach, describe, expect, it } from "vitest";
import { archiveOf } from "./archive.ts";
import { gitFacts } from "./git.ts";
import { walk, type Packing } from "./walk.ts";

const folders: string[] = [];
function project(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "berth-pack-"));
  folders.push(folder);
  write(folder, files);
  return folder;
}
function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}
function git(folder: string, ...args: string[]): string {
  return execFileSync(
    "git",
    ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", ...args],
    { cwd: folder, encoding: "utf8", env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" } },
  );
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;
const paths = async (folder: string): Promise<string[]> =>
  (await walk(folder, never)).entries.map((entry) => (entry.type === "directory" ? `${entry.path}/` : entry.path));
const bytesOf = (packing: Packing, near = true): Promise<Buffer> => buffer(archiveOf(packing, { near, onFailure: () => undefined }).body());

interface Unpacked {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly mtime: number;
  readonly linkname: string | null;
  readonly text: string;
}
async function unpack(tar: Buffer): Promise<Unpacked[]> {
  const found: Unpacked[] = [];
  const reader = extract();
  Readable.from([tar]).pipe(reader as unknown as NodeJS.WritableStream);
  for await (const entry of reader) {
    const pieces: Buffer[] = [];
    for await (const piece of entry) pieces.push(piece as Buffer);
    const { name, type, mode, mtime, linkname } = entry.header;
    found.push({
      name,
      type: type ?? "",
      mode: mode ?? 0,
      mtime: mtime?.getTime() ?? 0,
      linkname: linkname ?? null,
      text: Buffer.concat(pieces).toString("utf8"),
    });
  }
  return found;
}

describe("what is left out", () => {
  it("is .git, node_modules, and what .gitignore files of every level name", async () => {
    const folder = project({
      ".gitignore": "*.log\n/dist/\nsecret*\n!secret.example\n",
      "a.txt": "",
      "a.log": "",
      "dist/x.js": "",
      "sub/dist/kept.js": "",
      "secret.env": "",
      "secret.example": "",
      "node_modules/x/index.js": "",
      "sub/node_modules/y.js": "",
      "sub/.gitignore": "!b.log\ntmp\n",
      "sub/b.log": "",
      "sub/c.log": "",
      "sub/tmp/x": "",
      "deep/er/.gitignore": "*\n!keep\n",
      "deep/er/keep": "",
      "deep/er/gone": "",
    });
    expect(await paths(folder)).toEqual([
      ".gitignore",
      "a.txt",
      "deep/er/keep",
      "secret.example",
      "sub/.gitignore",
      "sub/b.log",
      "sub/dist/kept.js",
    ]);
  });

  it("is decided by .berthignore where it says something, in both directions", async () => {
    const folder = project({
      ".gitignore": "dist/\n*.map\n",
      ".berthignore": "!dist/\n*.md\nnode_modules\n!node_modules\n",
      "README.md": "",
      "x.map": "",
      "dist/app.js": "",
      "dist/app.js.map": "",
      "dist/notes.md": "",
      "node_modules/z.js": "",
      "index.js": "",
    });
    expect(await paths(folder)).toEqual([".berthignore", ".gitignore", "dist/app.js", "dist/app.js.map", "index.js"]);
  });

  it("follows the .gitignore files above, inside of one work tree, unless the folder itself is ignored and was asked for", async () => {
    const folder = project({ ".gitignore": "*.tmp\nbuild/\n", "api/x.tmp": "", "api/main.py": "", "build/out.js": "", "build/y.tmp": "" });
    git(folder, "init", "-q");
    expect(await paths(join(folder, "api"))).toEqual(["main.py"]);
    expect(await paths(join(folder, "build"))).toEqual(["out.js", "y.tmp"]);
  });

  it("is not what git tracks, although a rule names it", async () => {
    const folder = project({ ".gitignore": "*.gen\nvendor/\n", "kept.gen": "", "other.gen": "", "vendor/lib/a.js": "", "vendor/b.js": "" });
    git(folder, "init", "-q");
    git(folder, "add", "-f", "kept.gen", "vendor/lib/a.js", ".gitignore");
    expect(await paths(folder)).toEqual([".gitignore", "kept.gen", "vendor/lib/a.js"]);
  });

  it("is the same that git leaves out, whatever the rules are", async () => {
    const name = fc.constantFrom("a", "b", "c.log", "d");
    const pattern = fc.constantFrom(
      "a",
      "b/",
      "*.log",
      "/a",
      "a/b",
      "**/d",
      "!a",
      "!c.log",
      "d/**",
      "!d/a",
      "/*",
      "a/*",
      "#x",
      "b ",
      "[ab]",
      "!/a/b",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(name, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 10 }),
        fc.array(pattern, { maxLength: 5 }),
        fc.array(pattern, { maxLength: 3 }),
        async (files, rules, inner) => {
          const folder = project({ ".gitignore": rules.join("\n") });
          for (const steps of files) {
            // A name that is a file already cannot become a folder.
            try {
              write(folder, { [steps.join("/")]: "" });
            } catch (error) {
              expect((error as NodeJS.ErrnoException).code).toMatch(/ENOTDIR|EEXIST|EISDIR/);
            }
          }
          mkdirSync(join(folder, "z"));
          write(folder, { "z/.gitignore": inner.join("\n"), "z/a": "", "z/d/a": "" });
          git(folder, "init", "-q");
          const wanted = git(folder, "ls-files", "--cached", "--others", "--exclude-standard")
            .split("\n")
            .filter((path) => path !== "")
            .sort();
          expect((await paths(folder)).filter((path) => !path.endsWith("/"))).toEqual(wanted);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("is every link that leads out of the folder; those inside go along, made relative", async () => {
    const folder = project({ "src/a.js": "x", "data/b": "y" });
    symlinkSync("../data/b", join(folder, "src/inside"));
    symlinkSync(join(folder, "data"), join(folder, "src/absolute"));
    symlinkSync("/etc/passwd", join(folder, "src/passwd"));
    symlinkSync("../../elsewhere", join(folder, "src/up"));
    symlinkSync("/etc", join(folder, "etc"));
    symlinkSync("etc/passwd", join(folder, "through"));
    const packing = await walk(folder, never);
    expect(packing.leftOut).toEqual(["etc", "src/passwd", "src/up", "through"]);
    expect(packing.entries.filter((entry) => entry.type === "symlink")).toEqual([
      { type: "symlink", path: "src/absolute", target: "../data" },
      { type: "symlink", path: "src/inside", target: "../data/b" },
    ]);
  });
});

describe("an archive", () => {
  const files = {
    "b.txt": "two",
    "a/z.js": "one",
    "a/empty": "",
    [`${"long/".repeat(40)}name.txt`]: "deep",
    "ü/ß.txt": "umlaut",
    "big.bin": "x".repeat(3 * 1024 * 1024),
    "run.sh": "#!/bin/sh\n",
  };

  it("has the same bytes for the same files, whenever and wherever they were written", async () => {
    const digests = [];
    for (const order of [Object.entries(files), Object.entries(files).toReversed()]) {
      const folder = project(Object.fromEntries(order));
      chmodSync(join(folder, "run.sh"), order[0]?.[0] === "b.txt" ? 0o700 : 0o775);
      chmodSync(join(folder, "b.txt"), order[0]?.[0] === "b.txt" ? 0o600 : 0o664);
      utimesSync(join(folder, "b.txt"), 1000 * digests.length, 1000 * digests.length);
      digests.push(
        createHash("sha256")
          .update(await bytesOf(await walk(folder, never)))
          .digest("hex"),
      );
    }
    expect(digests[0]).toBe(digests[1]);
  });

  it("holds every file with its content, and nothing of who and when", async () => {
    const folder = project(files);
    mkdirSync(join(folder, "hollow/inner"), { recursive: true });
    chmodSync(join(folder, "run.sh"), 0o755);
    const found = await unpack(await bytesOf(await walk(folder, never)));
    expect(Object.fromEntries(found.filter((entry) => entry.type === "file").map((entry) => [entry.name, entry.text]))).toEqual(files);
    expect(found.filter((entry) => entry.type === "directory").map((entry) => entry.name)).toEqual(["hollow/inner/"]);
    expect(new Set(found.map((entry) => entry.mtime))).toEqual(new Set([0]));
    expect(found.filter((entry) => entry.mode === 0o755 && entry.type === "file").map((entry) => entry.name)).toEqual(["run.sh"]);
  });

  it("is compressed for a server elsewhere when there is something to gain", async () => {
    const packing = await walk(project(files), never);
    expect(archiveOf(packing, { near: false, onFailure: () => undefined }).contentType).toBe("application/gzip");
    expect(gunzipSync(await bytesOf(packing, false)).equals(await bytesOf(packing, true))).toBe(true);
    expect(archiveOf(await walk(project({ a: "x" }), never), { near: false, onFailure: () => undefined }).contentType).toBe(
      "application/x-tar",
    );
  });

  it("breaks off with a reason when a file disappears meanwhile, and does not follow a link that took its place", async () => {
    for (const spoil of [
      (path: string) => {
        rmSync(path);
      },
      (path: string) => {
        renameSync(path, `${path}.old`);
        symlinkSync("/etc/passwd", path);
      },
    ]) {
      const folder = project({ a: "1", b: "2" });
      const packing = await walk(folder, never);
      spoil(join(folder, "b"));
      const failures: unknown[] = [];
      const text = await buffer(
        archiveOf(packing, {
          near: true,
          onFailure: (error) => {
            failures.push(error);
          },
        }).body(),
      ).catch((error: unknown) => error);
      expect(text).toBeInstanceOf(Error);
      expect(String(failures[0])).toContain("b could not be sent");
    }
  });
});

describe("what git knows", () => {
  it("is the revision, its author and message, the branch, and whether files differ", async () => {
    const folder = project({ "a.txt": "1", "sub/b.txt": "" });
    expect(await gitFacts(folder)).toEqual({});
    git(folder, "init", "-q");
    expect(await gitFacts(folder)).toEqual({});
    git(folder, "add", ".");
    git(folder, "commit", "-q", "-m", "First words\n\nMore of them");
    const revision = git(folder, "rev-parse", "HEAD").trim();
    expect(await gitFacts(folder)).toEqual({
      revision,
      author: "Ada <ada@example.com>",
      message: "First words",
      dirty: false,
      ref: "main",
    });
    write(folder, { "a.txt": "2" });
    expect(await gitFacts(folder)).toMatchObject({ dirty: true });
    expect(await gitFacts(join(folder, "sub"))).toMatchObject({ revision, dirty: false });
  });
});
