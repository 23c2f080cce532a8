// Nothing that git or ssh could take for an option, another protocol or another host gets through.
import { describe, expect, it } from "vitest";
import { BerthError } from "../../core/errors.ts";
import { checkRef, checkSubdir, parseGitUrl, shownUrl } from "./giturl.ts";

const refused = (work: () => unknown): boolean => {
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof BerthError && error.code === "source_refused") return true;
    throw error;
  }
};

describe("git URLs", () => {
  it.each([
    "ext::sh -c id",
    "-u./x",
    "--upload-pack=x",
    "git://host/x",
    "ftp://host/x",
    "http://",
    "https://user:pw@host/x",
    "https://user@host/x",
    "ssh://-oProxyCommand=id/x",
    "ssh://-l@host/x",
    "ssh://git:pw@host/x",
    "-oProxyCommand=id:x",
    "git@-host:x",
    "host:-x",
    "file://host/x",
    "https://host/x?y",
    "https://host/x#y",
    "https://host/a b",
    "https://host/a\nb",
    "fd::17",
    "x::y",
    "relative/path",
    "https://host/x\u0000",
  ])("refuses %j", (url) => {
    expect(refused(() => parseGitUrl(url))).toBe(true);
  });
  it.each<[string, object]>([
    ["https://example.com/a/b.git", { kind: "http", host: "example.com", port: 443, base: "https://example.com/a/b.git" }],
    ["http://example.com:8080/a", { kind: "http", port: 8080 }],
    ["https://[2001:db8::1]/a", { kind: "http", host: "[2001:db8::1]" }],
    ["ssh://git@example.com:2222/a/b.git", { kind: "ssh", host: "example.com", port: 2222 }],
    ["git@example.com:a/b.git", { kind: "ssh", host: "example.com", port: 22, base: "git@example.com:a/b.git" }],
    ["example.com:a/b.git", { kind: "ssh", base: "git@example.com:a/b.git" }],
    ["file:///srv/git/a%20b", { kind: "file", path: "/srv/git/a b" }],
    ["/srv/git/a", { kind: "file", path: "/srv/git/a" }],
  ])("understands %s", (url, parts) => {
    expect(parseGitUrl(url)).toMatchObject(parts);
  });
  it("shows no password", () => {
    expect(shownUrl("https://user:secret@host/x")).toBe("https://host/x");
  });
});

describe("refs and folders", () => {
  it.each([
    "-x",
    "--upload-pack=id",
    "a..b",
    "a:b",
    "+a",
    "^a",
    "a~1",
    "a b",
    "a\\b",
    "a?",
    "a*",
    "a[",
    "/a",
    "a/",
    "a//b",
    "a.lock",
    "a/.b",
    "@{1}",
    "@",
    "",
    "a\nb",
    "x".repeat(300),
  ])("refuses the ref %j", (ref) => {
    expect(refused(() => checkRef(ref))).toBe(true);
  });
  it.each([
    "main",
    "HEAD",
    "feature/x-1",
    "v1.2.3",
    "refs/heads/main",
    "功能/一",
    "release+1",
    "a@b",
    "0123456789012345678901234567890123456789",
  ])("takes the ref %s", (ref) => {
    expect(checkRef(ref)).toBe(ref);
  });
  it("keeps folders inside", () => {
    expect(checkSubdir("./apps//web/")).toBe("apps/web");
    for (const subdir of ["/etc", "../x", "a/../b", "a\0b"]) expect(refused(() => checkSubdir(subdir))).toBe(true);
  });
});
