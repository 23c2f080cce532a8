// Real git over file and http (and ssh where this machine has a server): what is fetched, what is refused, and that credentials show nowhere.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { renderCause } from "@berth/contract/causes.ts";
import { findProcesses } from "../process.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { git, serveGit, type GitServer } from "../testing/githttp.ts";
import { never, until } from "../testing/host.ts";
import { readTar } from "../untar.ts";
import { createCheckHost } from "./egress.ts";
import { fetchGit, orRefusal, sweepFetches, type GitDeps, type GitFetch, type GitOutcome } from "./git.ts";
import { readSourceTree } from "./tree.ts";

// Real programs on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000 });

let dir: string;
let repo: string;
let blobs: TestBlobs;
let server: GitServer | undefined;
const isRoot = process.getuid?.() === 0;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "berth-git-"));
  chmodSync(dir, 0o755);
  blobs = await folderBlobs(join(dir, "blobs"));
  repo = join(dir, "repos", "app");
  mkdirSync(join(repo, "sub"), { recursive: true });
  git(repo, "init", "--quiet", "--initial-branch=main");
  writeFileSync(join(repo, "index.js"), "one");
  writeFileSync(join(repo, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  writeFileSync(join(repo, "sub", "file"), "$Format:%H$");
  writeFileSync(join(repo, ".gitattributes"), "sub export-ignore\n*.txt export-subst\nindex.js filter=evil\n");
  symlinkSync("index.js", join(repo, "link"));
  git(repo, "add", ".");
  git(repo, "commit", "--quiet", "-m", "First change\n\nwith a body");
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(dir, { recursive: true, force: true });
});

function deps(changes: Partial<GitDeps> = {}): GitDeps {
  return {
    blobs,
    tmpDir: join(dir, "tmp"),
    checkHost: createCheckHost({ allowLoopback: true }),
    git: "git",
    path: "/usr/local/bin:/usr/bin:/bin",
    passEnv: {},
    allowedFileRoots: [join(dir, "repos")],
    deadline: 120_000,
    runAs: isRoot ? { uid: 61_235, gid: 61_235 } : undefined,
    ...changes,
  };
}
const fetchIt = (request: Partial<GitFetch> = {}, changes: Partial<GitDeps> = {}, signal = never): Promise<GitOutcome> =>
  fetchGit({ url: `file://${repo}`, knownHosts: [], ...request }, deps(changes), signal);
async function names(digest: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { raw } of readTar(await blobs.open(digest), { signal: never })) found.push(raw.name);
  return found;
}
async function nothingIsLeft(): Promise<void> {
  expect(await readdir(join(dir, "tmp")).catch(() => [])).toEqual([]);
}
const codeOf = (outcome: GitOutcome): string => (outcome.ok ? "ok" : outcome.cause.code);

describe("what is fetched", () => {
  it("is every file of the commit as it is, with its revision, author, message and time", async () => {
    const outcome = await fetchIt();
    expect(outcome).toMatchObject({
      ok: true,
      source: {
        ref: "HEAD",
        revision: git(repo, "rev-parse", "HEAD"),
        author: "Test Author <author@example.com>",
        message: "First change\n\nwith a body",
        committedAt: "2024-05-06T05:08:10.000Z",
        files: 5,
        notes: [],
      },
    });
    const { digest } = orRefusal(outcome);
    expect(await names(digest)).toEqual([".gitattributes", "index.js", "link", "run.sh", "sub/", "sub/file"]);
    expect((await readSourceTree(blobs, digest, () => true, never)).read("sub/file")).toBe("$Format:%H$");
    await nothingIsLeft();
  });
  it("is a branch, a tag, an older commit or a folder; and the same files have the same digest wherever they come from", async () => {
    const first = git(repo, "rev-parse", "HEAD");
    git(repo, "tag", "v1");
    git(repo, "tag", "-a", "v1-annotated", "-m", "x");
    writeFileSync(join(repo, "index.js"), "two");
    git(repo, "commit", "--quiet", "-am", "Second");
    git(repo, "branch", "feature/x");
    const digestOf = async (ref?: string): Promise<string> => orRefusal(await fetchIt(ref === undefined ? {} : { ref })).digest;
    const second = await digestOf();
    expect(await digestOf("feature/x")).toBe(second);
    expect(await digestOf("refs/heads/main")).toBe(second);
    expect(await digestOf("v1")).not.toBe(second);
    expect(await digestOf(first)).toBe(await digestOf("v1"));
    expect(await digestOf("v1-annotated")).toBe(await digestOf("v1"));
    expect(orRefusal(await fetchIt({ ref: first })).revision).toBe(first);
    expect(await names(orRefusal(await fetchIt({ subdir: "sub" })).digest)).toEqual(["file"]);
    await expect(fetchIt({ subdir: "nowhere" })).rejects.toMatchObject({ code: "source_refused" });
    await expect(fetchIt({ subdir: "index.js" })).rejects.toMatchObject({ code: "source_refused" });
    await nothingIsLeft();
  });
  it("notes submodules, which are left out", async () => {
    git(repo, "update-index", "--add", "--cacheinfo", `160000,${git(repo, "rev-parse", "HEAD")},vendor/lib`);
    writeFileSync(join(repo, ".gitmodules"), '[submodule "x"]\n\tpath = vendor/lib\n\turl = ext::sh -c "touch /tmp/never"\n');
    git(repo, "add", ".gitmodules");
    git(repo, "commit", "--quiet", "-m", "Submodule");
    expect(orRefusal(await fetchIt()).notes).toEqual([{ code: "submodules_skipped", params: { paths: "vendor/lib" } }]);
  });
  it("takes nothing from the machine's or the server user's configuration, and runs no hook", async () => {
    const marker = join(dir, "ran");
    const evil = join(dir, "evil");
    writeFileSync(evil, `#!/bin/sh\ntouch '${marker}'\n`, { mode: 0o755 });
    for (const hook of ["post-checkout", "reference-transaction", "post-update"]) {
      mkdirSync(join(repo, ".git", "hooks"), { recursive: true });
      writeFileSync(join(repo, ".git", "hooks", hook), `#!/bin/sh\n${evil}\n`, { mode: 0o755 });
    }
    git(repo, "config", "uploadpack.packObjectsHook", evil);
    git(repo, "config", "core.fsmonitor", evil);
    writeFileSync(
      join(dir, ".gitconfig"),
      `[core]\n\tsshCommand = ${evil}\n\tfsmonitor = ${evil}\n[filter "evil"]\n\tsmudge = ${evil}\n[url "ext::${evil}"]\n\tinsteadOf = file://\n`,
    );
    process.env["GIT_CONFIG_GLOBAL"] = join(dir, ".gitconfig");
    try {
      expect(codeOf(await fetchIt({}, { passEnv: { HOME: dir } }))).toBe("ok");
    } finally {
      delete process.env["GIT_CONFIG_GLOBAL"];
    }
    expect(existsSync(marker)).toBe(false);
  });
});

describe("what is refused", () => {
  it("repositories outside the allowed folders, also through links", async () => {
    const outside = join(dir, "private");
    mkdirSync(outside);
    git(outside, "init", "--quiet", "--bare");
    symlinkSync(outside, join(dir, "repos", "link"));
    for (const url of [
      `file://${outside}`,
      outside,
      `file://${repo}/../../private`,
      `file://${join(dir, "repos", "link")}`,
      "file:///nowhere",
    ])
      await expect(fetchIt({ url })).rejects.toMatchObject({ code: "source_refused" });
    await expect(fetchIt({}, { allowedFileRoots: [] })).rejects.toMatchObject({ code: "source_refused" });
    await expect(fetchIt({}, { allowedFileRoots: [`${repo}x`, join(dir, "rep")] })).rejects.toMatchObject({ code: "source_refused" });
  });
  it("this machine's own addresses, unless the operator allows them", async () => {
    server = await serveGit(join(dir, "repos"));
    const strict = { checkHost: createCheckHost({ allowLoopback: false }) };
    for (const url of [
      `${server.url}/app/.git`,
      `http://localhost:${String(server.port)}/app/.git`,
      "http://[::ffff:127.0.0.1]/x",
      "http://169.254.169.254/x",
      "http://2130706433/x",
      "ssh://git@127.0.0.1/x",
      "git@localhost:x",
    ])
      await expect(fetchIt({ url }, strict)).rejects.toMatchObject({ code: "source_refused" });
    expect(server.requests).toEqual([]);
  });
  it("links out of the tree that somebody committed", async () => {
    symlinkSync("/etc/passwd", join(repo, "passwd"));
    git(repo, "add", ".");
    git(repo, "commit", "--quiet", "-m", "Link");
    await expect(fetchIt()).rejects.toMatchObject({ code: "archive_refused" });
    await nothingIsLeft();
    expect(await blobs.list()).toEqual([]);
  });
});

describe("over http", () => {
  it("fetches with a token that shows in no argument, file or answer, and without one says that it needs one", async () => {
    server = await serveGit(join(dir, "repos"), { user: "oauth2", password: "t0ken-of-the-test" });
    const url = `${server.url}/app/.git`;
    const seen: string[] = [];
    server.before = () => {
      seen.push(...commandLines());
      return false;
    };
    const outcome = await fetchIt({ url, credentials: { kind: "token", token: "t0ken-of-the-test" } });
    expect(codeOf(outcome)).toBe("ok");
    expect(seen.some((line) => line.includes("git-remote-http"))).toBe(true);
    expect(seen.join("\n")).not.toContain("t0ken");
    expect(JSON.stringify(outcome)).not.toContain("t0ken");
    for (const credentials of [undefined, { kind: "token", token: "wr0ng-token" } as const]) {
      const failed = await fetchIt(credentials === undefined ? { url } : { url, credentials });
      expect(failed).toMatchObject({ ok: false, cause: { code: "git_auth_failed", params: { url } } });
      expect(JSON.stringify(failed)).not.toContain("wr0ng");
    }
    await nothingIsLeft();
  });
  it("tells a missing repository from a missing ref and from a server that fails", async () => {
    server = await serveGit(join(dir, "repos"));
    const url = `${server.url}/app/.git`;
    expect(await fetchIt({ url: `${server.url}/nothing.git` })).toMatchObject({ ok: false, cause: { code: "git_not_found" } });
    const missing = await fetchIt({ url, ref: "no-such-branch" });
    expect(missing).toMatchObject({ ok: false, cause: { code: "git_not_found", params: { ref: "no-such-branch" } } });
    if (!missing.ok) expect(renderCause(missing.cause).sentence).toContain("no-such-branch");
    expect(codeOf(await fetchIt({ url, ref: "0".repeat(39).concat("1") }))).toBe("git_not_found");
    server.before = (_, response) => {
      response.writeHead(500).end();
      return true;
    };
    expect(await fetchIt({ url })).toMatchObject({
      ok: false,
      cause: { code: "git_failed", params: { reason: expect.stringContaining("500") } },
    });
    expect(() => orRefusal(missing)).toThrow(/source_refused/);
  });
  it("follows a move on the same host, and none to another", async () => {
    server = await serveGit(join(dir, "repos"));
    const { port } = server;
    server.before = (request, response) => {
      if (request.url?.startsWith("/old/") !== true) return false;
      response.writeHead(301, { location: `http://127.0.0.1:${String(port)}${request.url.replace("/old/", "/")}` }).end();
      return true;
    };
    expect(codeOf(await fetchIt({ url: `${server.url}/old/app/.git` }))).toBe("ok");
    server.before = (request, response) => {
      response.writeHead(302, { location: `http://169.254.169.254${request.url ?? ""}` }).end();
      return true;
    };
    await expect(fetchIt({ url: `${server.url}/app/.git` })).rejects.toMatchObject({ code: "source_refused" });
    server.before = (request, response) => {
      response.writeHead(302, { location: `http://localhost:${String(port)}${request.url ?? ""}` }).end();
      return true;
    };
    await expect(fetchIt({ url: `${server.url}/app/.git` })).rejects.toMatchObject({ code: "source_refused" });
  });
  it("connects to the addresses that were checked, whatever the name says later", async () => {
    server = await serveGit(join(dir, "repos"));
    const outcome = await fetchIt(
      { url: `http://git.example.invalid:${String(server.port)}/app/.git` },
      { checkHost: () => Promise.resolve(["127.0.0.1"]) },
    );
    expect(codeOf(outcome)).toBe("ok");
  });
  it("gives up at its deadline and at a cancel, and leaves no process and no file", async () => {
    server = await serveGit(join(dir, "repos"));
    server.before = () => true;
    expect(await fetchIt({ url: `${server.url}/app/.git` }, { deadline: 600 })).toMatchObject({
      ok: false,
      cause: { code: "git_failed", params: { reason: expect.stringContaining("longer than") } },
    });
    const abort = new AbortController();
    // By a name of its own: what the first one asked may be read here after its end.
    const running = fetchIt({ url: `${server.url}/later/.git` }, {}, abort.signal);
    running.catch(() => undefined);
    await until("git has asked", () => server?.requests.some((one) => one.includes("/later/")) === true);
    const [folder = ""] = readdirSync(join(dir, "tmp"));
    expect(findProcesses({ leaders: [], recent: false, mark: `HOME=${join(dir, "tmp", folder)}` }).length).toBeGreaterThan(0);
    const reason = new Error("cancelled");
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(findProcesses({ leaders: [], recent: false, mark: `HOME=${join(dir, "tmp", folder)}` })).toEqual([]);
    await nothingIsLeft();
  });
});

describe("leftovers", () => {
  it("of a crashed control plane are swept away", async () => {
    mkdirSync(join(dir, "tmp", "fetch-abc", "repo"), { recursive: true });
    writeFileSync(join(dir, "tmp", "other"), "");
    await sweepFetches(join(dir, "tmp"));
    expect(await readdir(join(dir, "tmp"))).toEqual(["other"]);
    await sweepFetches(join(dir, "not-there"));
  });
});

function commandLines(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")];
      } catch {
        return [];
      }
    });
}
