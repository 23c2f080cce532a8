import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, contentHash } from "./canonical.ts";

function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, shuffled(item)]),
  );
}

describe("canonical JSON", () => {
  it("sorts keys at every depth and keeps the order of lists", () => {
    expect(canonicalJson({ b: [{ y: 1, x: 2 }, 3], a: null })).toBe('{"a":null,"b":[{"x":2,"y":1},3]}');
  });
  it("leaves undefined out of objects, and writes null for it elsewhere", () => {
    expect([canonicalJson({ a: undefined, b: 1 }), canonicalJson([undefined]), canonicalJson(undefined)]).toEqual([
      '{"b":1}',
      "[null]",
      "null",
    ]);
  });
  it("is the same for any order of keys, and reads back as the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 300 },
    );
  });
  it("keeps a key that is called __proto__", () => {
    expect(canonicalJson(JSON.parse('{"__proto__":1,"a":2}'))).toBe('{"__proto__":1,"a":2}');
  });
  it("writes dates as JSON does, so that two of them differ", () => {
    expect(canonicalJson({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
  });
});

describe("a content hash", () => {
  it("is the SHA-256 of the canonical JSON", () => {
    expect(contentHash({ b: 1, a: "ä" })).toBe(`sha256:${createHash("sha256").update('{"a":"ä","b":1}', "utf8").digest("hex")}`);
  });
  it("tells apart what differs only in type or order of a list", () => {
    expect(
      new Set([
        contentHash({ a: 1 }),
        contentHash({ a: "1" }),
        contentHash([1, 2]),
        contentHash([2, 1]),
        contentHash(null),
        contentHash({}),
      ]).size,
    ).toBe(6);
  });
});
