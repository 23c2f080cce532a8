import { describe, expect, test } from "vitest";
import { debianSources, readAptSources, writeAptSources } from "./aptsources.ts";

describe("apt sources", () => {
  test("of one line each: options, comments, sources of code and nonsense", () => {
    const text = `# deb http://off.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # a comment
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian-security bookworm-security/ main
deb-src http://mirror.example/debian bookworm main
what is this`;
    expect(readAptSources(text, "list")).toEqual([
      { uri: "http://mirror.example/debian", suite: "bookworm", components: ["main", "contrib"] },
      {
        uri: "http://mirror.example/debian-security",
        suite: "bookworm-security",
        components: ["main"],
        signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
      },
    ]);
  });

  test("in paragraphs: several suites, a key in itself, what is disabled", () => {
    const text = `Types: deb deb-src
# http://snapshot.example/
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
`;
    const read = readAptSources(text, "deb822");
    expect(read.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
      "http://mirror.example/debian bookworm",
      "http://mirror.example/debian bookworm-updates",
    ]);
    // apt reads again what was written.
    expect(readAptSources(writeAptSources(read), "deb822")).toEqual(read);
    expect(writeAptSources(read)).toContain("\n -----BEGIN PGP");
  });

  test("for an image are Debian's own of one release, only their free part", () => {
    const all = readAptSources(
      `deb http://mirror.example/debian bookworm main non-free
deb http://mirror.example/debian-security bookworm-security main
deb http://mirror.example/debian trixie main
deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example/apt bookworm main
deb http://docker.example/debian bookworm stable`,
      "list",
    );
    expect(debianSources(all, "bookworm").map(({ uri, suite, components }) => [uri, suite, components])).toEqual([
      ["http://mirror.example/debian", "bookworm", ["main"]],
      ["http://mirror.example/debian-security", "bookworm-security", ["main"]],
    ]);
  });
});
