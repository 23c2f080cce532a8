import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readNdjson } from "./ndjson.ts";
import { cut, gather, inPieces } from "./testing/pieces.ts";

describe("readNdjson", () => {
  it("gives the values back, however the stream is cut, also within a character", async () => {
    const texts = fc.array(fc.record({ stream: fc.string({ unit: "grapheme" }), n: fc.integer() }));
    const ends = fc.constantFrom("\n", "\r\n", "\n\n");
    await fc.assert(
      fc.asyncProperty(texts, ends, fc.boolean(), fc.array(fc.nat(), { maxLength: 60 }), async (values, end, closed, cuts) => {
        const text = values.map((value) => JSON.stringify(value)).join(end) + (closed ? end : "");
        expect(await gather(readNdjson(inPieces(cut(Buffer.from(text), cuts))))).toEqual(values);
      }),
    );
  });

  it("refuses a line without an end before it has taken more than the bound", async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        given += 1_000;
        yield await Promise.resolve(Buffer.alloc(1_000, "a"));
      }
    }
    await expect(gather(readNdjson(endless(), 10_000))).rejects.toThrow(/longer than 10000 bytes/);
    expect(given).toBe(11_000);
  });

  it("says what it got instead of JSON", async () => {
    await expect(gather(readNdjson(inPieces([Buffer.from('{"a":1}\n<html>\n')])))).rejects.toThrow("not JSON: <html>");
  });
});
