// Why a WebSocket was not opened: the server's own words, or what is wrong with the way to it.
import type { Problem } from "@berth/contract/errors.ts";
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import type { WebSocket } from "ws";

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
