// A connection to a port over its WebSocket: bytes both ways, each end closed by itself (contract/port.ts has the wire form).
import type { Duplex } from "node:stream";
import { mostPortBytes, readPortControl, type PortControl } from "@berth/contract/port.ts";
import type { WebSocket } from "ws";
import { bytesOf, readSlowly } from "./socketbytes.ts";

export function carryPort(client: WebSocket, stream: Duplex): void {
  const control = (message: PortControl): void => {
    client.send(JSON.stringify(message));
  };
  // A program may write more at once than a message may be long.
  stream.on("data", (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += mostPortBytes) client.send(bytes.subarray(at, at + mostPortBytes));
    readSlowly(stream, client, mostPortBytes);
  });
  stream.once("end", () => control({ type: "eof" }));
  stream.once("error", (error: Error) => {
    control({ type: "error", detail: error.message });
    client.close(1011);
  });
  stream.once("close", () => client.close(1000));
  client.on("message", (data, binary) => {
    if (binary) {
      if (stream.write(bytesOf(data))) return;
      client.pause();
      stream.once("drain", () => client.resume());
    } else if (readPortControl(bytesOf(data).toString("utf8"))?.type === "eof") stream.end();
  });
  client.on("close", () => stream.destroy());
  client.on("error", () => stream.destroy());
}
