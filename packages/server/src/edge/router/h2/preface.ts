// HTTP/2 by prior knowledge on a plain port (RFC 9113, 3.3): Node's HTTP/1.1 parser stops at the preface, and the connection is taken out of its hands, so that
// connections of HTTP/1.1 pay nothing for it.
import type { Socket } from "node:net";
import { Line } from "../crowd.ts";
import { serveHttp2, type SessionDeps } from "./sessions.ts";

/** RFC 9113, 3.4: the first bytes of a client. */
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** As Node tells that it met bytes which are no HTTP/1.1. */
export interface ParseError extends NodeJS.ErrnoException {
  readonly rawPacket?: Buffer;
}

/** Node's parser on a socket; not in its types. */
interface Parsed {
  readonly parser?: { unconsume(): void; remove(): void } | null;
}

/** Whether this is a client's first word, and that a whole preface. */
export function isPreface(error: ParseError, socket: Socket): error is ParseError & { readonly rawPacket: Buffer } {
  const { code, rawPacket } = error;
  return (
    code === "HPE_PAUSED_H2_UPGRADE" &&
    rawPacket?.length === socket.bytesRead &&
    rawPacket.toString("latin1", 0, preface.length) === preface
  );
}

/** Speaks HTTP/2 on it from now on. `read`: what came already. */
export function changeToHttp2(deps: SessionDeps, socket: Socket, read: Buffer): void {
  const { parser } = socket as Parsed;
  // What Node does on an upgrade; the parser itself it gives back when the connection closes.
  parser?.unconsume();
  parser?.remove();
  for (const event of ["data", "end", "drain", "timeout"]) socket.removeAllListeners(event);
  if (!(socket instanceof Line)) socket.setTimeout(0);
  // Nobody listens any more: without this what is put back would be lost.
  Object.assign(socket, { readableFlowing: null });
  socket.unshift(read);
  serveHttp2(deps, socket);
}
