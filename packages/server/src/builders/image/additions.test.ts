// What is added to a Dockerfile, in files as people write them.
import { expect, it } from "vitest";
import { readInstructions } from "../../core/buildplan/instructions.ts";
import { withAdditions, withKnownLines } from "./additions.ts";
import type { Script } from "./instructions.ts";

const scriptOf = (text: string): Script => ({ text, instructions: readInstructions(text).all });
const mark = "LABEL berth.cache=s1";
const labels = { "berth.build": "b1" };
const label = "LABEL berth.build='b1'";
const added = (text: string, target?: string): Script => withAdditions(scriptOf(text), { stackId: "s1", labels, target });

it("marks the beginning of every stage, and says at the end of the last what the image is", () => {
  const file = [
    "# escape=\\",
    "ARG VERSION=12",
    "FROM debian:\\",
    "# a comment in the middle",
    "  ${VERSION} AS build",
    "",
    "# why",
    "RUN make",
    "FROM build AS code",
    "FROM scratch",
  ].join("\n");
  const script = added(file);
  expect(script.text.split("\n").filter((line) => line !== mark && line !== label)).toEqual(file.split("\n"));
  const read = readInstructions(script.text).all;
  expect(read.map(({ keyword }) => keyword)).toEqual(["ARG", "FROM", "LABEL", "RUN", "FROM", "LABEL", "FROM", "LABEL", "LABEL"]);
  expect(read.slice(-2).map(({ keyword, rest }) => `${keyword} ${rest}`)).toEqual([mark, label]);
  expect(script.instructions.map(({ keyword, rest }) => [keyword, rest])).toEqual(read.map(({ keyword, rest }) => [keyword, rest]));
  expect(script.instructions.map(({ line }) => line)).toEqual([2, 3, 3, 8, 9, 9, 10, 10, 10]);
});

it("labels the stage that is built, by its name or number", () => {
  const file = "FROM a AS One\nRUN one\nFROM b\nRUN two";
  for (const target of ["one", "ONE", "0"])
    expect(added(file, target).text).toBe(`FROM a AS One\n${mark}\nRUN one\n${label}\nFROM b\n${mark}\nRUN two`);
  expect(added(file).text).toBe(`FROM a AS One\n${mark}\nRUN one\nFROM b\n${mark}\nRUN two\n${label}`);
});

it("lets no value out of its quotes", () => {
  const { text } = withAdditions(scriptOf("FROM a"), { stackId: "s1", labels: { source: "https://x/$HOME/it's\\\nRUN evil`" } });
  expect(text.split("\n").at(-1)).toBe("LABEL source='https://x/$HOME/it%27s%5c%0aRUN evil%60'");
});

it("moves no line that the daemon speaks of", () => {
  const file = "FROM a AS one\nRUN one\nFROM b\nRUN two\nRUN three";
  for (const script of [added(file), added(file, "one")]) {
    const lines = script.text.split("\n");
    for (const [index, line] of file.split("\n").entries())
      expect(withKnownLines(`dockerfile parse error line ${String(lines.indexOf(line) + 1)}: no`, script)).toBe(
        `dockerfile parse error line ${String(index + 1)}: no`,
      );
  }
});
