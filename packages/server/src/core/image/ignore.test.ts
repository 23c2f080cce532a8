// The decisions of a .dockerignore, case by case as Docker's own documentation and its tests state them.
import { describe, expect, it } from "vitest";
import { compileIgnore, ignorePatterns } from "./ignore.ts";

const left = (text: string, ...paths: string[]): string[] => paths.filter(compileIgnore(ignorePatterns(text)));

it.each([
  ["node_modules", ["node_modules", "node_modules/a/b.js"], ["a/node_modules/b.js", "node_modules.txt"]],
  ["/node_modules/", ["node_modules/x"], ["a/node_modules/x"]],
  ["*/temp*", ["a/temporary.txt", "a/temp", "a/temp/b"], ["temp", "a/b/temp"]],
  ["*/*/temp*", ["a/b/temporary.txt"], ["a/temp"]],
  ["temp?", ["tempa", "tempb"], ["temp", "tempab"]],
  ["**/*.go", ["a.go", "a/b/c.go"], ["a.gox"]],
  ["**", ["a", "a/b"], []],
  ["a/**", ["a/b", "a/b/c"], ["a", "b"]],
  ["a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["ab"]],
  ["*.md\n!README.md", ["a.md"], ["README.md"]],
  ["*.md\n!README*.md\nREADME-secret.md", ["a.md", "README-secret.md"], ["README.md"]],
  ["*.md\nREADME-secret.md\n!README*.md", ["a.md"], ["README.md", "README-secret.md"]],
  ["build\n!build/keep", ["build", "build/x"], ["build/keep", "build/keep/y"]],
  ["# a comment\n\n  a  \r\n#b", ["a"], ["#b", "b"]],
  ["a/../b", ["b/c"], ["a"]],
  ["[a-c].txt", ["a.txt", "c.txt"], ["d.txt", "-.txt"]],
  ["[^a-c].txt", ["d.txt"], ["a.txt", "/.txt"]],
  ["[\\]].txt", ["].txt"], ["\\.txt"]],
  ["\\*.txt", ["*.txt"], ["a.txt"]],
  ["a.b", ["a.b"], ["axb"]],
  ["x$y(z)+", ["x$y(z)+"], ["xy"]],
  ["[", [], ["["]],
  ["[z-a]", [], ["b"]],
  ["\uFEFFa", ["a"], []],
])("%j", (text, ignored, kept) => {
  expect(left(text, ...ignored, ...kept)).toEqual(ignored);
});

describe("hostile patterns", () => {
  it("are answered soon", () => {
    // Processor time, since the machine may be busy with other tests.
    const from = process.cpuUsage();
    left(`${"**/a*".repeat(20)}b\n${"*a".repeat(30)}`, `${"a/".repeat(40)}${"a".repeat(200)}`);
    expect(process.cpuUsage(from).user / 1000).toBeLessThan(2_000);
  });

  it("are bounded in number", () => {
    expect(() => compileIgnore(Array.from({ length: 1001 }, (_, index) => `p${index}`))).toThrow(RangeError);
  });
});
