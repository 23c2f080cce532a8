// What Berth reads out of a Dockerfile: where each instruction stands, and what it asks of its builder.
import { describe, expect, it } from "vitest";
import { readInstructions, showInstruction, stagesOf } from "./instructions.ts";
import { needsOf, secretsOf, sshLine } from "./needs.ts";

const lines = (text: string): string[] => readInstructions(text).all.map((one) => `${one.line} ${showInstruction(one)}`);
const needs = (text: string): string[] => needsOf(readInstructions(text)).map(({ line, what }) => `${line} ${what}`);
const secrets = (text: string): string[] =>
  secretsOf(readInstructions(text).all).map(({ id, line, required }) => `${line} ${id}${required ? "!" : ""}`);

describe("instructions", () => {
  it.each([
    ["FROM a\n\n# b\nRUN c", ["1 FROM a", "4 RUN c"]],
    ["FROM a\nRUN b && \\\n  c\nCMD d", ["1 FROM a", "2 RUN b && c", "4 CMD d"]],
    ["FROM a\nRUN b && \\\n# in between\n\n  c\nCMD d", ["1 FROM a", "2 RUN b && c", "6 CMD d"]],
    ["# escape=`\nFROM a\nRUN b `\n c\\\nCMD d", ["2 FROM a", "3 RUN b c\\", "5 CMD d"]],
    ["FROM a\r\nrun b\r\n", ["1 FROM a", "2 RUN b"]],
    ["FROM a\nRUN <<EOF\nCMD no\nEOF\nCMD yes", ["1 FROM a", "2 RUN <<EOF", "5 CMD yes"]],
    ['FROM a\nCOPY <<A <<"B" /x/\n1\nA\n2\nB\nCMD yes', ["1 FROM a", '2 COPY <<A <<"B" /x/', "7 CMD yes"]],
    ["FROM a\nRUN echo $((1<<2))\nRUN cat <<never", ["1 FROM a", "2 RUN echo $((1<<2))", "3 RUN cat <<never"]],
    ["FROM a\nRUN b \\", ["1 FROM a", "2 RUN b"]],
  ])("%j", (text, expected) => {
    expect(lines(text)).toEqual(expected);
  });

  it("take directives from the top alone", () => {
    const { directives } = readInstructions("#syntax = a/b:1 \n# escape=`\n\n# check=skip=all\nFROM a");
    expect([...directives]).toEqual([
      ["syntax", { value: "a/b:1", line: 1 }],
      ["escape", { value: "`", line: 2 }],
    ]);
  });

  it("name their stages", () => {
    expect(stagesOf(readInstructions("FROM --platform=x a AS One\nFROM b\nFROM one as two").all)).toEqual([
      { image: "a", name: "one" },
      { image: "b" },
      { image: "one", name: "two" },
    ]);
  });
});

describe("what only BuildKit knows", () => {
  it.each([
    ["FROM a\nCOPY --chown=1 --from=b c d\nADD e f\nRUN g --mount=x", []],
    ["# syntax=docker/dockerfile:1\nFROM a", ["1 # syntax=docker/dockerfile:1"]],
    ["FROM a\nRUN --mount=type=cache,target=/x \\\n  --network=none b", ["2 RUN --mount", "2 RUN --network"]],
    ["FROM a\nCOPY --link a b\nADD --checksum=x y z", ["2 COPY --link", "3 ADD --checksum"]],
    ["FROM a\nRUN cat <<EOF\nx\nEOF", ["2 RUN with a here-document (<<)"]],
    ["FROM a\nONBUILD RUN --mount=type=bind b", ["2 RUN --mount"]],
  ])("%j", (text, expected) => {
    expect(needs(text)).toEqual(expected);
  });
});

describe("build secrets", () => {
  it.each([
    ["FROM a\nRUN --mount=type=secret,id=one b", ["2 one"]],
    ["FROM a\nRUN --mount=type=secret,target=/run/x/two b", ["2 two"]],
    ["FROM a\nRUN --mount=type=secret,id=one b\nRUN --mount=id=one,required,type=secret c", ["3 one!"]],
    ["FROM a\nRUN --mount=type=cache,id=one,target=/x --mount=type=secret,id=two,required=true b", ["2 two!"]],
    ["FROM a\nONBUILD RUN --mount=type=secret,id=late b", ["2 late"]],
    ["FROM a\nRUN echo --mount=type=secret,id=one", []],
  ])("%j", (text, expected) => {
    expect(secrets(text)).toEqual(expected);
  });

  it("are not keys of an agent", () => {
    expect(sshLine(readInstructions("FROM a\nRUN b\nRUN --mount=type=ssh c").all)).toBe(3);
  });
});
