// The wire form of an `events` route: text/event-stream, as the server writes it and the client reads it. Browser-safe.
//
// Every message is `id: <id>` (when it can be resumed from) and `data: <JSON of one response object>`. Lines that start with `:` are heartbeats.
// Two named messages end a stream on purpose, so that nobody has to guess whether a connection broke:
// `event: end` (nothing will follow: the log is over) and `event: problem` (`data` is a Problem). Without either, a reader that follows connects again with Last-Event-ID.

export interface SseMessage {
  readonly event: string;
  readonly id?: string;
  readonly data: string;
}

/** Text of one message that carries an object. */
export function sseData(data: unknown, id?: string): string {
  return `${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}
/** Text of the message after which nothing follows. */
export const sseEnd = "event: end\ndata: {}\n\n";
/** Text of the message that ends a stream with problem details. */
export function sseProblem(problem: unknown): string {
  return `event: problem\ndata: ${JSON.stringify(problem)}\n\n`;
}
/** Keeps proxies and both ends from taking silence for death; send one every 15 s. */
export const sseHeartbeat = ": \n\n";

const mostCharacters = 8 * 1024 * 1024;

/** Messages out of text that arrives in any pieces, by the rules of the HTML standard's event stream format. */
export class SseParser {
  #rest = "";
  #event = "";
  #id: string | undefined;
  #data: string[] = [];

  /** The messages that `text` completes. */
  push(text: string): SseMessage[] {
    // A lone CR at the end may be the first half of CRLF.
    const whole = this.#rest + text;
    if (whole.length > mostCharacters) throw new Error("a line of the event stream is too long");
    const lines = whole.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    const messages: SseMessage[] = [];
    for (const line of lines) {
      const message = this.#line(line);
      if (message !== undefined) messages.push(message);
    }
    return messages;
  }

  #line(line: string): SseMessage | undefined {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return undefined;
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return undefined;
  }

  #dispatch(): SseMessage | undefined {
    const event = this.#event === "" ? "message" : this.#event;
    const data = this.#data;
    this.#event = "";
    this.#data = [];
    return data.length === 0 ? undefined : { event, data: data.join("\n"), ...(this.#id === undefined ? {} : { id: this.#id }) };
  }
}
