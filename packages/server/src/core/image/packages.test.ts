import { describe, expect, test } from "vitest";
import { comparePackages, packagesDigest, readPackages } from "./packages.ts";

const status = `Package: openssl
Status: install ok installed
Version: 3.0.16-1~deb12u1
Description: tools
 Version: 9 is not this field's
 .
 more

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: adduser
Status: install ok installed
Version: 3.134
`;

describe("packages of a root file system", () => {
  test("are those that are installed, by name; what was removed and left its settings is none", () => {
    expect(readPackages(status)).toEqual({ adduser: "3.134", openssl: "3.0.16-1~deb12u1" });
    expect(Object.keys(readPackages(status))).toEqual(["adduser", "openssl"]);
    expect(readPackages("")).toEqual({});
  });

  test("differ by what was added, removed and changed, in the order of names", () => {
    const changes = comparePackages({ a: "1", b: "1", c: "1:2-3" }, { b: "2", c: "1:2-3", d: "4", aa: "1" });
    expect(changes).toEqual({
      added: [
        { name: "aa", version: "1" },
        { name: "d", version: "4" },
      ],
      removed: [{ name: "a", version: "1" }],
      changed: [{ name: "b", from: "1", to: "2" }],
    });
    expect(comparePackages({ a: "1" }, { a: "1" })).toEqual({ added: [], removed: [], changed: [] });
  });

  test("have one digest whatever order they were read in", () => {
    expect(packagesDigest({ a: "1", b: "2" })).toBe(packagesDigest({ b: "2", a: "1" }));
    expect(packagesDigest({ a: "1" })).not.toBe(packagesDigest({ a: "1.0" }));
  });
});
