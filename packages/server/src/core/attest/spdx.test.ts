// The bill of materials and the statement of provenance: what they name, and what must never be in them.
import { describe, expect, it } from "vitest";
import { planOf } from "../buildplan/tree.fixture.ts";
import { purlOf, type SoftwarePackage } from "./package.ts";
import { provenance, type BaseImage, type Subject } from "./provenance.ts";
import { spdxDocument } from "./spdx.ts";
import { apkPackages, dpkgPackages, readOsRelease, runtimePackages } from "./system.ts";

const subject: Subject = { kind: "image", name: "shop/web", digest: `sha256:${"a".repeat(64)}` };
const base: BaseImage = {
  name: "node:24",
  uri: `pkg:docker/node@24?digest=sha256:${"b".repeat(64)}`,
  digest: `sha256:${"b".repeat(64)}`,
  of: "manifest",
};
const os = { id: "debian", version: "12", pretty: "Debian GNU/Linux 12" };
const at = new Date("2026-01-02T03:04:05.678Z");

describe("what is in an image", () => {
  it("is read from the files of its package manager", () => {
    const status =
      "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u8\nDescription: x\n Package: imitated\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
    expect(dpkgPackages(status, "/s")).toEqual([
      { ecosystem: "deb", name: "libc6", version: "2.36-9+deb12u8", architecture: "amd64", from: "/s" },
    ]);
    expect(dpkgPackages("Package: base-files\nVersion: 12\n", "/s", true)).toHaveLength(1);
    expect(apkPackages("C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:a\n\nP:busybox\nV:1.36\n", "/a").map(({ name }) => name)).toEqual([
      "musl",
      "busybox",
    ]);
    expect(readOsRelease('PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n')).toEqual(os);
    expect(runtimePackages(["NODE_VERSION=24.1.0", "PYTHON_VERSION=3.13.0", "MY_VERSION=1", "NODE_ENV=production"])).toMatchObject([
      { name: "node", version: "24.1.0" },
      { name: "python", version: "3.13.0" },
    ]);
  });

  it("has the package URLs that scanners look for", () => {
    const of = (ecosystem: SoftwarePackage["ecosystem"], name: string, version: string, architecture?: string): string =>
      purlOf({ ecosystem, name, version, from: "", ...(architecture === undefined ? {} : { architecture }) }, os);
    expect(of("deb", "libc6", "1:2.36-9+deb12u8", "amd64")).toBe("pkg:deb/debian/libc6@1:2.36-9%2Bdeb12u8?arch=amd64&distro=debian-12");
    expect(of("npm", "@scope/a", "1.0.0")).toBe("pkg:npm/%40scope/a@1.0.0");
    expect(of("pypi", "Zope.Interface", "5")).toBe("pkg:pypi/zope-interface@5");
    expect(of("golang", "github.com/A/b", "v1.0.0")).toBe("pkg:golang/github.com/a/b@v1.0.0");
    expect(of("maven", "org.slf4j:slf4j-api", "2")).toBe("pkg:maven/org.slf4j/slf4j-api@2");
  });

  it("is an SPDX document in which every relation leads somewhere", () => {
    const packages: SoftwarePackage[] = [
      { ecosystem: "npm", name: "ms", version: "2", from: "a", dev: true },
      { ecosystem: "npm", name: "ms", version: "2", from: "b" },
      { ecosystem: "npm", name: "only", version: "1", from: "a", dev: true },
      { ecosystem: "deb", name: "libc6", version: "2", from: "c" },
    ];
    const document = spdxDocument({ subject, build: "id", created: at, version: "1", os, packages, bases: [base], unread: ["x"] });
    const ids = new Set(["SPDXRef-DOCUMENT", ...document.packages.map((one) => one["SPDXID"])]);
    expect(ids.size).toBe(document.packages.length + 1);
    const relations = document["relationships"] as Record<"spdxElementId" | "relationshipType" | "relatedSpdxElement", string>[];
    for (const one of relations) expect([one.spdxElementId, one.relatedSpdxElement].filter((id) => !ids.has(id))).toEqual([]);
    expect(relations.map((one) => one.relationshipType).sort()).toEqual([
      ...["CONTAINS", "CONTAINS", "DEPENDS_ON", "DESCENDANT_OF", "DESCRIBES", "DEV_DEPENDENCY_OF"],
    ]);
    expect(document).toMatchObject({
      spdxVersion: "SPDX-2.3",
      comment: "Not read: x.",
      creationInfo: { created: "2026-01-02T03:04:05Z", creators: ["Tool: berth-1"] },
    });
  });
});

describe("provenance", () => {
  it("names source, plan, builder, bases and times, and no value of anything that may be a secret", () => {
    const plan = { ...planOf({ Dockerfile: "FROM node:24\n" }), env: { KEY: "hunter2" } };
    const statement = provenance({
      subject,
      build: "b1",
      installation: "i1",
      version: "1",
      builder: "docker",
      source: {
        digest: `sha256:${"c".repeat(64)}`,
        origin: { url: "https://me:hunter2@git.example/shop.git?token=hunter2", revision: "d".repeat(40) },
      },
      plan,
      args: ["TOKEN"],
      secrets: ["npm"],
      bases: [base],
      tools: [],
      startedAt: at,
      endedAt: at,
    });
    expect(JSON.stringify(statement)).not.toContain("hunter2");
    expect(statement).toMatchObject({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "shop/web", digest: { sha256: "a".repeat(64) } }],
      predicateType: "https://slsa.dev/provenance/v1",
      predicate: {
        buildDefinition: {
          externalParameters: { repository: "https://git.example/shop.git", dockerfile: "Dockerfile", args: ["TOKEN"], secrets: ["npm"] },
          resolvedDependencies: [
            { digest: { sha256: "c".repeat(64) } },
            { uri: `git+https://git.example/shop.git@${"d".repeat(40)}`, digest: { gitCommit: "d".repeat(40) } },
            { name: "node:24", digest: { sha256: "b".repeat(64) } },
          ],
        },
        runDetails: { builder: { id: "urn:berth:builder:docker:i1" }, metadata: { startedOn: at.toISOString() } },
      },
    });
  });
});
