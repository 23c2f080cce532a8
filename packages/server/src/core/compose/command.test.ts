import fc from "fast-check";
import { expect, test } from "vitest";
import { commandFromWords, splitLine } from "./command.ts";

const exec = (...words: string[]) => ({ ok: true, command: { exec: words }, shell: false });
const shell = (line: string) => ({ ok: true, command: { shell: line }, shell: true });

test.each([
  ["node server.js", exec("node", "server.js")],
  ["  a   b\t c\n", exec("a", "b", "c")],
  ["echo 'x y' \"z w\"", exec("echo", "x y", "z w")],
  ["a '' \"\"", exec("a", "", "")],
  ["a\\ b", exec("a b")],
  ["a 'it'\\''s'", exec("a", "it's")],
  ['a "q\\"q"', exec("a", 'q"q')],
  ["a --x='y z'", exec("a", "--x=y z")],
  ["a '$HOME;x'", exec("a", "$HOME;x")],
  ['a "x;y"', exec("a", "x;y")],
  ["a * ~ #b", exec("a", "*", "~", "#b")],
  ["a $ 5$", exec("a", "$", "5$")],
  ["", { ok: true, command: undefined, shell: false }],
  ["   ", { ok: true, command: undefined, shell: false }],
  ["migrate && serve", shell("migrate && serve")],
  ["a | b", shell("a | b")],
  ["a > f", shell("a > f")],
  [" a; b ", shell("a; b")],
  ["serve -p $PORT", shell("serve -p $PORT")],
  ['a "${X}"', shell('a "${X}"')],
  ["a $(b)", shell("a $(b)")],
  ["a `b`", shell("a `b`")],
])("%j is split as Compose splits it, or kept for a shell where Compose would cut it off", (line, expected) =>
  expect(splitLine(line)).toEqual(expected),
);

test.each(["a 'b", 'a "b', "a \\"])("%j is reported", (line) => expect(splitLine(line).ok).toBe(false));

test("a list is run as it is, and a list that asks for a shell is a shell line", () => {
  expect(commandFromWords([])).toBeUndefined();
  expect(commandFromWords(["a", "$X;"])).toEqual({ exec: ["a", "$X;"] });
  expect(commandFromWords(["/bin/sh", "-c", "a; b"])).toEqual({ shell: "a; b" });
  expect(commandFromWords(["sh", "-c", "a"])).toEqual({ exec: ["sh", "-c", "a"] });
});

test("never throws", () =>
  fc.assert(
    fc.property(fc.string(), (line) => {
      splitLine(line);
    }),
  ));
