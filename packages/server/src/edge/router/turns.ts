// Pipelined requests wait for their turn: each is begun when the answer before it is out (RFC 9112, 9.3.2, lets only safe ones be served side by side), so that none is
// done whose answer a closing connection would lose (promise 3), and one client's pipeline takes no more memory than what it sent in one piece.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Node's own way to read no further while requests wait, and to go on; not in its types. */
interface Pausable {
  _paused?: boolean;
  readonly parser?: { resume(): void } | null;
}

/** How many wait. */
const waiting = new WeakMap<Socket, number>();

/** Whether the answer to it is the next one on its connection, as nearly always. */
export function hasTurn(res: ServerResponse<IncomingMessage>): boolean {
  return res.socket !== null;
}

/** Calls `begin` when it is; never when the connection ends before. */
export function awaitTurn(res: ServerResponse<IncomingMessage>, begin: () => void): void {
  const { socket } = res.req;
  waiting.set(socket, (waiting.get(socket) ?? 0) + 1);
  (socket as Pausable)._paused = true;
  socket.pause();
  res.once("socket", () => {
    const left = (waiting.get(socket) ?? 1) - 1;
    waiting.set(socket, left);
    if (left === 0) readOn(socket);
    begin();
  });
}

function readOn(socket: Socket): void {
  const pausable = socket as Pausable;
  if (pausable._paused !== true) return;
  pausable._paused = false;
  pausable.parser?.resume();
  socket.resume();
}
