// Cuts a byte stream into lines of text that are safe to store and to show. Pure but for the bytes that it holds between two chunks.
import type { Mask } from "./mask.ts";

const newline = 0x0a;
/** At the end of a piece of a line that was too long; what follows is the next line. */
export const continued = " [line continues]";

export class LineSplitter {
  readonly #mask: Mask;
  readonly #most: number;
  #held: Buffer;

  /** `held`: bytes of a line that an earlier process had read and not written. */
  constructor(mask: Mask, most: number, held: Buffer = Buffer.alloc(0)) {
    this.#mask = mask;
    this.#most = most;
    this.#held = held;
  }

  /** Bytes of the line that has not ended yet. */
  get held(): Buffer {
    return this.#held;
  }

  /** The lines that these bytes complete, masked. */
  push(chunk: Buffer): string[] {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const lines: string[] = [];
    let from = 0;
    for (let at = bytes.indexOf(newline, from); at >= 0; at = bytes.indexOf(newline, from)) {
      this.#line(bytes.subarray(from, at), lines);
      from = at + 1;
    }
    let rest = bytes.subarray(from);
    // A value that begins before the cut is seen whole only when so many more bytes are there.
    while (rest.length > this.#most + this.#mask.longest) rest = this.#cut(rest, lines);
    this.#held = Buffer.from(rest);
    return lines;
  }

  /** What is held, as a line: at the end of a stream, or when nothing came for a while. `final` false keeps what may be half a secret. */
  flush(final: boolean): string[] {
    if (this.#held.length === 0 || (!final && this.#mask.endsInside(this.#held))) return [];
    const lines: string[] = [];
    const held = final ? this.#held : this.#held.subarray(0, wholeCharacters(this.#held, this.#held.length));
    this.#line(held, lines);
    this.#held = Buffer.from(this.#held.subarray(held.length));
    return lines;
  }

  #line(bytes: Buffer, lines: string[]): void {
    let rest = bytes;
    while (rest.length > this.#most) rest = this.#cut(rest, lines);
    lines.push(this.#text(rest.at(-1) === 0x0d ? rest.subarray(0, -1) : rest));
  }

  /** Takes one piece off the beginning of a line that is too long. */
  #cut(bytes: Buffer, lines: string[]): Buffer {
    const masked = this.#mask.cutBefore(bytes, this.#most);
    // A value longer than a whole line is hidden by its own lines or not at all; the splitter has to go on.
    const cut = wholeCharacters(bytes, masked === 0 ? this.#most : masked) || this.#most;
    lines.push(this.#text(bytes.subarray(0, cut)) + continued);
    return bytes.subarray(cut);
  }

  #text(bytes: Buffer): string {
    // Invalid bytes become U+FFFD; a NUL would end the line in many a terminal and database.
    return this.#mask.apply(bytes.toString("utf8").replaceAll("\0", "\u{FFFD}"));
  }
}

/** The largest number up to `end` that does not cut through a UTF-8 character. */
function wholeCharacters(bytes: Buffer, end: number): number {
  for (let at = end - 1; at >= 0 && at > end - 4; at -= 1) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return at + length > end ? at : end;
  }
  return end;
}
