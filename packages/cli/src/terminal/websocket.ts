// What every WebSocket of this command line does alike: pieces of a bounded size, nobody outrun, and words for why it was not opened.
import type { Problem } from "@berth/contract/errors.ts";
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import type { RawData, WebSocket } from "ws";

export function bytesOf(data: RawData): Buffer {
  return Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

/** What is read from, and can be held back. */
export interface Source {
  pause(): unknown;
  resume(): unknown;
}

/** Sends what is read, in pieces of at most `most` bytes, each as `frame` makes it; holds the source back while as much waits to be sent. */
export function sendFrom(
  source: Source,
  socket: WebSocket,
  most: number,
  frame: (piece: Buffer) => Uint8Array = (piece) => piece,
): (bytes: Buffer) => void {
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += most)
      socket.send(frame(bytes.subarray(at, at + most)), () => {
        if (socket.bufferedAmount < most) source.resume();
      });
    if (socket.bufferedAmount >= most) source.pause();
  };
}

/** Never resolves; rejects with ApiError or ConnectionError when the server refuses, or cannot be reached. */
export function socketRefusal(socket: WebSocket): Promise<never> {
  const { url } = socket;
  return new Promise((_, reject) => {
    socket.on("unexpected-response", (_request, response) => {
      const pieces: Buffer[] = [];
      response
        .on("data", (piece: Buffer) => {
          pieces.push(piece);
        })
        .on("end", () => {
          reject(refusal(Buffer.concat(pieces).toString("utf8"), response.statusCode ?? 0, url));
        });
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      reject(
        new ConnectionError(error.code === "ECONNREFUSED" ? "server_unreachable" : "connection_lost", url, error.message, { cause: error }),
      );
    });
  });
}

function refusal(text: string, status: number, url: string): Error {
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.code === "string" && typeof problem.detail === "string")
      return new ApiError({ ...problem, status, code: problem.code, detail: problem.detail });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new ConnectionError("not_berth", url, `HTTP ${status}`);
}
