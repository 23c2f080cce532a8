// What Buildah is given of a Dockerfile: mounts that can lead nowhere, names as everybody reads them, and every line where it was.
import { expect, it } from "vitest";
import { readInstructions } from "../../core/buildplan/instructions.ts";
import { forBuildah, needOfBuildah, unknownInstruction } from "./buildah-file.ts";

function written(text: string): string {
  return forBuildah({ text, instructions: readInstructions(text).all }).text;
}

it("names a cache by a digest, whatever its file calls it", () => {
  for (const id of ["deps", "../../etc", "/etc", "."])
    expect(written(`FROM a\nRUN --mount=type=cache,id=${id},target=/c make`)).toMatch(
      /^FROM a\nRUN --mount=type=cache,id=[0-9a-f]{24},target=\/c make$/,
    );
  // Without an id it is the target's, which may lead elsewhere just as well.
  expect(written("FROM a\nRUN --mount=type=cache,target=../../x make")).toMatch(/target=\.\.\/\.\.\/x,id=[0-9a-f]{24} make$/);
});

it("keeps every line where it was, and reads the names of stages in small letters", () => {
  const text =
    "FROM a AS Made\n# RUN --mount=type=secret,id=t,required x\nRUN \\\n  --mount=type=secret,id=t,required \\\n  x\nFROM Made\nCOPY --from=MADE /x /x";
  expect(written(text).split("\n")).toEqual([
    "FROM a as made",
    "# RUN --mount=type=secret,id=t,required x",
    "RUN \\",
    "  --mount=type=secret,id=t,required=true \\",
    "  x",
    "FROM made",
    "COPY --from=made /x /x",
  ]);
});

it.each([
  ["RUN --mount=type=bind,target=/x true", "RUN --mount=type=bind,target=/x"],
  ["RUN --mount=target=/x true", "RUN --mount=target=/x"],
  ["RUN --mount=type=secret,id=a,env=A true", "RUN --mount=type=secret,id=a,env=A"],
  ["ONBUILD RUN --mount=type=bind,target=/x true", "RUN --mount=type=bind,target=/x"],
  ["RUN --security=insecure true", "RUN --security"],
  ["COPY --link a b", "COPY --link"],
  ["COPY --from=oci:/somewhere a b", "COPY --from=oci:/somewhere"],
])("refuses %s", (line, what) => {
  expect(needOfBuildah(readInstructions(`FROM a\n${line}`))).toEqual({ line: 2, what });
});

it("lets pass what it understands, and tells the line of a word that is none", () => {
  const read = readInstructions(
    "FROM --platform=linux/amd64 a\nCOPY --chown=1 --chmod=644 a b\nRUN --mount=type=tmpfs,target=/t true\nRUNN x",
  );
  expect(needOfBuildah(read)).toBeUndefined();
  expect(unknownInstruction(read)).toEqual({ line: 4, word: "RUNN" });
});
