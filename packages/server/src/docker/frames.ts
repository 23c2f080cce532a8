// Takes apart the stream of a container without a terminal: frames of an 8-byte header (stream, three zeros, length as big-endian uint32) and data.
// https://docs.docker.com/reference/api/engine/version/v1.44/#tag/Container/operation/ContainerAttach ("Stream format")
import { DockerStreamError } from "./errors.ts";

export interface Frame {
  readonly stream: "stdin" | "stdout" | "stderr";
  readonly data: Buffer;
}

const headerSize = 8;
const names = ["stdin", "stdout", "stderr"] as const;
/** The stream on which a daemon says that it failed itself. */
const systemError = 3;

/**
 * Each frame that is not empty, whole. Daemons send at most some tens of KiB in one, so that a length above `maxBytes` (16 MiB) is a broken header.
 * Throws DockerStreamError for a broken header, for an end within a frame, and with the daemon's own words when it reports a failure.
 */
export async function* readFrames(chunks: AsyncIterable<Buffer>, maxBytes = 16 * 1024 * 1024): AsyncGenerator<Frame> {
  let held: Buffer[] = [];
  let length = 0;
  let wanted = headerSize;
  let stream: number | undefined;
  for await (const chunk of chunks) {
    held.push(chunk);
    length += chunk.length;
    if (length < wanted) continue;
    let rest = held.length === 1 ? chunk : Buffer.concat(held, length);
    for (;;) {
      if (stream === undefined) {
        if (rest.length < headerSize) break;
        [stream, wanted] = readHeader(rest, maxBytes);
        rest = rest.subarray(headerSize);
      }
      if (rest.length < wanted) break;
      const data = rest.subarray(0, wanted);
      rest = rest.subarray(wanted);
      const name = names[stream];
      if (name === undefined) throw new DockerStreamError(`the daemon says: ${data.toString().trim().slice(0, 2_000)}`);
      if (data.length > 0) yield { stream: name, data };
      stream = undefined;
      wanted = headerSize;
    }
    held = rest.length === 0 ? [] : [rest];
    length = rest.length;
  }
  if (length > 0 || stream !== undefined)
    throw new DockerStreamError(`the stream ended within a frame: ${String(length)} of ${String(wanted)} bytes`);
}

function readHeader(bytes: Buffer, maxBytes: number): [stream: number, size: number] {
  const size = bytes.readUInt32BE(4);
  const stream = bytes[0] ?? 0;
  if (stream > systemError || bytes[1] !== 0 || bytes[2] !== 0 || bytes[3] !== 0 || size > maxBytes)
    throw new DockerStreamError(`not a frame header: ${bytes.subarray(0, headerSize).toString("hex")}`);
  return [stream, size];
}
