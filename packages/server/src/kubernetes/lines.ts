// Cuts a stream of bytes into lines, in bounded memory: for watches, whose lines are JSON, and for logs.
import { KubeProtocolError } from "./errors.ts";

const newline = 0x0a;

export interface Line {
  readonly text: string;
  /** It was longer than the bound; the rest of it is left out. */
  readonly cut: boolean;
}

/**
 * The lines that ended with each chunk, without their ends; a last line without its end counts. `beyond`: what becomes of a line above `maxBytes`; `throw` throws KubeProtocolError.
 * In batches, because a promise for each line would cost more than the line.
 */
export async function* readLines(chunks: AsyncIterable<Buffer>, maxBytes: number, beyond: "cut" | "throw"): AsyncGenerator<Line[]> {
  let begun: Buffer[] = [];
  let kept = 0;
  let cut = false;
  const add = (piece: Buffer): void => {
    const room = maxBytes - kept;
    if (piece.length > room) {
      if (beyond === "throw") throw new KubeProtocolError(`a line is longer than ${String(maxBytes)} bytes`);
      cut = true;
    }
    if (room <= 0) return;
    const fits = piece.subarray(0, room);
    begun.push(fits);
    kept += fits.length;
  };
  const take = (): Line => {
    const line = { text: Buffer.concat(begun, kept).toString(), cut };
    begun = [];
    kept = 0;
    cut = false;
    return line;
  };
  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      add(chunk.subarray(from, end));
      from = end + 1;
      lines.push(take());
    }
    if (from < chunk.length) add(chunk.subarray(from));
    if (lines.length > 0) yield lines;
  }
  if (kept > 0) yield [take()];
}
