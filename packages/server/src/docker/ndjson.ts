// Reads newline-delimited JSON, the form of build, pull, push and events.
import { DockerStreamError } from "./errors.ts";

const newline = 0x0a;

/**
 * Each value, empty lines left out; a last line without its end counts. Memory is bounded: a line above `maxBytes` (4 MiB) throws DockerStreamError,
 * and so does one that is not JSON. The values are the daemon's word: `T` is a claim of the caller.
 */
export async function* readNdjson<T>(chunks: AsyncIterable<Buffer>, maxBytes = 4 * 1024 * 1024): AsyncGenerator<T> {
  let begun: Buffer[] = [];
  let length = 0;
  const add = (piece: Buffer): void => {
    length += piece.length;
    if (length > maxBytes) throw new DockerStreamError(`a line of JSON is longer than ${String(maxBytes)} bytes`);
    begun.push(piece);
  };
  const take = (): string => {
    const line = Buffer.concat(begun, length).toString().trim();
    begun = [];
    length = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      add(chunk.subarray(from, end));
      from = end + 1;
      const line = take();
      if (line !== "") yield parse<T>(line);
    }
    if (from < chunk.length) add(chunk.subarray(from));
  }
  const last = take();
  if (last !== "") yield parse<T>(last);
}

function parse<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (error) {
    throw new DockerStreamError(`not JSON: ${line.slice(0, 200)}`, { cause: error });
  }
}
