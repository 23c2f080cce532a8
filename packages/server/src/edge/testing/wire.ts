// Raw bytes at a router and at an endpoint, for tests of what a parser makes of them: nothing here forgives, repairs or hides a byte.
import { once } from "node:events";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { listening } from "./harness.ts";

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** A connection that writes what it is told, byte by byte, and reads answers off the other side (RFC 9112, section 6.3, for the length of a body). */
export class RawClient implements Disposable {
  readonly socket: Socket;
  /** Everything that came and was not taken as an answer yet. */
  #buffer = "";
  #closed = false;
  #changed: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1").on("data", (text: string) => {
      this.#buffer += text;
      this.#changed();
    });
    for (const event of ["end", "close", "error"])
      socket.on(event, () => {
        this.#closed = true;
        this.#changed();
      });
  }

  static async open(port: number, options: { readonly allowHalfOpen?: boolean } = {}): Promise<RawClient> {
    const socket = connect({ host: "127.0.0.1", port, ...options });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  write(bytes: string): void {
    this.socket.write(bytes, "latin1");
  }

  /** The next whole answer; undefined when the other side closed without another one. `bodiless`: it answers a HEAD. */
  async answer(bodiless = false, ms = 30_000): Promise<RawAnswer | undefined> {
    const deadline = performance.now() + ms;
    for (;;) {
      const taken = takeAnswer(this.#buffer, bodiless, this.#closed);
      if (taken !== undefined) {
        this.#buffer = taken.rest;
        return taken.answer;
      }
      if (this.#closed) return undefined;
      if (!(await this.#change(deadline)))
        throw new Error(`no answer within ${String(ms)} ms; so far: ${JSON.stringify(this.#buffer.slice(0, 400))}`);
    }
  }

  /** Whether the other side closes within `ms`; what it still sends is kept. */
  async closes(ms = 30_000): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (!this.#closed) if (!(await this.#change(deadline))) return false;
    return true;
  }

  get unread(): string {
    return this.#buffer;
  }

  #change(deadline: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => {
          resolve(false);
        },
        Math.max(0, deadline - performance.now()),
      );
      this.#changed = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  [Symbol.dispose](): void {
    this.socket.on("error", () => undefined).destroy();
  }
}

function takeAnswer(text: string, bodiless: boolean, closed: boolean): { answer: RawAnswer; rest: string } | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? NaN);
  if (Number.isNaN(status)) throw new Error(`not an answer: ${JSON.stringify(text.slice(0, 200))}`);
  const after = text.slice(end + 4);
  const whole = (body: string, rest: string): { answer: RawAnswer; rest: string } => ({ answer: { status, head, body }, rest });
  if (bodiless || status < 200 || status === 204 || status === 304) return whole("", after);
  const length = /^content-length: *(\d+) *$/im.exec(head)?.[1];
  if (/^transfer-encoding: *chunked *$/im.test(head)) return takeChunks(after, whole);
  if (length !== undefined)
    return after.length < Number(length) ? undefined : whole(after.slice(0, Number(length)), after.slice(Number(length)));
  return closed ? whole(after, "") : undefined;
}

function takeChunks<T>(text: string, whole: (body: string, rest: string) => T): T | undefined {
  let body = "";
  let at = 0;
  for (;;) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(text.slice(at, line), 16);
    if (size === 0) {
      const end = text.indexOf("\r\n", line + 2);
      if (end < 0) return undefined;
      // Trailers, when there are some, end with an empty line of their own.
      if (end === line + 2) return whole(body, text.slice(end + 2));
      const last = text.indexOf("\r\n\r\n", line + 2);
      return last < 0 ? undefined : whole(body, text.slice(last + 4));
    }
    if (text.length < line + 2 + size + 2) return undefined;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}

/** An endpoint that notes each byte and each request that it was made to see, and answers `METHOD target` with the length of the body. */
export interface NotingEndpoint extends AsyncDisposable {
  readonly port: number;
  readonly requests: string[];
  bytes(): string;
  reset(): void;
}

export async function notingEndpoint(): Promise<NotingEndpoint> {
  const requests: string[] = [];
  let received = "";
  const server: HttpServer = createHttpServer((req, res) => {
    let body = "";
    req.setEncoding("latin1").on("data", (chunk: string) => {
      body += chunk;
    });
    req.on("end", () => {
      requests.push(`${req.method ?? ""} ${req.url ?? ""} ${JSON.stringify(body)}`);
      res.setHeader("x-seen-host", req.headers.host ?? "");
      res.end(`${req.method ?? ""} ${req.url ?? ""} ${String(body.length)}`);
    });
  });
  server.on("connection", (socket) => {
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
    });
  });
  const port = await listening(server);
  return {
    port,
    requests,
    bytes: () => received,
    reset: () => {
      requests.length = 0;
      received = "";
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

/** An endpoint that does with each connection what the test says. `heads` counts the requests whose head it has read. */
export interface RawEndpoint extends AsyncDisposable {
  readonly port: number;
  heads: number;
  act: (socket: Socket, received: string) => void;
}

export async function rawEndpoint(act: (socket: Socket, received: string) => void): Promise<RawEndpoint> {
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket);
    let received = "";
    socket
      .setEncoding("latin1")
      .on("error", () => undefined)
      .on("close", () => open.delete(socket));
    socket.on("data", (text: string) => {
      received += text;
      if (!received.includes("\r\n\r\n")) return;
      made.heads += 1;
      const whole = received;
      received = "";
      made.act(socket, whole);
    });
  });
  const port = await listening(server);
  const made: RawEndpoint = {
    port,
    heads: 0,
    act,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
  return made;
}
