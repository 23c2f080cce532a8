import { describe, expect, test } from "vitest";
import { baseRecipes, baseReference, catalogueOf, isBuiltOn, newestOf, nextVersion, type MadeBase } from "./bases.ts";
import { chooseBase, publicCatalogue } from "./catalogue.ts";

const made = (name: string, line: string, version: string, more: Partial<MadeBase> = {}): MadeBase => {
  const image = (use: "build" | "run"): MadeBase["build"] => ({
    reference: baseReference({ name, line, version }, use),
    id: `sha256:${name}`,
    layers: ["os", `${name}-${version}-${use}`],
    size: 1,
  });
  return { name, line, version, madeAt: "2026-11-22T10:00:00.000Z", recipe: "r", build: image("build"), packages: {}, ...more };
};
const system = made("debian", "12", "20261122.1");
const node = made("node", "24", "20261122.1", {
  runtime: "node",
  run: { reference: "localhost/berth-base/node:24-20261122.1-run", id: "sha256:r", layers: ["os", "run"], size: 1 },
});

describe("names of base images", () => {
  test("say what it is, in which version, and for which use; no daemon takes them for a registry's", () => {
    const base = { name: "node", line: "24", version: "20261122.1" };
    expect(baseReference(base, "build")).toBe("localhost/berth-base/node:24-20261122.1");
    expect(baseReference(base, "run")).toBe("localhost/berth-base/node:24-20261122.1-run");
  });

  test("count up within a day, also past those of another installation", () => {
    const now = new Date("2026-11-22T23:30:00Z");
    expect(nextVersion(now, [])).toBe("20261122.1");
    expect(nextVersion(now, ["20261121.7", "20261122.2", "20261122.10", "latest"])).toBe("20261122.11");
  });

  test("of recipes are those of Debian 12's packages", () => {
    const version = { "base-files": "12.4+deb12u11", node: "24.21.0", python3: "3.11.2-1+b1", "golang-go": "2:1.19~1" };
    const lines = baseRecipes.map(({ name, line }) => [
      name,
      line.pattern.exec({ ...version, "default-jre-headless": "2:1.17-74" }[line.of as keyof typeof version])?.[1],
    ]);
    expect(Object.fromEntries(lines)).toEqual({ debian: "12", node: "24", python: "3.11", go: "1.19", java: "17" });
  });
});

describe("the catalogue of an installation", () => {
  test("is the makers' where nothing was made and nothing is said", () => {
    expect(catalogueOf({}, [])).toEqual(publicCatalogue);
  });

  test("takes the newest version of what was made here, and no other maker's image of the same runtime", () => {
    const newer = made("debian", "12", "20261122.2");
    const catalogue = catalogueOf({}, [system, node, newer]);
    expect(catalogue).toMatchObject({ os: "localhost/berth-base/debian:12-20261122.2", osCertificates: true });
    expect(catalogue.runtimes.filter(({ runtime }) => runtime === "node")).toEqual([
      { runtime: "node", version: "24", build: node.build.reference, run: node.run?.reference },
    ]);
    expect(catalogue.runtimes.filter(({ runtime }) => runtime === "python")).toEqual(
      publicCatalogue.runtimes.filter(({ runtime }) => runtime === "python"),
    );
    // What nobody made is said to be missing, with what there is.
    expect(chooseBase(catalogue, "node", "^18")).toMatchObject({
      ok: false,
      cause: { code: "base_missing", params: { runtime: "node", wanted: " ^18", has: "24" } },
    });
  });

  test("lets config.json decide: the system, a runtime in the same version, and the order", () => {
    const own = { runtime: "node" as const, version: "24", build: "registry.example/node:24" };
    const other = { runtime: "node" as const, version: "22", build: "registry.example/node:22" };
    expect(catalogueOf({ os: "registry.example/debian:12", runtimes: [own] }, [system, node])).toMatchObject({
      os: "registry.example/debian:12",
      runtimes: [own],
    });
    expect(catalogueOf({ runtimes: [other] }, [system, node]).runtimes.map(({ build }) => build)).toEqual([
      "registry.example/node:22",
      node.build.reference,
    ]);
  });
});

describe("what was built on a base", () => {
  test("begins with the base's layers", () => {
    expect(isBuiltOn(["os", "run", "code"], { ...node.build, layers: ["os", "run"] })).toBe(true);
    expect(isBuiltOn(["os", "other", "run"], { ...node.build, layers: ["os", "run"] })).toBe(false);
    expect(isBuiltOn(["os"], { ...node.build, layers: ["os", "run"] })).toBe(false);
    expect(isBuiltOn(["os"], { ...node.build, layers: [] })).toBe(false);
  });

  test("is older than its base when that was made anew since", () => {
    const later = made("debian", "12", "20261123.1", { madeAt: "2026-11-23T10:00:00.000Z" });
    expect(newestOf([node.build.reference, later.build.reference], [node, later])).toBe(Date.parse("2026-11-23T10:00:00.000Z"));
    expect(newestOf(["debian:12-slim"], [node, later])).toBeUndefined();
  });
});
