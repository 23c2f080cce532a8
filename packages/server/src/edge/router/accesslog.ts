// The JSON access log: one line per request, buffered and written in the background. It drops lines (and counts them) rather than hold up a request.
import { close, mkdirSync, openSync, write } from "node:fs";
import { dirname } from "node:path";
import type { Ref } from "../../engines/engine.ts";

export interface AccessRecord {
  readonly at: number;
  readonly requestId: string;
  readonly remote: string;
  readonly host: string;
  readonly method: string;
  /** Without the query: it may hold secrets. */
  readonly path: string;
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly milliseconds: number;
  /** Who answered, as `originText` writes it; "" when nobody did. */
  readonly origin: string;
  readonly retried: number;
  readonly interrupted: boolean;
  /** Why the router answered itself, as its error page calls it; "" when it did not. */
  readonly code: string;
  /** "" for HTTP/1.1, of which nothing is said. */
  readonly protocol: "HTTP/2" | "";
}

/** Text that waits beyond this is dropped: the disk is slower than the requests. */
const mostWaiting = 8 * 1024 * 1024;
/** Text that is written at once. One write costs the router about as much as ten requests' lines do, so it writes seldom. */
const batch = 128 * 1024;
/** ms that a line waits at most. */
const flushEvery = 200;

export class AccessLog {
  readonly #file: string;
  readonly #flusher: NodeJS.Timeout;
  #fd: number;
  #waiting = "";
  #waitingLines = 0;
  #writing: Promise<void> | undefined;
  dropped = 0;

  constructor(file: string) {
    this.#file = file;
    mkdirSync(dirname(file), { recursive: true });
    this.#fd = openToAppend(file);
    this.#flusher = setInterval(() => {
      this.#flush();
    }, flushEvery).unref();
  }

  write(record: AccessRecord): void {
    if (this.#waiting.length > mostWaiting) {
      this.dropped += 1;
      return;
    }
    this.#waiting += accessLine(record);
    this.#waitingLines += 1;
    if (this.#waiting.length >= batch) this.#flush();
  }

  /** The primary moved the file away: go on in a new one. */
  reopen(): void {
    const old = this.#fd;
    try {
      this.#fd = openToAppend(this.#file);
    } catch {
      // It goes on in the file that was moved; the next rotation tries again.
      return;
    }
    void (this.#writing ?? Promise.resolve()).then(() => {
      close(old, () => undefined);
    });
  }

  /** Resolves when everything is in the file, or cannot be. */
  async close(): Promise<void> {
    clearInterval(this.#flusher);
    await this.#writing;
    this.#flush();
    await this.#writing;
  }

  #flush(): void {
    if (this.#writing !== undefined || this.#waiting === "") return;
    const lines = this.#waitingLines;
    const bytes = Buffer.from(this.#waiting, "latin1");
    this.#waiting = "";
    this.#waitingLines = 0;
    this.#writing = writeWhole(this.#fd, bytes).then((done) => {
      // A full disk must not end a router; what could not be written counts as dropped.
      if (!done) this.dropped += lines;
      this.#writing = undefined;
      if (this.#waiting.length >= batch) this.#flush();
    });
  }
}

function openToAppend(file: string): number {
  return openSync(file, "a", 0o640);
}

/** false: it could not be written, or only in part. */
async function writeWhole(fd: number, bytes: Buffer): Promise<boolean> {
  for (let at = 0; at < bytes.length;) {
    const written = await new Promise<number>((resolve) => {
      write(fd, bytes, at, bytes.length - at, null, (error, count) => {
        resolve(error === null ? count : 0);
      });
    });
    if (written === 0) return false;
    at += written;
  }
  return true;
}

let clockSecond = -1;
let clockText = "";
/** An instant in UTC; nearly all of a second's lines differ in their milliseconds only. */
function instant(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== clockSecond) {
    clockSecond = second;
    clockText = new Date(second * 1000).toISOString().slice(0, 20);
  }
  return `${clockText}${threeDigits(ms - second * 1000)}Z`;
}

/** Numbers with a fraction are slow to write; whole ones are not. */
function withMicroseconds(milliseconds: number): string {
  const micros = Math.round(milliseconds * 1000);
  const whole = Math.floor(micros / 1000);
  return `${String(whole)}.${threeDigits(micros - whole * 1000)}`;
}

function threeDigits(value: number): string {
  return value < 10 ? `00${String(value)}` : value < 100 ? `0${String(value)}` : String(value);
}

const plain = /^[ !#-[\]-~]*$/;
/** `text`: each character is a byte, as HTTP heads are read. What is more than ASCII is taken for UTF-8, and escaped: a file of ASCII alone can be cut anywhere. */
function quoted(text: string): string {
  if (plain.test(text)) return `"${text}"`;
  return JSON.stringify(Buffer.from(text, "latin1").toString("utf8")).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The part of a line that is the same for all requests of one endpoint, or of a component that had none for them. */
export function originText(ref: Ref, track?: string, endpoint?: { readonly instance: string; readonly releaseHash: string }): string {
  const text = `,"stack":"${ref.stack}","component":"${ref.component}"`;
  return track === undefined || endpoint === undefined
    ? text
    : `${text},"track":"${track}","instance":${quoted(endpoint.instance)},"release":${quoted(endpoint.releaseHash)}`;
}

/** Only host, method, path and request id come from outside; the rest are Berth's own names and numbers. */
export function accessLine(record: AccessRecord): string {
  const path = record.path.length > 2048 ? record.path.slice(0, 2048) : record.path;
  let line = `{"time":"${instant(record.at)}","requestId":${quoted(record.requestId)},"remote":"${record.remote}","host":${quoted(record.host)},"method":${quoted(record.method)},"path":${quoted(path)},"status":${String(record.status)}`;
  line += `,"bytesIn":${String(record.bytesIn)},"bytesOut":${String(record.bytesOut)},"durationMs":${withMicroseconds(record.milliseconds)}${record.origin}`;
  if (record.protocol !== "") line += `,"protocol":"${record.protocol}"`;
  if (record.retried > 0) line += `,"retried":${String(record.retried)}`;
  if (record.code !== "") line += `,"code":"${record.code}"`;
  if (record.interrupted) line += `,"interrupted":true`;
  return `${line}}\n`;
}
