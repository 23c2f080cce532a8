import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDotenv, parseRawEnv } from "./dotenv.ts";

const shell: Readonly<Record<string, string>> = { SHELL_SET: "s", HOST: "h" };
const lookup = (name: string) => (Object.hasOwn(shell, name) ? shell[name] : undefined);
const read = (text: string) => {
  const parsed = parseDotenv(text, lookup);
  return parsed.ok ? Object.fromEntries(parsed.values) : `line ${parsed.line}: ${parsed.reason}`;
};

describe("reads .env as Compose does", () => {
  test.each([
    ["A=1", { A: "1" }],
    ["A=1\nB=2\n", { A: "1", B: "2" }],
    ["A=1\r\nB=2\r\n", { A: "1", B: "2" }],
    ["\ufeffA=1", { A: "1" }],
    ["", {}],
    ["\n\n", {}],
    ["# note\nA=1 # note", { A: "1" }],
    ["A=a#b", { A: "a#b" }],
    ["A=#b", { A: "#b" }],
    ["A= #b", { A: "#b" }],
    ["A=", { A: "" }],
    ["A=  spaced out  ", { A: "spaced out" }],
    ["export A=1", { A: "1" }],
    ["export\tA=1", { A: "1" }],
    ["A : 1", { A: "1" }],
    ["A = 1", { A: "1" }],
    ["my.key-x[0]=1", { "my.key-x[0]": "1" }],
    ["A='x y' # note", { A: "x y" }],
    ["A='$SHELL_SET \\n'", { A: "$SHELL_SET \\n" }],
    ["A='it\\'s'", { A: "it's" }],
    ["A='a\nb'\nB=1", { A: "a\nb", B: "1" }],
    ['A="x\\ny"', { A: "x\ny" }],
    ['A="say \\"hi\\""', { A: 'say "hi"' }],
    ['A="\\$HOST"', { A: "$HOST" }],
    ['A="$HOST"', { A: "h" }],
    ['A="tab\\tq\\q"', { A: "tab\tq\\q" }],
    ['A="a # b"', { A: "a # b" }],
    ["A=$HOST/x", { A: "h/x" }],
    ["A=1\nB=${A}2", { A: "1", B: "12" }],
    ["HOST=own\nB=$HOST", { HOST: "own", B: "h" }],
    ["A=${NONE:-d}", { A: "d" }],
    ["A=$$x", { A: "$x" }],
    ["SHELL_SET\nNONE", { SHELL_SET: "s" }],
    ["A=1\nA=2", { A: "2" }],
    ["A=\\path\\n", { A: "\\path\\n" }],
    ["ÄÖ=1", { ÄÖ: "1" }],
  ])("%j", (text, expected) => expect(read(text)).toEqual(expected));
});

test.each([
  ["A=1\nB!=2", "line 2: `!` cannot be part of a variable's name"],
  ["A B=1", "line 1: `A B` contains a space"],
  ["A=1\n\nB='x", "line 3: the value of B has no closing '"],
  ["=1", "line 1: a variable's name is missing"],
  ["A=${NONE:?needed}", "line 1: A: the variable NONE has to be set: needed"],
])("%j names its line", (text, message) => expect(read(text)).toBe(message));

test("doubling values do not fill the memory", () => {
  const lines = ["A0=xxxxxxxxxx", ...Array.from({ length: 40 }, (_, index) => `A${index + 1}=$A${index}$A${index}`)];
  expect(read(lines.join("\n"))).toMatch(/expand to more than/);
});

test("raw format takes everything after the first = as it stands", () => {
  const parsed = parseRawEnv("# c\nA='x' # y\n B=$HOST=\r\nSHELL_SET\nNONE\n", lookup);
  expect(parsed.ok && Object.fromEntries(parsed.values)).toEqual({ A: "'x' # y", B: "$HOST=", SHELL_SET: "s" });
  expect(parseRawEnv("A=1\nx y=2", lookup)).toMatchObject({ ok: false, line: 2 });
});

test("never throws, and always ends", () => {
  const parts = fc
    .array(fc.constantFrom("A", "=", "'", '"', "\\", "\n", "#", " ", "$A", "${", "export ", ":", "\r", "é", "\u2028"), { maxLength: 40 })
    .map((list) => list.join(""));
  fc.assert(
    fc.property(fc.oneof(parts, fc.string({ unit: "binary" })), (text) => {
      parseDotenv(text, lookup);
      parseRawEnv(text, lookup);
    }),
  );
});
