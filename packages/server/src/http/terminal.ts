// A terminal over its WebSocket: carries the session's bytes both ways (contract/terminal.ts has the wire form).
import {
  mostTerminalBytes,
  readTerminalControl,
  readTerminalFrame,
  terminalFrame,
  type TerminalControl,
} from "@berth/contract/terminal.ts";
import type { RawData, WebSocket } from "ws";
import type { Session } from "../engines/engine.ts";
import { bytesOf, readSlowly } from "./socketbytes.ts";

export function carryTerminal(client: WebSocket, session: Session): void {
  const control = (message: TerminalControl): void => {
    client.send(JSON.stringify(message));
  };
  session.stream.on("data", (bytes: Buffer) => {
    client.send(terminalFrame("stdout", bytes));
    readSlowly(session.stream, client, mostTerminalBytes);
  });
  session.stream.on("error", () => {
    client.close(1011);
  });
  client.on("message", (data: RawData, binary: boolean) => {
    const bytes = bytesOf(data);
    if (binary) {
      const frame = readTerminalFrame(bytes);
      if (frame?.channel === "stdin") session.stream.write(frame.bytes);
      return;
    }
    const message = readTerminalControl(bytes.toString("utf8"));
    if (message?.type === "resize") session.resize(message.columns, message.rows);
    if (message?.type === "eof") session.stream.end();
  });
  client.on("close", () => {
    session.stream.destroy();
  });
  client.on("error", () => {
    session.stream.destroy();
  });
  session.exit.then(
    (exit) => {
      control({ type: "exit", ...exit });
      client.close(1000);
    },
    () => {
      client.close(1011);
    },
  );
}
