// What both ends of `openTerminal` say over its WebSocket. Browser-safe.
//
// Binary messages carry bytes: the first byte is the channel, the rest is the data. Text messages carry one TerminalControl as JSON.
// Caller to server: stdin bytes, `resize`, `eof` (stdin has ended). Server to caller: stdout and stderr bytes (with a terminal all of it is stdout),
// and as the last message either `exit` or `error`; then the server closes with code 1000. A connection that closes without one of them was lost:
// the command's fate is unknown, and the server ends it with SIGHUP, as a terminal that is hung up does.
import { Type, type Static } from "typebox";
import { Problem } from "./errors.ts";
import { parseJson } from "./json.ts";

/** Sec-WebSocket-Protocol of this conversation. */
export const terminalProtocol = "berth.terminal.v1";
export const terminalChannels = { stdin: 0, stdout: 1, stderr: 2 } as const;
export type TerminalChannel = keyof typeof terminalChannels;
/** Bytes of one binary message; longer ones are refused with close code 1009. */
export const mostTerminalBytes = 1_048_576;

const Size = Type.Integer({ minimum: 1, maximum: 1000 });
export const TerminalControl = Type.Union([
  Type.Object({ type: Type.Literal("resize"), columns: Size, rows: Size }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal("eof") }, { additionalProperties: false }),
  Type.Object(
    { type: Type.Literal("exit"), exitCode: Type.Optional(Type.Integer()), signal: Type.Optional(Type.String()) },
    { additionalProperties: false },
  ),
  Type.Object({ type: Type.Literal("error"), problem: Problem }, { additionalProperties: false }),
]);
export type TerminalControl = Static<typeof TerminalControl>;

/** One binary message. */
export function terminalFrame(channel: TerminalChannel, bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(bytes.length + 1);
  frame[0] = terminalChannels[channel];
  frame.set(bytes, 1);
  return frame;
}

/** Channel and bytes of a binary message; undefined for one that this version does not know, which is to be ignored. */
export function readTerminalFrame(frame: Uint8Array): { readonly channel: TerminalChannel; readonly bytes: Uint8Array } | undefined {
  const channel = (["stdin", "stdout", "stderr"] as const)[frame[0] ?? -1];
  return channel === undefined ? undefined : { channel, bytes: frame.subarray(1) };
}

/** The control of a text message; undefined for text that is none, which is to be ignored. */
export function readTerminalControl(text: string): TerminalControl | undefined {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null || !("type" in value)) return undefined;
  switch (value.type) {
    case "eof":
      return { type: "eof" };
    case "resize":
      return "columns" in value && "rows" in value && isSize(value.columns) && isSize(value.rows)
        ? { type: "resize", columns: value.columns, rows: value.rows }
        : undefined;
    case "exit":
      return {
        type: "exit",
        ...("exitCode" in value && typeof value.exitCode === "number" ? { exitCode: value.exitCode } : {}),
        ...("signal" in value && typeof value.signal === "string" ? { signal: value.signal } : {}),
      };
    case "error":
      return "problem" in value && isProblem(value.problem) ? { type: "error", problem: value.problem } : undefined;
    default:
      return undefined;
  }
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 1000;
}

function isProblem(value: unknown): value is Static<typeof Problem> {
  return (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    typeof value.code === "string" &&
    "status" in value &&
    typeof value.status === "number" &&
    "detail" in value &&
    typeof value.detail === "string"
  );
}
