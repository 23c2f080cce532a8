import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { withUsableCache } from "./cache.mjs";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "berth-cache-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

it("leaves npm's cache where it is, whether it is there yet or not, and makes nothing", () => {
  expect(withUsableCache({ HOME: home }, "/root-of-it")).toEqual({ HOME: home });
  expect(existsSync(join(home, ".npm"))).toBe(false);
  mkdirSync(join(home, ".npm"));
  expect(withUsableCache({ HOME: home }, "/root-of-it")).toEqual({ HOME: home });
  const named = { HOME: "/proc", npm_config_cache: join(home, "a", "b") };
  expect(withUsableCache(named, "/root-of-it")).toEqual(named);
  expect(existsSync(join(home, "a"))).toBe(false);
});

it.each(["/proc", "/proc/self/fd/none/deep", "/dev/null"])("uses a folder of the repository when the home is %s", (bad) => {
  expect(withUsableCache({ HOME: bad }, home)).toEqual({ HOME: bad, npm_config_cache: join(home, ".cache", "npm") });
  expect(withUsableCache({ HOME: home, npm_config_cache: join(bad, ".npm") }, home)).toMatchObject({
    npm_config_cache: join(home, ".cache", "npm"),
  });
});

it("uses a folder of the repository when a file is in the way", () => {
  writeFileSync(join(home, ".npm"), "");
  expect(withUsableCache({ HOME: home }, home)).toMatchObject({ npm_config_cache: join(home, ".cache", "npm") });
});
