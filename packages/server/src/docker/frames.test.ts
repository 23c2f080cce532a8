import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DockerStreamError } from "./errors.ts";
import { readFrames, type Frame } from "./frames.ts";
import { cut, gather, inPieces } from "./testing/pieces.ts";

const numbers = { stdin: 0, stdout: 1, stderr: 2 };

function encode(stream: number, data: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

const frames = fc.array(
  fc.record({
    stream: fc.constantFrom("stdin" as const, "stdout" as const, "stderr" as const),
    data: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  }),
);

describe("readFrames", () => {
  it("gives the frames back, however the stream is cut", async () => {
    await fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat(), { maxLength: 60 }), async (sent: Frame[], cuts) => {
        const bytes = Buffer.concat(sent.map((frame) => encode(numbers[frame.stream], frame.data)));
        expect(await gather(readFrames(inPieces(cut(bytes, cuts))))).toEqual(sent.filter((frame) => frame.data.length > 0));
      }),
    );
  });

  it("tells an end within a frame, wherever it is", async () => {
    const whole = encode(1, Buffer.from("hello"));
    for (let end = 1; end < whole.length; end += 1)
      await expect(gather(readFrames(inPieces([whole.subarray(0, end)])))).rejects.toThrow(DockerStreamError);
  });

  it.each([
    ["a stream that there is not", Buffer.from([4, 0, 0, 0, 0, 0, 0, 1, 65])],
    ["text of a terminal", Buffer.from("root@host:/# ls\r\n")],
    ["a length beyond the bound", Buffer.from([1, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff])],
  ])("refuses %s at once, without waiting for its data", async (_, bytes) => {
    await expect(gather(readFrames(inPieces([bytes])))).rejects.toThrow(/not a frame header/);
  });

  it("throws what the daemon itself reports", async () => {
    await expect(gather(readFrames(inPieces([encode(3, Buffer.from("log driver broke\n"))])))).rejects.toThrow("log driver broke");
  });
});
