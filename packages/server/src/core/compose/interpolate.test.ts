import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interpolate, newBudget } from "./interpolate.ts";

const values: Readonly<Record<string, string>> = { SET: "value", EMPTY: "", DOLLAR: "$SET", _under: "u", lower: "l" };
const lookup = (name: string) => (Object.hasOwn(values, name) ? values[name] : undefined);
const text = (template: string) => {
  const result = interpolate(template, lookup);
  return result.ok ? result.text : `! ${result.reason}`;
};

describe("fills in variables as Compose does", () => {
  test.each([
    ["plain", "plain"],
    ["$SET", "value"],
    ["${SET}", "value"],
    ["a${SET}b", "avalueb"],
    ["$SET/x", "value/x"],
    ["$SETx", ""],
    ["${SET}x", "valuex"],
    ["$UNSET", ""],
    ["${UNSET}", ""],
    ["$_under $lower", "u l"],
    ["${SET:-x}", "value"],
    ["${EMPTY:-x}", "x"],
    ["${UNSET:-x}", "x"],
    ["${SET-x}", "value"],
    ["${EMPTY-x}", ""],
    ["${UNSET-x}", "x"],
    ["${UNSET:-}", ""],
    ["${SET:+x}", "x"],
    ["${EMPTY:+x}", ""],
    ["${UNSET:+x}", ""],
    ["${SET+x}", "x"],
    ["${EMPTY+x}", "x"],
    ["${UNSET+x}", ""],
    ["${SET:?gone}", "value"],
    ["${EMPTY?gone}", ""],
    ["${EMPTY:?gone}", "! the variable EMPTY has to be set: gone"],
    ["${UNSET?gone}", "! the variable UNSET has to be set: gone"],
    ["${UNSET:?}", "! the variable UNSET has to be set"],
    ["${UNSET:?ask ${SET}}", "! the variable UNSET has to be set: ask value"],
    ["${UNSET:-${EMPTY:-${SET}}}", "value"],
    ["${UNSET:-$SET}", "value"],
    ["${SET:+${UNSET-n}}", "n"],
    ["${UNSET:-a}${UNSET:-b}", "ab"],
    ['${UNSET:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'],
    ["${UNSET:-a:-b}", "a:-b"],
    ["${UNSET-a?b}", "a?b"],
    ["$$", "$"],
    ["$$SET", "$SET"],
    ["$$$SET", "$value"],
    ["$${SET}", "${SET}"],
    ["${UNSET:-$$x}", "$x"],
    ["5$", "5$"],
    ["$1", "$1"],
    ["a $ b", "a $ b"],
    ["$-", "$-"],
    ["${DOLLAR}", "$SET"],
  ])("%s", (template, expected) => expect(text(template)).toBe(expected));
});

test.each(["${", "${}", "${SET", "${1}", "${SET!}", "${SET:}", "${-x}", "${ SET}", "${UNSET:-${SET}"])(
  "%s is not a variable, and says so",
  (template) => expect(text(template)).toMatch(/^! /),
);

test("tells which variables were used bare, so that a missing one can be noted", () => {
  const bare: string[] = [];
  interpolate("$A ${B} ${C:-x} ${D?}", (name, isBare) => {
    if (isBare === true) bare.push(name);
    return "v";
  });
  expect(bare).toEqual(["A", "B"]);
});

test("expansion is bounded over all values that share a budget", () => {
  const budget = newBudget();
  const big = "x".repeat(1_000_000);
  const results = Array.from({ length: 8 }, () => interpolate("$BIG", () => big, budget).ok);
  expect(results.filter(Boolean)).toHaveLength(4);
  expect(interpolate("${A:-".repeat(100) + "}".repeat(100), () => undefined).ok).toBe(false);
});

test("never throws, and a doubled dollar sign always survives", () => {
  const parts = fc
    .array(fc.constantFrom("$", "{", "}", ":", "-", "+", "?", "A", " ", "SET", "\n", "é"), { maxLength: 30 })
    .map((list) => list.join(""));
  fc.assert(
    fc.property(fc.oneof(parts, fc.string()), (template) => {
      interpolate(template, lookup);
    }),
  );
  fc.assert(
    fc.property(fc.string(), (value) => {
      expect(interpolate(value.replaceAll("$", "$$$$"), lookup)).toEqual({ ok: true, text: value });
    }),
  );
});
