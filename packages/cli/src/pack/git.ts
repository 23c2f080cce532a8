// What git knows about a folder: where its work tree begins, the revision, who made it, and whether files differ from it. Never changes anything.
import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

export interface GitFacts {
  readonly revision?: string;
  readonly author?: string;
  readonly message?: string;
  readonly dirty?: boolean;
  readonly ref?: string;
}

/** Facts for a source; nothing when the folder is no repository, has no commit, or there is no git. */
export async function gitFacts(folder: string): Promise<GitFacts> {
  const head = await git(folder, ["log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%s"]);
  const [revision, author, message] = head?.trimEnd().split("\0") ?? [];
  if (revision === undefined || author === undefined || message === undefined) return {};
  const [status, ref] = await Promise.all([
    git(folder, ["status", "--porcelain", "--untracked-files=normal", "--", "."]),
    git(folder, ["symbolic-ref", "--quiet", "--short", "HEAD"]),
  ]);
  return {
    revision,
    author: author.slice(0, 200),
    message: message.slice(0, 300),
    ...(status === undefined ? {} : { dirty: status !== "" }),
    ...(ref === undefined ? {} : { ref: ref.trim().slice(0, 200) }),
  };
}

/** Files that git tracks although a .gitignore names them, relative to the folder: to git they are not ignored. */
export async function trackedThoughIgnored(folder: string): Promise<ReadonlySet<string>> {
  const listed = await git(folder, ["ls-files", "--cached", "--ignored", "--exclude-standard", "-z"]);
  return new Set(listed?.split("\0").filter((path) => path !== "") ?? []);
}

/** The top of the work tree that holds the folder; undefined outside of one. */
export async function workTreeTop(folder: string): Promise<string | undefined> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (
      await access(join(at, ".git")).then(
        () => true,
        () => false,
      )
    )
      return at;
    if (at === dirname(at)) return undefined;
  }
}

/** git's output; undefined when it fails, whatever the reason: facts from git are company, not a condition. */
async function git(folder: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await execute(
      "git",
      ["-C", folder, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "--no-optional-locks", ...args],
      { timeout: 10_000, maxBuffer: 64 * 1024 * 1024 },
    );
    return stdout;
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}
