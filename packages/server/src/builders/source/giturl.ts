// What a git URL, ref and folder may look like before git sees them: named protocols only, nothing that git or ssh could take for an option. Pure.
import { BerthError } from "../../core/errors.ts";

export type GitUrl =
  /** `base` is the URL as it is given to git. */
  | { readonly kind: "http"; readonly host: string; readonly port: number; readonly base: string }
  | { readonly kind: "ssh"; readonly host: string; readonly port: number; readonly base: string }
  | { readonly kind: "file"; readonly path: string };

function refuse(reason: string, hint: string): BerthError {
  return new BerthError("source_refused", { reason, hint });
}

const usage = "Use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or, within the allowed folders, file:///PATH.";

/** Understands a repository's URL. Throws `source_refused`. */
export function parseGitUrl(url: string): GitUrl {
  if (/[\p{Cc}\s]/u.test(url) || url.startsWith("-")) throw refuse("the URL holds characters that no URL has", usage);
  const scp = /^(?:([A-Za-z0-9_][\w.-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!\/\/)(?!:)(.+)$/.exec(url);
  if (scp !== null && !/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) {
    const [, user, host = "", path = ""] = scp;
    if (path.startsWith("-") || /^\d+$/.test(host)) throw refuse("the URL is not understood", usage);
    return { kind: "ssh", host, port: 22, base: user === undefined ? `git@${host}:${path}` : url };
  }
  if (url.startsWith("/")) return { kind: "file", path: url };
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw refuse("the URL is not understood", usage);
  }
  if (parsed.password !== "")
    throw refuse("the URL holds a password", "Store it with `berth sources credentials set`, and leave it out of the URL.");
  if (parsed.hash !== "" || parsed.search !== "") throw refuse("a git URL has no `?` or `#`", "Give the branch, tag or commit with --ref.");
  switch (parsed.protocol) {
    case "http:":
    case "https:":
      if (parsed.username !== "") throw refuse("the URL holds a user name", "Store it with the token, and leave it out of the URL.");
      return {
        kind: "http",
        host: parsed.hostname,
        port: Number(parsed.port) || (parsed.protocol === "https:" ? 443 : 80),
        base: parsed.href,
      };
    case "ssh:":
      if (!/^[A-Za-z0-9[][A-Za-z0-9.:\]-]*$/.test(parsed.hostname) || !/^[\w.-]*$/.test(parsed.username) || parsed.username.startsWith("-"))
        throw refuse("the URL's host or user is not valid", usage);
      return { kind: "ssh", host: parsed.hostname, port: Number(parsed.port) || 22, base: parsed.href };
    case "file:":
      if (parsed.hostname !== "") throw refuse("a file URL names no host", usage);
      return { kind: "file", path: decodeURIComponent(parsed.pathname) };
    default:
      throw refuse(`the protocol \`${parsed.protocol.slice(0, 20)}\` is not one of http, https, ssh and file`, usage);
  }
}

/** A branch, tag, full ref or 40-digit commit as git may have it (git-check-ref-format), never an option or a refspec. Throws `source_refused`. */
export function checkRef(ref: string): string {
  const valid =
    /^[\p{L}\p{N}_@][\p{L}\p{N}\p{M}._/@#%+=,!&-]*$/u.test(ref) &&
    !/\.\.|\/\/|\/$|\.$|\.lock(?:\/|$)|\/\.|@\{|^@$/.test(ref) &&
    Buffer.byteLength(ref) <= 255;
  if (!valid)
    throw refuse(
      `\`${ref.replace(/\p{Cc}/gu, "?").slice(0, 80)}\` is not the name of a branch, tag or commit`,
      "Give a branch, a tag, or all 40 digits of a commit.",
    );
  return ref;
}

/** A folder inside the repository. Throws `source_refused`. */
export function checkSubdir(subdir: string): string {
  const parts = subdir.split("/").filter((part) => part !== "" && part !== ".");
  if (subdir.startsWith("/") || parts.includes("..") || /\p{Cc}/u.test(subdir))
    throw refuse("the folder leads out of the repository", "Give a folder inside it, like apps/web.");
  return parts.join("/");
}

/** The URL as it may be shown and recorded: without anything secret. */
export function shownUrl(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*:[^/@]*@/i, "$1")
    .replace(/\p{Cc}/gu, "?")
    .slice(0, 500);
}
