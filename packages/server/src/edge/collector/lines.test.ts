// Lines and masks: however the bytes arrive, the same lines come out, and no secret among them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { continued, LineSplitter } from "./lines.ts";
import { createMask } from "./mask.ts";

function split(chunks: readonly Buffer[], secrets: readonly string[] = [], most = 100): string[] {
  const splitter = new LineSplitter(createMask(secrets), most);
  return [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.flush(true)];
}

function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index] ?? 0, end));
}

describe("lines", () => {
  it("are the same wherever the chunks end", () => {
    const text = fc
      .array(fc.constantFrom("a", "Ω", "😀", "\n", "\r\n", "hunter2!", "x".repeat(70), " "), { maxLength: 40 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 8 }), (whole, cuts) => {
        const bytes = Buffer.from(whole);
        expect(split(pieces(bytes, cuts), ["hunter2!"])).toEqual(split([bytes], ["hunter2!"]));
      }),
    );
  });

  it("never show a secret, whole or cut in two", () => {
    const secret = "s3cret-value";
    fc.assert(
      fc.property(fc.nat(150), fc.nat(150), fc.array(fc.nat(), { maxLength: 6 }), (before, after, cuts) => {
        const shown = split(pieces(Buffer.from(`${"a".repeat(before)}${secret}${"b".repeat(after)}\n`), cuts), [secret]);
        expect(shown.map((line) => line.replace(continued, "")).join("")).not.toContain("s3cret");
        expect(shown.join("")).toContain("***");
      }),
    );
  });

  it("lose no byte when they are too long, and say that they go on", () => {
    const long = "é".repeat(333);
    const shown = split([Buffer.from(`${long}\nshort\n`)]);
    expect(shown.length).toBeGreaterThan(6);
    expect(shown.map((line) => line.replace(continued, "")).join("")).toBe(`${long}short`);
    expect(shown[0]?.endsWith(continued)).toBe(true);
  });

  it("replace bytes that are no text", () => {
    expect(split([Buffer.from([0x61, 0xff, 0x00, 0x62, 0x0a])])).toEqual(["a\u{FFFD}\u{FFFD}b"]);
  });

  it("hold back what may be half a secret, and show other unfinished lines", () => {
    const splitter = new LineSplitter(createMask(["password-1"]), 100);
    splitter.push(Buffer.from("Name: "));
    expect(splitter.flush(false)).toEqual(["Name: "]);
    splitter.push(Buffer.from("pw=passw"));
    expect(splitter.flush(false)).toEqual([]);
    expect(splitter.push(Buffer.from("ord-1\n"))).toEqual(["pw=***"]);
  });

  it("mask values in their JSON form and by the line, but not trifles", () => {
    const mask = createMask(['quo"ted-value', "first line of key\nsecond line of key", "abc"]);
    expect(mask.apply('{"a":"quo\\"ted-value"} first line of key abc')).toBe('{"a":"***"} *** abc');
  });
});
