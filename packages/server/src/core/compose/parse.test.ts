import fc from "fast-check";
import { expect, test } from "vitest";
import { Findings } from "./findings.ts";
import { parseYaml } from "./parse.ts";
import { get, locate, plain } from "./tree.ts";

function parse(text: string) {
  const findings = new Findings();
  const documents = parseYaml("f.yaml", text, findings);
  return {
    documents,
    data: documents?.map(plain),
    problems: findings.problems.map(({ params }) => `${params.line}:${params.column} ${params.reason}`),
  };
}

test("every node knows where it was written", () => {
  const [document] = parse("services:\n  web:\n    ports:\n      - 80\n      - 90\n").documents ?? [];
  if (document === undefined) throw new Error("not read");
  expect(document.entries.get("services")?.keyAt).toEqual({ file: "f.yaml", line: 1, column: 1 });
  expect(locate(document, "/services/web/ports/1")).toEqual({ file: "f.yaml", line: 5, column: 9 });
  expect(locate(document, "/services/gone/ports")).toEqual({ file: "f.yaml", line: 1, column: 1 });
});

test("YAML 1.2: yes, no, on and off are words", () =>
  expect(parse("a: yes\nb: no\nc: on\nd: true\ne: 0o17\nf: null\ng: ~\n").data).toEqual([
    { a: "yes", b: "no", c: "on", d: true, e: 15, f: null, g: null },
  ]));

test.each([
  ["1", "1"],
  ["1.10", "1.1"],
  ["1e3", "1000"],
  ["0.00001", "1e-05"],
  ["1e21", "1e+21"],
  ["12345678901234567890", "12345678901234567890"],
  ["-5", "-5"],
  ["0x10", "16"],
  ["true", "true"],
  ["1.5e-7", "1.5e-07"],
  ["100000000000000000000.0", "100000000000000000000"],
])("the number %s reads %s where text is wanted", (text, expected) => {
  const value = get(parse(`a: ${text}\n`).documents?.[0], "a");
  expect(value?.type === "scalar" && value.text).toBe(expected);
});

test("anchors, aliases and merge keys", () => {
  expect(parse("x: &a {p: 1, q: 2}\ny: {<<: *a, q: 3}\nz: *a\n").data).toEqual([
    { x: { p: 1, q: 2 }, y: { p: 1, q: 3 }, z: { p: 1, q: 2 } },
  ]);
  expect(parse("x: &a {p: 1}\ny: &b {p: 2, q: 2}\nz: {<<: [*a, *b]}\n").data).toEqual([
    { x: { p: 1 }, y: { p: 2, q: 2 }, z: { p: 1, q: 2 } },
  ]);
  expect(parse("x: &a {p: 1}\ny:\n  p: 0\n  <<: *a\n").data).toEqual([{ x: { p: 1 }, y: { p: 0 } }]);
});

test("tags of the merge are kept, and the value under !override is what it is without the tag", () => {
  const [document] = parse("a: !reset null\nb: !override 5\nc: !override [1]\n").documents ?? [];
  expect([...(document?.entries.values() ?? [])].map(({ value }) => [value.tag, plain(value)])).toEqual([
    ["reset", null],
    ["override", 5],
    ["override", [1]],
  ]);
});

test.each(["*x", "? x", "{", "'a"])("what is behind !override need not be YAML: %s", (text) => {
  expect(() => parse(`a: !override ${text}\n`)).not.toThrow();
});

test("several documents", () => expect(parse("a: 1\n---\nb: 2\n").data).toEqual([{ a: 1 }, { b: 2 }]));

test.each([
  ["a: 1\nb: 2\na: 2\n", /^3:1 `a` is there twice, first in line 1/],
  ["a: {1: x, '1': y}\n", /^1:11 `1` is there twice/],
  ["a: [1\n", /^\d:\d this is not valid YAML/],
  ["a:\n\t- b\n", /^2:1 this is not valid YAML: Tabs/],
  ["- a\n", /^1:1 a Compose file is a mapping/],
  ["just text", /^1:1 a Compose file is a mapping/],
  ["", /^1:1 it is empty/],
  ["# only a comment\n", /^1:1 it is empty/],
  ["a: *b\n", /there is no anchor|Unresolved alias/],
  ["a: &a [*a]\n", /contains itself/],
  ["a: &a {b: {c: *a}}\n", /contains itself/],
  ["? [1, 2]\n: x\n", /^1:3 a key has to be a plain word/],
  ["a: 1\n<<: 5\n", /merges mappings/],
])("%j is a problem with its place", (text, message) => {
  const { problems, documents } = parse(text);
  expect(problems[0]).toMatch(message);
  expect(documents).toBeUndefined();
});

test("a billion laughs are refused at once", () => {
  const lines = [
    "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
    ...Array.from({ length: 12 }, (_, index) => `a${index + 1}: &a${index + 1} [${Array(10).fill(`*a${index}`).join(", ")}]`),
  ];
  // Processor time, since the machine may be busy with other tests.
  const started = process.cpuUsage();
  expect(parse(lines.join("\n")).problems[0]).toMatch(/more than 100000 values/);
  expect(process.cpuUsage(started).user / 1000).toBeLessThan(2000);
});

test("many keys are read in a time that grows as they do", () => {
  const started = process.cpuUsage();
  expect(parse(Array.from({ length: 20_000 }, (_, index) => `k${index}: v\n`).join("")).problems).toEqual([]);
  expect(process.cpuUsage(started).user / 1000).toBeLessThan(5000);
});

test("of many mistakes the first are told", () => expect(parse(`a: ${"! ".repeat(10_000)}`).problems.length).toBeLessThan(25));

test("depth is bounded", () => {
  expect(parse("{a: ".repeat(200) + "1" + "}".repeat(200)).problems[0]).toMatch(/levels deep/);
  expect(parse("[".repeat(20_000)).problems).not.toHaveLength(0);
  expect(parse("- ".repeat(5000)).problems).not.toHaveLength(0);
});

test("never throws", () => {
  const parts = fc
    .array(
      fc.constantFrom(
        "a",
        ": ",
        "\n",
        "  ",
        "- ",
        "&x ",
        "*x",
        "{",
        "}",
        "[",
        "]",
        "<<",
        "!reset",
        "!override ",
        "|",
        ">",
        "'",
        '"',
        "#",
        "?",
        "---\n",
        "%",
        "\t",
        "!!binary ",
      ),
      { maxLength: 40 },
    )
    .map((list) => list.join(""));
  fc.assert(
    fc.property(fc.oneof(parts, fc.string({ unit: "binary" })), (text) => {
      parse(text);
    }),
    { numRuns: 500 },
  );
});
