// Fetches one revision of a git repository and stores its files as a source. Credentials reach git only by files and environment
// that nobody else can read; they are in no argument, log line or answer. The repository's own hooks, filters and submodules never run.
import { chown, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";
import { cause, renderCause, type Cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import { createMask } from "../../core/mask.ts";
import type { RunAs } from "../builder.ts";
import { killProcesses } from "../process.ts";
import type { CheckHost } from "./egress.ts";
import { runGit, type GitResult, type GitSetting } from "./gitcommand.ts";
import { failureOf } from "./gitfailure.ts";
import { checkRef, checkSubdir, parseGitUrl, shownUrl, type GitUrl } from "./giturl.ts";
import { makeReceiving } from "./receiving.ts";
import { storeArchive, type ReceiveDeps, type StoredArchive } from "./upload.ts";
import { followRedirects } from "./redirects.ts";
import { naming } from "./sshname.ts";

export type GitCredentials =
  | { readonly kind: "token"; readonly username?: string; readonly token: string }
  | { readonly kind: "deploy-key"; readonly privateKey: string };

export interface GitFetch {
  readonly url: string;
  /** Branch, tag, full ref or 40-digit commit; the default branch when absent. */
  readonly ref?: string;
  /** Only this folder of the repository. */
  readonly subdir?: string;
  readonly credentials?: GitCredentials;
  /** Lines of an ssh known_hosts file. */
  readonly knownHosts: readonly string[];
}

export interface GitDeps extends ReceiveDeps {
  readonly checkHost: CheckHost;
  /** Absolute path of git, or a name on `path`. */
  readonly git: string;
  /** PATH for git and ssh. */
  readonly path: string;
  /** What git needs to reach the network here: proxies and certificate files. */
  readonly passEnv: Readonly<Record<string, string>>;
  /** The user that git runs as when Berth is root. It should own nothing else, and no build may run as it. */
  readonly runAs: RunAs | undefined;
  /** Folders whose repositories may be named by path. */
  readonly allowedFileRoots: readonly string[];
  /** ms that a fetch may take. */
  readonly deadline: number;
}

export interface FetchedSource extends StoredArchive {
  readonly url: string;
  readonly ref: string;
  /** 40 hex digits. */
  readonly revision: string;
  readonly author: string;
  readonly message: string;
  readonly committedAt: string;
  /** What was left out: codes for people, e.g. `submodules_skipped`. */
  readonly notes: readonly { readonly code: string; readonly params: Record<string, string> }[];
}
export type GitOutcome = { readonly ok: true; readonly source: FetchedSource } | { readonly ok: false; readonly cause: Cause };

/** The source, or `source_refused` with the sentence and the next step of the cause: for callers that answer a request. */
export function orRefusal(outcome: GitOutcome): FetchedSource {
  if (outcome.ok) return outcome.source;
  const { sentence, next } = renderCause(outcome.cause);
  throw new BerthError("source_refused", { reason: sentence.replace(/\.$/, ""), hint: next, cause: outcome.cause.code });
}

/** Largest pack that git may fetch, in bytes. */
const packLimit = 4 * 1024 ** 3;
const fetched = "refs/berth/source";

/**
 * Fetches and stores a revision. Failures of the repository or its host are causes (`git_auth_failed`, `git_not_found`, `git_host_unknown`, `git_failed`);
 * throws `source_refused` or `archive_refused` for what Berth does not take, and the signal's reason when cancelled.
 */
export async function fetchGit(request: GitFetch, deps: GitDeps, signal: AbortSignal): Promise<GitOutcome> {
  const url = parseGitUrl(request.url);
  const ref = request.ref === undefined ? "HEAD" : checkRef(request.ref);
  const subdir = checkSubdir(request.subdir ?? "");
  const addresses = url.kind === "file" ? [] : await deps.checkHost(url.host);
  const runAs = await loginFor(url, deps.runAs);
  const expired = AbortSignal.timeout(deps.deadline);
  const both = AbortSignal.any([signal, expired]);
  await makeReceiving(deps.tmpDir);
  const dir = await mkdtemp(join(deps.tmpDir, "fetch-"));
  try {
    if (runAs !== undefined) await chown(dir, runAs.uid, runAs.gid);
    const place: Place = { dir, runAs, url, addresses };
    const setting = await prepare(request, deps, place, both);
    return await fetchInto(request, { ref, subdir, place, setting }, deps);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (expired.aborted)
      return {
        ok: false,
        cause: cause("git_failed", {
          url: shownUrl(request.url),
          reason: `it took longer than ${String(Math.round(deps.deadline / 1000))} s`,
        }),
      };
    throw error;
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Ends the fetches that a crashed control plane left in `tmpDir` and removes their folders. Only while none is running. */
export async function sweepFetches(tmpDir: string): Promise<void> {
  const names = await readdir(tmpDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of names.filter((one) => one.startsWith("fetch-"))) {
    const dir = join(tmpDir, name);
    await killProcesses({ leaders: [], recent: false, mark: `HOME=${dir}` });
    await rm(dir, { recursive: true, force: true });
  }
}

interface Place {
  readonly dir: string;
  readonly runAs: RunAs | undefined;
  readonly url: GitUrl;
  readonly addresses: readonly string[];
}
interface Wanted {
  readonly ref: string;
  readonly subdir: string;
  readonly place: Place;
  readonly setting: GitSetting;
}

/** ssh refuses to run for a uid without a name; the machine's `nobody` has one, and as few rights. */
async function loginFor(url: GitUrl, runAs: RunAs | undefined): Promise<RunAs | undefined> {
  if (runAs === undefined || url.kind !== "ssh") return runAs;
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  if (lines.some((fields) => fields[2] === String(runAs.uid))) return runAs;
  const nobody = lines.find((fields) => fields[0] === "nobody");
  return nobody === undefined ? runAs : { uid: Number(nobody[2]), gid: Number(nobody[3]) };
}

/** Writes what git needs into its folder, each file for its user alone. */
async function prepare(request: GitFetch, deps: GitDeps, place: Place, signal: AbortSignal): Promise<GitSetting> {
  const put = async (name: string, content: string, mode: number): Promise<string> => {
    const path = join(place.dir, name);
    await writeFile(path, content, { mode, flag: "wx" });
    if (place.runAs !== undefined) await chown(path, place.runAs.uid, place.runAs.gid);
    return path;
  };
  const { url } = place;
  const env: Record<string, string> = {
    ...deps.passEnv,
    PATH: deps.path,
    HOME: place.dir,
    TMPDIR: place.dir,
    LC_ALL: "C",
    GIT_TERMINAL_PROMPT: "0",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_ALLOW_PROTOCOL: url.kind === "http" ? "http:https" : url.kind,
    GIT_OPTIONAL_LOCKS: "0",
    GIT_ASKPASS: "/bin/false",
    SSH_ASKPASS: "/bin/false",
    GIT_LFS_SKIP_SMUDGE: "1",
  };
  // A repository that belongs to somebody else may be read: nothing of it is executed here.
  const safe = url.kind === "file" ? `[safe]\n\tdirectory = *\n` : "";
  env["GIT_CONFIG_GLOBAL"] = await put(
    "config",
    `[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[protocol]\n\tversion = 2\n${safe}`,
    0o600,
  );
  if (url.kind === "ssh") env["GIT_SSH_COMMAND"] = await sshCommand(request, place, put);
  if (url.kind === "http" && request.credentials?.kind === "token") {
    const { username = "oauth2", token } = request.credentials;
    await put("username", username, 0o600);
    await put("token", token, 0o600);
    env["GIT_ASKPASS"] = await put(
      "askpass",
      `#!/bin/sh\ncase "$1" in Username*) cat "$HOME/username";; *) cat "$HOME/token";; esac\n`,
      0o700,
    );
  }
  return { git: deps.git, env, cwd: place.dir, mark: `HOME=${place.dir}`, runAs: place.runAs, fileLimit: packLimit, signal };
}

async function sshCommand(
  request: GitFetch,
  place: Place,
  put: (name: string, content: string, mode: number) => Promise<string>,
): Promise<string> {
  const knownHosts = await put("known_hosts", `${request.knownHosts.join("\n")}\n`, 0o600);
  const options = [
    "StrictHostKeyChecking=yes",
    `UserKnownHostsFile="${knownHosts}"`,
    "GlobalKnownHostsFile=/dev/null",
    "BatchMode=yes",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "IdentityAgent=none",
    "IdentitiesOnly=yes",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "UpdateHostKeys=no",
    "LogLevel=ERROR",
  ];
  const address = place.addresses[0];
  if (place.url.kind === "ssh" && address !== undefined) {
    // Connects to the address that was checked, under the name whose key is known.
    const { host, port } = place.url;
    options.push(`HostName=${address}`, `HostKeyAlias=${port === 22 ? host : `[${host}]:${String(port)}`}`);
  }
  const key =
    request.credentials?.kind === "deploy-key"
      ? ["-i", await put("key", `${request.credentials.privateKey.trim()}\n`, 0o600)]
      : ["-o", "IdentityFile=none"];
  const named = place.runAs === undefined ? await naming(process.getuid?.() ?? 0, process.getgid?.() ?? 0, put) : [];
  return [...named, "ssh", "-F", "/dev/null", ...key, ...options.flatMap((option) => ["-o", option])].map(quoted).join(" ");
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function fetchInto(request: GitFetch, wanted: Wanted, deps: GitDeps): Promise<GitOutcome> {
  const { setting, place, ref, subdir } = wanted;
  const mask = createMask(request.credentials?.kind === "token" ? [request.credentials.token] : []);
  const failed = (result: GitResult): GitOutcome => ({
    ok: false,
    cause: failureOf(result.stderr, {
      url: shownUrl(request.url),
      ref: request.ref ?? "HEAD",
      host: place.url.kind === "file" ? "" : place.url.host,
      mask,
    }),
  });
  const remote = place.url.kind === "file" ? `file://${await insideRoots(place.url.path, deps.allowedFileRoots)}` : place.url.base;
  const made = await runGit(setting, ["init", "--quiet", "--bare", "--template=", "repo"]);
  if (made.exitCode !== 0) return failed(made);
  const answer = await fetchRef(remote, wanted, deps);
  if (answer.exitCode !== 0) return failed(answer);
  const repo = ["--git-dir=repo"];
  const shown = await runGit(setting, [
    ...repo,
    "log",
    "-1",
    "--no-show-signature",
    "--encoding=UTF-8",
    "--format=%H%x00%an <%ae>%x00%cI%x00%B",
    fetched,
    "--",
  ]);
  if (shown.exitCode !== 0) return failed(shown);
  const [revision = "", author = "", committedAt = "", message = ""] = shown.stdout.split("\0");
  const tree = subdir === "" ? revision : `${revision}:${subdir}`;
  const kind = await runGit(setting, [...repo, "cat-file", "-t", tree]);
  if (!/^(?:commit|tree)$/.test(kind.stdout.trim()))
    throw new BerthError("source_refused", {
      reason: `${revision.slice(0, 10)} has no folder \`${subdir}\``,
      hint: "Check the folder's name.",
    });
  const notes = await notesOn(setting, tree);
  // What the repository keeps out of its release archives is still source.
  await mkdir(join(place.dir, "repo", "info"), { recursive: true });
  await writeFile(join(place.dir, "repo", "info", "attributes"), "* -export-ignore -export-subst\n", { mode: 0o644 });
  let stored: StoredArchive | undefined;
  const archived = await runGit(setting, [...repo, "archive", "--format=tar", tree], async (stdout) => {
    stored = await storeArchive(stdout, deps, setting.signal);
  });
  if (archived.exitCode !== 0 || stored === undefined) return failed(archived);
  return {
    ok: true,
    source: {
      ...stored,
      url: shownUrl(request.url),
      ref,
      revision,
      author: author.slice(0, 1000),
      message: message.trim().slice(0, 1000),
      committedAt: new Date(committedAt).toISOString(),
      notes,
    },
  };
}

async function insideRoots(path: string, roots: readonly string[]): Promise<string> {
  const refuse = (): BerthError =>
    new BerthError("source_refused", {
      reason: "the path is not in one of the folders that may be fetched from",
      hint: "An operator can add its folder to the server's configuration; or upload the folder with `berth deploy`.",
    });
  const real = await realpath(path).catch(() => {
    throw refuse();
  });
  for (const root of roots) {
    const from = await realpath(root).catch(() => undefined);
    if (from === undefined) continue;
    const way = relative(from, real);
    if (way === "" || (!way.startsWith("..") && !isAbsolute(way))) return real;
  }
  throw refuse();
}

/** Only the wanted commit; a server that gives no depth or no single commit is asked for more. */
async function fetchRef(remote: string, wanted: Wanted, deps: GitDeps): Promise<GitResult> {
  const { setting, place, ref } = wanted;
  const config =
    place.url.kind === "http"
      ? [
          "-c",
          "http.followRedirects=false",
          "-c",
          "http.lowSpeedLimit=1",
          "-c",
          "http.lowSpeedTime=60",
          ...pinned(place.url, place.addresses),
        ]
      : [];
  const fetchFrom = async (url: string, options: readonly string[], spec: string): Promise<GitResult> =>
    runGit(setting, [
      ...config,
      "--git-dir=repo",
      "fetch",
      "--quiet",
      "--no-tags",
      "--no-recurse-submodules",
      "--no-write-fetch-head",
      "--no-auto-maintenance",
      ...options,
      "--",
      url,
      spec,
    ]);
  let url = remote;
  let result = await fetchFrom(url, ["--depth=1"], `+${ref}:${fetched}`);
  if (result.exitCode !== 0 && place.url.kind === "http" && /returned error: 30[1278]/.test(result.stderr)) {
    const moved = await followRedirects(url, deps.checkHost, setting.signal);
    if (moved !== undefined) {
      url = moved;
      result = await fetchFrom(url, ["--depth=1"], `+${ref}:${fetched}`);
    }
  }
  if (result.exitCode !== 0 && /does not support shallow|dumb http transport/.test(result.stderr))
    result = await fetchFrom(url, [], `+${ref}:${fetched}`);
  if (result.exitCode !== 0 && /^[0-9a-f]{40}$/.test(ref) && /not our ref|unadvertised object|not allow request/.test(result.stderr)) {
    const all = await fetchFrom(url, [], "+refs/*:refs/fetched/*");
    if (all.exitCode !== 0) return all;
    const found = await runGit(setting, ["--git-dir=repo", "update-ref", fetched, ref]);
    return found.exitCode === 0 ? found : result;
  }
  return result;
}

/** Connects to the addresses that were checked, whatever DNS says a moment later (git 2.37 and newer; older ones ignore it). */
function pinned(url: GitUrl & { kind: "http" }, addresses: readonly string[]): string[] {
  return addresses.length === 0
    ? []
    : [
        "-c",
        `http.curloptResolve=${url.host.replace(/^\[|\]$/g, "")}:${String(url.port)}:${addresses.map((address) => (address.includes(":") ? `[${address}]` : address)).join(",")}`,
      ];
}

async function notesOn(setting: GitSetting, tree: string): Promise<FetchedSource["notes"]> {
  const listed = await runGit(setting, ["--git-dir=repo", "ls-tree", "-r", "--full-tree", "-z", tree]);
  const submodules = listed.stdout
    .split("\0")
    .filter((line) => line.startsWith("160000 "))
    .map((line) => line.slice(line.indexOf("\t") + 1));
  return submodules.length === 0 ? [] : [{ code: "submodules_skipped", params: { paths: submodules.slice(0, 20).join(", ") } }];
}
