// What comes out of an endpoint's bytes, however they are cut into reads.
import { describe, expect, it } from "vitest";
import { AnswerParser, type AnswerEvents } from "./answer-parser.ts";

class Heard implements AnswerEvents {
  readonly events: unknown[] = [];
  readonly #headOnly: boolean;
  #body = "";

  constructor(headOnly: boolean) {
    this.#headOnly = headOnly;
  }

  onHead(status: number, message: string, raw: string[]): boolean {
    this.events.push([status, message, ...raw]);
    return !this.#headOnly;
  }
  onBody(buffer: Buffer, start: number, end: number): void {
    this.#body += buffer.toString("latin1", start, end);
  }
  onWhole(trailers: string[], persistent: boolean): void {
    this.events.push(this.#body, ...(trailers.length > 0 ? [trailers] : []), persistent ? "again" : "last");
    this.#body = "";
  }
}

/** Feeds `text` in pieces of `size` bytes; `ended`: the connection ends behind it. */
function heard(text: string, { size = text.length, ended = false, headOnly = false } = {}): unknown[] {
  const found = new Heard(headOnly);
  const parser = new AnswerParser(found);
  for (let at = 0; at < text.length; at += size) {
    const piece = Buffer.from(text.slice(at, at + size), "latin1");
    if (!parser.execute(piece, piece.length)) {
      found.events.push("refused");
      break;
    }
  }
  if (ended && !parser.finish()) found.events.push("refused");
  parser.free();
  return found.events;
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly expected: readonly unknown[];
  readonly options: { ended?: boolean; headOnly?: boolean };
}

const cases: readonly Case[] = (
  [
    [
      "a length",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Empty:\r\nX-A:  b c \r\n\r\nhello",
      [[200, "OK", "Content-Length", "5", "X-Empty", "", "X-A", "b c"], "hello", "again"],
    ],
    [
      "chunks and trailers",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\nx-empty:\r\n\r\n",
      [[200, "OK", "transfer-encoding", "chunked"], "abcde", ["x-sum", "1", "x-empty", ""], "again"],
    ],
    ["the end of the connection", "HTTP/1.1 200 OK\r\n\r\nall of it", [[200, "OK"], "all of it", "last"], { ended: true }],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", [[200, "OK", "content-length", "2"], "hi", "last"]],
    [
      "connection: close",
      "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n",
      [[200, "OK", "content-length", "0", "Connection", "close"], "", "last"],
    ],
    [
      "hints before the answer",
      "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
      [[103, "Early Hints", "link", "</a>"], [204, "No Content"], "", "again"],
    ],
    ["HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", [[200, "OK", "content-length", "10"], "", "again"], { headOnly: true }],
    ["HEAD without a length", "HTTP/1.1 200 OK\r\n\r\n", [[200, "OK"], "", "again"], { headOnly: true }],
    [
      "bytes above ASCII, an odd phrase",
      "HTTP/1.1 299 \xe4 b\r\nx: \xc3\xa4\r\ncontent-length: 0\r\n\r\n",
      [[299, "\xe4 b", "x", "\xc3\xa4", "content-length", "0"], "", "again"],
    ],
  ] as const
).map(([name, text, expected, options = {}]) => ({ name, text, expected, options }));

describe("an answer", () => {
  it.each(cases)("with $name is the same in one read and byte by byte", ({ text, expected, options }) => {
    for (const size of [text.length, 1, 2, 3, 7])
      expect(heard(text, { size, ...options }), `in pieces of ${String(size)}`).toEqual(expected);
  });

  it("may be followed by another on its connection", () => {
    const one = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nname-of-more-than-thirteen: value of more than thirteen\r\n\r\nx";
    const event = [200, "OK", "content-length", "1", "name-of-more-than-thirteen", "value of more than thirteen"];
    for (const size of [one.length, 5]) expect(heard(one + one, { size })).toEqual([event, "x", "again", event, "x", "again"]);
  });

  it("with a head of many kilobytes is cut right", () => {
    const values = Array.from({ length: 200 }, (_, index) => `v${String(index)}`.repeat(20));
    const text = `HTTP/1.1 200 OK\r\n${values.map((value, index) => `n${String(index)}: ${value}\r\n`).join("")}content-length: 0\r\n\r\n`;
    expect(heard(text)[0]).toEqual([200, "OK", ...values.flatMap((value, index) => [`n${String(index)}`, value]), "content-length", "0"]);
  });

  it.each([
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"],
    ["a length and a coding", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\nx : y\r\n\r\n"],
    ["a bare LF", "HTTP/1.1 200 OK\nx: y\n\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n"],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["too large a head", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}\r\n\r\n`],
  ])("with %s is refused", (_name, text) => {
    expect(heard(text, { size: 60_000 })).toContain("refused");
  });

  it("that ends too early is refused", () => {
    for (const text of [
      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
      "HTTP/1.1 200 OK\r\nx: ",
    ])
      expect(heard(text, { ended: true }).at(-1)).toBe("refused");
  });
});
