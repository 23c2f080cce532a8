// The JSON access log: one line per request, buffered and written in the background. It drops lines (and counts them) rather than hold up a request.
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import pino from "pino";

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
  readonly stack: string;
  readonly component: string;
  readonly track: string;
  readonly instance: string;
  readonly release: string;
  readonly retried: number;
  readonly interrupted: boolean;
}

/** Buffered text beyond this is dropped: the disk is slower than the requests. */
const mostBuffered = 8 * 1024 * 1024;
const flushEvery = 200;

export class AccessLog {
  readonly #out: ReturnType<typeof pino.destination>;
  readonly #flusher: NodeJS.Timeout;
  dropped = 0;

  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true });
    this.#out = pino.destination({ dest: file, sync: false, append: true, minLength: 8_192, maxLength: mostBuffered, mode: 0o640 });
    this.#out.on("drop", () => { this.dropped += 1; });
    // A full disk must not end a router; what could not be written counts as dropped.
    this.#out.on("error", () => { this.dropped += 1; });
    this.#flusher = setInterval(() => { this.#out.flush(); }, flushEvery).unref();
  }

  write(record: AccessRecord): void {
    this.#out.write(accessLine(record));
  }

  /** The primary moved the file away: go on in a new one. */
  reopen(): void {
    this.#out.reopen();
  }

  /** Resolves when everything is on its way to the file. */
  close(): Promise<void> {
    clearInterval(this.#flusher);
    return new Promise((resolve) => {
      this.#out.flush(() => { resolve(); });
    });
  }
}

let clockMs = 0;
let clockText = "";
function instant(ms: number): string {
  if (ms !== clockMs) {
    clockMs = ms;
    clockText = new Date(ms).toISOString();
  }
  return clockText;
}

const plain = /^[ !#-[\]-~]*$/;
function quoted(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** Only host, method, path and request id come from outside; the rest are Berth's own names and numbers. */
export function accessLine(record: AccessRecord): string {
  const path = record.path.length > 2048 ? record.path.slice(0, 2048) : record.path;
  let line = `{"time":"${instant(record.at)}","requestId":${quoted(record.requestId)},"remote":"${record.remote}","host":${quoted(record.host)},"method":${quoted(record.method)},"path":${quoted(path)},"status":${String(record.status)}`;
  line += `,"bytesIn":${String(record.bytesIn)},"bytesOut":${String(record.bytesOut)},"durationMs":${String(Math.round(record.milliseconds * 1000) / 1000)}`;
  if (record.component !== "") line += `,"stack":"${record.stack}","component":"${record.component}"`;
  if (record.instance !== "") line += `,"track":"${record.track}","instance":${quoted(record.instance)},"release":${quoted(record.release)}`;
  if (record.retried > 0) line += `,"retried":${String(record.retried)}`;
  if (record.interrupted) line += `,"interrupted":true`;
  return `${line}}\n`;
}
