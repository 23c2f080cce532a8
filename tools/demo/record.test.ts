// The demo's record decides what `--down` deletes, so it is tested for what it must never delete.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openRecord, readRecord, removeEmptyConfig, removeMade, writeRecord, type Places } from "./record.ts";

let folder = "";
const at = (name: string): string => join(folder, name);
const where = (): Places => ({ home: at("home"), runDir: at("run"), configDir: at("config"), cacheDir: at("cache") });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-record-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("what the demo made", () => {
  it("is every folder that was not there before", () => {
    mkdirSync(at("config"));
    expect(openRecord(where()).made).toEqual([at("home"), at("run"), at("cache")]);
  });

  it("never is a home that somebody uses", () => {
    mkdirSync(at("home"));
    writeFileSync(join(at("home"), "installation.json"), "{}");
    expect(openRecord(where()).made).not.toContain(at("home"));
  });

  it("is a home that was there, but empty", () => {
    mkdirSync(at("home"));
    expect(openRecord(where()).made).toContain(at("home"));
  });

  it("stays what it was when the demo runs again", () => {
    const first = openRecord(where());
    mkdirSync(at("run"));
    writeRecord(at("home"), { ...first, stack: true });
    expect(openRecord(where())).toEqual({ ...first, stack: true });
  });

  it("is nothing when the record is not the demo's", () => {
    mkdirSync(at("home"));
    writeFileSync(join(at("home"), "demo.json"), "{ something");
    expect(readRecord(at("home"))).toBeUndefined();
    expect(readFileSync(join(at("home"), "demo.json"), "utf8")).toBe("{ something");
  });
});

describe("removing", () => {
  it("takes a folder with what is in it", () => {
    mkdirSync(at("home/deep"), { recursive: true });
    removeMade(at("home"));
    expect(existsSync(at("home"))).toBe(false);
  });

  it.each(["/", "/var", homedir(), `${homedir()}/.`, join(homedir(), ".."), "/proc/self"])("refuses %s", (path) => {
    expect(() => {
      removeMade(path);
    }).toThrow(/removed|root of things/);
  });

  it.each([
    ["a login to another server", { "credentials.json": '{"servers": {"https://berth.example.com": {"token": "x"}}}' }, true],
    ["something else in it", { "credentials.json": '{"servers": {}}', "notes.txt": "" }, true],
    ["no login any more", { "credentials.json": '{\n  "servers": {}\n}\n' }, false],
    ["nothing in it", {}, false],
  ] as const)("keeps the logins' folder only when there is reason: %s", (_, files, kept) => {
    mkdirSync(at("config"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(at("config"), name), text);
    removeEmptyConfig(at("config"));
    expect(existsSync(at("config"))).toBe(kept);
  });
});
