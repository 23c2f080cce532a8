// One HTTP/1.1 client connection that knows exactly what it sent and received when it breaks. Ordinary clients retry and hide; this one must never.
import { connect, type Socket } from "node:net";

export interface Reply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** The connection cannot be used again. */ readonly last: boolean;
}
export interface Broken {
  /** `refused`: no connection was made. `closed`, `reset`: ended before the reply was whole. `silent`: no reply in time. `garbled`: not HTTP. */
  readonly how: "refused" | "closed" | "reset" | "silent" | "garbled";
  readonly detail: string;
  /** Bytes of a reply that had come. */
  readonly received: number;
  /** The request was out, as far as this end knows. */
  readonly sent: boolean;
}
export type Outcome = { readonly ok: true; readonly reply: Reply } | { readonly ok: false; readonly broken: Broken };

/** `pieces`: the request after its head, each piece after its pause in ms. */
export interface Request {
  readonly head: string;
  readonly pieces?: readonly { readonly after: number; readonly text: string }[];
  readonly within: number;
}

/** undefined: refused, or not within 10 s. */
export function dial(host: string, port: number): Promise<Wire | Broken> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true });
    const failed = (detail: string): void => {
      socket.destroy();
      resolve({ how: "refused", detail, received: 0, sent: false });
    };
    let last: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      // One that was made while this process was held up is read of first.
      last = setImmediate(() => {
        failed("no connection within 10 s");
      });
    }, 10_000);
    const settle = (): void => {
      clearTimeout(timer);
      clearImmediate(last);
    };
    socket.once("error", (error: NodeJS.ErrnoException) => {
      settle();
      failed(error.code ?? error.message);
    });
    socket.once("connect", () => {
      settle();
      socket.removeAllListeners("error");
      resolve(new Wire(socket));
    });
  });
}

export class Wire {
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  #received = 0;
  #ended: { readonly how: "closed" | "reset"; readonly detail: string } | undefined;
  #wake: () => void = () => undefined;
  /** Replies that came over this connection. */
  replies = 0;
  /** This end's; known as long as the socket lives, and wanted afterwards. */
  readonly port: number | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.port = socket.localPort;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    const ended = (how: "closed" | "reset", detail: string): void => {
      this.#ended ??= { how, detail };
      this.#wake();
    };
    socket.on("end", () => {
      ended("closed", "FIN");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      ended(error.code === "ECONNRESET" || error.code === "EPIPE" ? "reset" : "closed", error.code ?? error.message);
    });
    socket.on("close", () => {
      ended("closed", "closed");
    });
  }

  /** The other end is gone: a request on it would be lost before it left. */
  get gone(): boolean {
    return this.#ended !== undefined;
  }
  get socket(): Socket {
    return this.#socket;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Half of a minute old connections are of no use to anyone: the caller decides when to close. */
  async exchange(request: Request): Promise<Outcome> {
    const before = this.#received;
    const deadline = performance.now() + request.within;
    let sent = false;
    let cut = false;
    const broken = (how: Broken["how"], detail: string): Outcome => {
      this.close();
      return { ok: false, broken: { how, detail, received: this.#received - before, sent } };
    };
    try {
      if (this.#ended !== undefined) return broken(this.#ended.how, this.#ended.detail);
      this.#socket.write(request.head);
      for (const { after, text } of request.pieces ?? []) {
        if (after > 0) await this.#pause(after);
        if (this.#ended !== undefined || this.#buffer.length > 0) {
          // A reply before the end of the request: the rest is never sent, so the connection is of no use after it.
          cut = true;
          break;
        }
        this.#socket.write(text);
      }
      sent = !cut;
      const head = await this.#until(() => this.#buffer.indexOf("\r\n\r\n"), deadline);
      if (typeof head !== "number") return broken(head.how, head.detail);
      return await this.#reply(head, deadline, cut, broken);
    } catch (error) {
      return broken("garbled", error instanceof Error ? error.message : String(error));
    }
  }

  async #reply(headEnd: number, deadline: number, cut: boolean, broken: (how: Broken["how"], detail: string) => Outcome): Promise<Outcome> {
    const [first = "", ...lines] = this.#take(headEnd + 4)
      .toString("latin1")
      .trimEnd()
      .split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3})(?: |$)/.exec(first)?.[1]);
    if (!Number.isInteger(status)) return broken("garbled", first.slice(0, 80));
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const last = cut || headers.get("connection")?.toLowerCase() === "close";
    const length = headers.get("content-length");
    let body: Buffer | { how: Broken["how"]; detail: string };
    if (status === 204 || status === 304) body = Buffer.alloc(0);
    else if (headers.get("transfer-encoding") === "chunked") body = await this.#chunks(deadline);
    else if (length !== undefined) body = await this.#bytes(Number(length), deadline);
    else return broken("garbled", "neither length nor chunks");
    if (!Buffer.isBuffer(body)) return broken(body.how, body.detail);
    this.replies += 1;
    if (last) this.close();
    return { ok: true, reply: { status, headers, body: body.toString("utf8"), last } };
  }

  async #chunks(deadline: number): Promise<Buffer | { how: Broken["how"]; detail: string }> {
    const parts: Buffer[] = [];
    for (;;) {
      const line = await this.#until(() => this.#buffer.indexOf("\r\n"), deadline);
      if (typeof line !== "number") return line;
      const size = Number.parseInt(this.#take(line + 2).toString("latin1"), 16);
      if (!Number.isInteger(size)) return { how: "garbled", detail: "not a chunk's size" };
      const part = await this.#bytes(size + 2, deadline);
      if (!Buffer.isBuffer(part)) return part;
      if (size === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, size));
    }
  }

  async #bytes(count: number, deadline: number): Promise<Buffer | { how: Broken["how"]; detail: string }> {
    const found = await this.#until(() => (this.#buffer.length >= count ? 0 : -1), deadline);
    return typeof found === "number" ? this.#take(count) : found;
  }

  #take(count: number): Buffer {
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  /** What came is looked at before the end of the connection: a whole reply counts even when the other end closed after it. */
  async #until(look: () => number, deadline: number): Promise<number | { how: Broken["how"]; detail: string }> {
    for (;;) {
      const found = look();
      if (found >= 0) return found;
      if (this.#ended !== undefined) return this.#ended;
      if (performance.now() >= deadline) return { how: "silent", detail: "no whole reply in time" };
      await this.#pause(deadline - performance.now());
    }
  }

  /** Until something happens, for so many ms at most. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        resolve();
      }
      this.#wake = done;
    });
  }
}
