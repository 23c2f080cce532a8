// Lines out of bytes that come as they like.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KubeProtocolError } from "./errors.ts";
import { readLines } from "./lines.ts";

async function* chunksOf(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  let from = 0;
  for (const size of [...sizes, bytes.length]) {
    if (from >= bytes.length) return;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

async function all(
  bytes: Buffer,
  sizes: readonly number[],
  maxBytes = 1_000,
  beyond: "cut" | "throw" = "throw",
): Promise<{ text: string; cut: boolean }[]> {
  const lines = [];
  for await (const batch of readLines(chunksOf(bytes, sizes), maxBytes, beyond)) lines.push(...batch);
  return lines;
}

describe("lines", () => {
  it("are the same wherever the bytes are cut", async () => {
    const texts = fc.array(
      fc.string({ unit: "binary" }).map((text) => text.replaceAll("\n", "")),
      { maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(texts, fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 }), async (lines, sizes) => {
        const wellFormed = lines.map((line) => line.toWellFormed());
        const bytes = Buffer.from(wellFormed.map((line) => `${line}\n`).join(""));
        expect((await all(bytes, sizes)).map((line) => line.text)).toEqual(wellFormed);
      }),
    );
  });

  it("include a last one without its end", async () => {
    expect(await all(Buffer.from("a\n\nb"), [1, 1])).toEqual([
      { text: "a", cut: false },
      { text: "", cut: false },
      { text: "b", cut: false },
    ]);
  });

  it("are cut at their bound, or refused, and the next one is whole", async () => {
    const bytes = Buffer.from(`${"x".repeat(50)}\nnext\n${"y".repeat(11)}`);
    const expected = [
      { text: "x".repeat(10), cut: true },
      { text: "next", cut: false },
      { text: "y".repeat(10), cut: true },
    ];
    for (const sizes of [[], [7, 7, 7, 7, 7], Array<number>(70).fill(1)]) expect(await all(bytes, sizes, 10, "cut")).toEqual(expected);
    await expect(all(bytes, [7], 10)).rejects.toThrow(KubeProtocolError);
  });
});
