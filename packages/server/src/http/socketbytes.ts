// What all WebSockets here need: messages as bytes, and a source that is read no faster than the other end takes it.
import type { Readable } from "node:stream";
import type { RawData, WebSocket } from "ws";

export const bytesOf = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);

/** Called after each send: a caller that reads slowly slows the source down, not the server's memory up. `most`: bytes that may wait. */
export function readSlowly(source: Readable, client: WebSocket, most: number): void {
  if (client.bufferedAmount <= most || source.isPaused()) return;
  source.pause();
  const wait = setInterval(() => {
    if (client.bufferedAmount > most / 2 && client.readyState === client.OPEN) return;
    clearInterval(wait);
    source.resume();
  }, 20);
}
