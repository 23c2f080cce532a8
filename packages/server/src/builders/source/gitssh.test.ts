// git over a real ssh server: by deploy key, to hosts whose key is known, and to no other.
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { folderBlobs } from "../testing/blobs.ts";
import { git } from "../testing/githttp.ts";
import { never } from "../testing/host.ts";
import { findSshd, startSshd, type SshServer } from "../testing/sshd.ts";
import { createCheckHost } from "./egress.ts";
import { fetchGit, type GitFetch, type GitOutcome } from "./git.ts";

// Real programs on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000 });

const found = findSshd();
const isRoot = process.getuid?.() === 0;

describe.skipIf("missing" in found)(`over ssh${"missing" in found ? ` (skipped: ${found.missing})` : ""}`, () => {
  let dir: string;
  let repo: string;
  let server: SshServer | undefined;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "berth-ssh-"));
    chmodSync(dir, 0o755);
    repo = join(dir, "app");
    mkdirSync(repo);
    git(repo, "init", "--quiet", "--initial-branch=main");
    writeFileSync(join(repo, "index.js"), "one");
    git(repo, "add", ".");
    git(repo, "commit", "--quiet", "-m", "First");
    server = await startSshd("path" in found ? found.path : "", join(dir, "sshd"));
  });
  afterAll(async () => {
    await server?.close();
    await rm(dir, { recursive: true, force: true });
  });
  const started = (): SshServer => {
    if (server === undefined) throw new Error("sshd did not start");
    return server;
  };
  async function fetchIt(request: Partial<GitFetch>): Promise<GitOutcome> {
    const outcome = await fetchGit(
      {
        url: `ssh://${started().user}@127.0.0.1:${String(started().port)}${repo}`,
        knownHosts: started().knownHosts,
        credentials: { kind: "deploy-key", privateKey: started().privateKey },
        ...request,
      },
      {
        blobs: await folderBlobs(join(dir, "blobs")),
        tmpDir: join(dir, "tmp dir"),
        checkHost: createCheckHost({ allowLoopback: true }),
        git: "git",
        path: "/usr/local/bin:/usr/bin:/bin",
        passEnv: {},
        allowedFileRoots: [],
        deadline: 120_000,
        runAs: isRoot ? { uid: 61_235, gid: 61_235 } : undefined,
      },
      never,
    );
    expect(await readdir(join(dir, "tmp dir"))).toEqual([]);
    return outcome;
  }

  it("fetches with the deploy key, without a trace of it", async () => {
    const outcome = await fetchIt({});
    expect(outcome).toMatchObject({ ok: true, source: { revision: git(repo, "rev-parse", "HEAD"), files: 1 } });
  });
  it("refuses a host whose key is not known, or is another one, before it sends anything", async () => {
    expect(await fetchIt({ knownHosts: [] })).toMatchObject({
      ok: false,
      cause: { code: "git_host_unknown", params: { host: "127.0.0.1" } },
    });
    const other = started().knownHosts.map((line) =>
      line.replace(/AAAA\S+/, "AAAAC3NzaC1lZDI1NTE5AAAAIHLbHtF8Vwz0x2nJ4m0u8bqkq3Jqz4oNnKXz8yWmVx1E"),
    );
    expect(await fetchIt({ knownHosts: other })).toMatchObject({ ok: false, cause: { code: "git_host_unknown" } });
  });
  it("says that the key is refused", async () => {
    expect(await fetchIt({ url: `ssh://nobody-at-all@127.0.0.1:${String(started().port)}${repo}` })).toMatchObject({
      ok: false,
      cause: { code: "git_auth_failed" },
    });
  });
  it("says that the repository is not there", async () => {
    expect(await fetchIt({ url: `ssh://${started().user}@127.0.0.1:${String(started().port)}${repo}-not` })).toMatchObject({
      ok: false,
      cause: { code: "git_not_found" },
    });
  });
});
