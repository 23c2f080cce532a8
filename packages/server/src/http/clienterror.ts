// Answers what Node.js refuses before there is a request: broken HTTP, headers that are too large, a caller that is too slow. Coded, like everything else that is refused.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Problem } from "@berth/contract/errors.ts";
import { BerthError } from "../core/errors.ts";

/** Bytes of a request's line and headers; what the routes allow in paths and queries fits, percent-encoded. */
export const headerLimit = 64 * 1024;

/** Listens on a server whose own handler of `clientError` does nothing. */
export function answerClientErrors(server: Server, problem: (error: BerthError) => Problem): void {
  const latest = new WeakMap<Socket, ServerResponse>();
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    latest.set(request.socket, response);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    const answer = latest.get(socket);
    // A second head in the middle of an answer would be read as a part of it.
    const begun = answer !== undefined && answer.headersSent && !answer.writableFinished;
    if (error.code === "ECONNRESET" || !socket.writable || begun) {
      socket.destroy();
      return;
    }
    socket.end(rawAnswer(problem(refusalOf(error))), () => {
      socket.destroy();
    });
  });
}

function refusalOf(error: NodeJS.ErrnoException): BerthError {
  if (error.code === "HPE_HEADER_OVERFLOW") return new BerthError("headers_too_large", { limit: headerLimit });
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") return new BerthError("request_timeout");
  return new BerthError("invalid_request", { reason: "it is no HTTP request" }, { cause: error });
}

/** A whole answer as bytes, for where there is only a socket. It closes the connection. */
export function rawAnswer(problem: Problem): string {
  const body = JSON.stringify(problem);
  return `HTTP/1.1 ${problem.status} ${problem.title}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${problem.requestId}\r\nconnection: close\r\n\r\n${body}`;
}
