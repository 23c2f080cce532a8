// No secret is left in a text, in any of the forms in which programs print it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMask } from "./mask.ts";

describe("createMask", () => {
  it("takes out every value, whatever characters it holds", () => {
    const value = fc
      .string({ unit: fc.constantFrom(..."abAB01.$(+\\/|[^ -"), minLength: 4, maxLength: 20 })
      .filter((text) => text.trim().length >= 4);
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), (values) => {
        const masked = createMask(values)(values.map((text) => `<${text}>`).join(""));
        for (const text of values) expect(masked).not.toContain(text.trim());
      }),
    );
  });
  it("takes the longer of two values that overlap", () => {
    expect(createMask(["secret", "secret-and-more"])("x secret-and-more y secret")).toBe("x *** y ***");
  });
  it("takes out each line of a value, and its percent- and base64-encoded forms", () => {
    const mask = createMask(["first line\nsecond line", "p@ss w0rd!"]);
    expect(mask("second line")).toBe("***");
    expect(mask(encodeURIComponent("p@ss w0rd!"))).toBe("***");
    expect(mask(`Basic ${Buffer.from("p@ss w0rd!").toString("base64")}`)).toMatch(/^Basic \*\*\*=*$/);
  });
  it("takes short values only as whole words, or nothing would be readable", () => {
    expect(createMask(["1", "no"])("1 of 10: no node")).toBe("*** of 10: *** node");
  });
  it("leaves text alone without values", () => {
    expect(createMask(["", "  "])("as it is")).toBe("as it is");
  });
});
