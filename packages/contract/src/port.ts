// What both ends of `openPort` say over its WebSocket. Browser-safe.
//
// Binary messages carry the bytes of one TCP connection, as they are. A text message carries one PortControl as JSON: `eof`, this side will send no more; `error`, why the connection
// ended, which the server says last. A connection without an error closes with code 1000 when both sides have ended; any other close means that it broke.
import { parseJson } from "./json.ts";

/** Sec-WebSocket-Protocol of this conversation. */
export const portProtocol = "berth.port.v1";
/** Bytes of one binary message; longer ones are refused with close code 1009. */
export const mostPortBytes = 1_048_576;

export type PortControl = { readonly type: "eof" } | { readonly type: "error"; readonly detail: string };

/** The control of a text message; undefined for text that is none, which is to be ignored. */
export function readPortControl(text: string): PortControl | undefined {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null || !("type" in value)) return undefined;
  if (value.type === "eof") return { type: "eof" };
  return value.type === "error" && "detail" in value && typeof value.detail === "string"
    ? { type: "error", detail: value.detail }
    : undefined;
}
