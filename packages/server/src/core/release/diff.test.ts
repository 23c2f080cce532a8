import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffFields } from "./diff.ts";

describe("a diff", () => {
  it("of equal values is empty, whatever the order of their keys", () => {
    expect(diffFields({ a: 1, b: { c: [1, 2], d: "x" } }, { b: { d: "x", c: [1, 2] }, a: 1 })).toEqual([]);
  });
  it("names what was added, removed and changed by its path, in order of keys", () => {
    expect(
      diffFields({ env: { OLD: "1", SAME: "1", NUMBER: "1" }, kind: "web" }, { kind: "web", env: { NUMBER: "2", SAME: "1", NEW: "1" } }),
    ).toEqual([
      { path: "env.NEW", to: "1" },
      { path: "env.NUMBER", from: "1", to: "2" },
      { path: "env.OLD", from: "1" },
    ]);
  });
  it("shows lists as wholes", () => {
    expect(diffFields({ ports: [{ name: "http" }] }, { ports: [{ name: "http" }, { name: "admin" }] })).toEqual([
      { path: "ports", from: [{ name: "http" }], to: [{ name: "http" }, { name: "admin" }] },
    ]);
  });
  it("shows a value that became an object, and one that became a list, as wholes", () => {
    expect(diffFields({ a: 1, b: { c: 1 } }, { a: { x: 1 }, b: [1] })).toEqual([
      { path: "a", from: 1, to: { x: 1 } },
      { path: "b", from: { c: 1 }, to: [1] },
    ]);
  });
  it("takes absent and null for the same", () => {
    expect(diffFields({ a: null }, {})).toEqual([]);
    expect(diffFields({ a: null }, { a: 1 })).toEqual([{ path: "a", to: 1 }]);
  });
  it("tells false, 0 and the empty text from nothing", () => {
    expect(diffFields({}, { a: false, b: 0, c: "" })).toEqual([
      { path: "a", to: false },
      { path: "b", to: 0 },
      { path: "c", to: "" },
    ]);
  });
  it("is empty for a value and itself, and turns around with its sides", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (from, to) => {
        expect(diffFields(from, from)).toEqual([]);
        const back = diffFields(to, from).map(({ path, from: was, to: is }) => ({
          path,
          ...(is === undefined ? {} : { from: is }),
          ...(was === undefined ? {} : { to: was }),
        }));
        expect(back).toEqual(diffFields(from, to));
      }),
      { numRuns: 300 },
    );
  });
});
