// Client connections of a router that has many: most of them idle, and Node keeps a parser of 10 KB and its own objects for each, for as long as it is open.
// Here the HTTP server sees a connection only while requests come; in between it rests as a plain socket. No byte of a client ever waits for that, or is lost.
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

type HttpServer = EventEmitter & { closeIdleConnections(): void; close(): unknown };

export interface CrowdDeps {
  /** An HTTP server of the crowd's own, which never listens. */
  readonly serve: () => HttpServer;
  /** ms that a connection may rest; 0: for ever. */
  readonly idleTimeout: number;
  /** ms between two looks for connections on which nothing happens. One rests from the second look on. */
  readonly lookEvery: number;
  /** ms, never going back. */
  readonly now: () => number;
}

export class Crowd {
  readonly #deps: CrowdDeps;
  /** The line on which the HTTP server has it, or since when it rests. */
  readonly #members = new Map<Socket, Line | number>();
  #server: HttpServer | undefined;
  #watcher: NodeJS.Timeout | undefined;
  /** Of the looks. */
  #round = 0;
  #looking = false;

  constructor(deps: CrowdDeps) {
    this.#deps = deps;
  }

  /** Takes over a connection that was just accepted, with its half-open end left to us. */
  take(socket: Socket): void {
    this.#wake(socket);
    this.#watcher ??= this.#watch();
    // Functions of the crowd, none of the connection's own: that would be memory again.
    socket.on("data", this.#onData).on("end", this.#onEnd).on("error", this.#onError).on("close", this.#onClose);
  }

  /** Ends them all, whatever they are doing. */
  closeAll(): void {
    for (const socket of this.#members.keys()) socket.destroy();
  }

  /** No connection is left, and none will come. */
  end(): void {
    clearInterval(this.#watcher);
    this.#server?.close();
  }

  /** Node asks the HTTP server for its idle connections to be closed, and here is where one of them may rest instead. */
  mayClose(line: Line): boolean {
    if (!this.#looking) return true;
    if (line.round >= this.#round - 1 || !line.isQuiet || line.socket.isPaused()) return false;
    this.#members.set(line.socket, this.#deps.now());
    return true;
  }

  /** Whether `line` is all there is of the connection: it rests otherwise, and goes on without that line. */
  isHeldBy(line: Line): boolean {
    return this.#members.get(line.socket) === line;
  }

  get round(): number {
    return this.#round;
  }

  #wake(socket: Socket): Line {
    const line = new Line(socket, this);
    this.#members.set(socket, line);
    this.#server ??= this.#serve();
    this.#server.emit("connection", line);
    return line;
  }

  #serve(): HttpServer {
    const server = this.#deps.serve();
    // Node begins to note which connections are idle, and whose head takes too long, when a server listens; this one gets its connections from another.
    server.emit("listening");
    return server;
  }

  #watch(): NodeJS.Timeout {
    return setInterval(() => {
      this.#look();
    }, this.#deps.lookEvery).unref();
  }

  #look(): void {
    this.#round += 1;
    // Who knows best whether a connection is between two requests is the HTTP server.
    this.#looking = true;
    try {
      this.#server?.closeIdleConnections();
    } finally {
      this.#looking = false;
    }
    const { idleTimeout, now } = this.#deps;
    if (idleTimeout === 0) return;
    const expired = now() - idleTimeout;
    for (const [socket, member] of this.#members) if (typeof member === "number" && member < expired) socket.destroy();
  }

  readonly #onData = this.#of((socket, member, chunk: Buffer) => {
    const line = typeof member === "number" ? this.#wake(socket) : member;
    line.round = this.#round;
    if (!line.push(chunk)) socket.pause();
  });

  readonly #onEnd = this.#of((socket, member) => {
    if (typeof member === "number") socket.end();
    else member.endOfClient();
  });

  readonly #onError = this.#of((_socket, member, error: Error) => {
    if (typeof member !== "number") member.destroy(error);
  });

  readonly #onClose = this.#of((socket, member) => {
    this.#members.delete(socket);
    if (typeof member !== "number") member.destroy();
    if (this.#members.size > 0) return;
    clearInterval(this.#watcher);
    this.#watcher = undefined;
  });

  /** One listener for all sockets. */
  #of<T>(listener: (socket: Socket, member: Line | number, value: T) => void): (this: Socket, value: T) => void {
    const members = this.#members;
    return function (this: Socket, value: T) {
      const member = members.get(this);
      if (member !== undefined) listener(this, member, value);
    };
  }
}

/** A connection as the HTTP server has it while requests come: its bytes in both directions, as they are. */
export class Line extends Duplex {
  readonly socket: Socket;
  /** The last round of looks in which something moved. */
  round: number;
  readonly #crowd: Crowd;
  #ended = false;

  constructor(socket: Socket, crowd: Crowd) {
    super({ decodeStrings: false, allowHalfOpen: true });
    this.socket = socket;
    this.#crowd = crowd;
    this.round = crowd.round;
  }

  /** The client will send no more. */
  endOfClient(): void {
    this.#ended = true;
    this.push(null);
  }

  /** Nothing is on its way, and nobody has begun to end it. */
  get isQuiet(): boolean {
    return (
      !this.#ended && !this.writableEnded && !this.destroyed && this.writableLength === 0 && this.readableLength === 0 && !this.isPaused()
    );
  }

  override _read(): void {
    if (this.socket.isPaused()) this.socket.resume();
  }

  // The callback comes when the kernel has the bytes, not before: buffers are used again then, and answers count as sent.
  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.round = this.#crowd.round;
    this.socket.write(chunk, encoding, callback);
  }

  override _writev(chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], callback: (error?: Error | null) => void): void {
    this.round = this.#crowd.round;
    const { socket } = this;
    const last = chunks.length - 1;
    socket.cork();
    for (const [index, { chunk, encoding }] of chunks.entries()) {
      if (index < last) socket.write(chunk, encoding);
      else socket.write(chunk, encoding, callback);
    }
    socket.uncork();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.socket.end(callback);
  }

  /** As on a socket: the HTTP server ends connections so, and idle ones when it is asked to; see `mayClose`. */
  override destroy(error?: Error): this {
    return this.#crowd.mayClose(this) ? super.destroy(error) : this;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#crowd.isHeldBy(this)) this.socket.destroy(error ?? undefined);
    callback(error);
  }

  /** Closes both directions when what was written is out. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else
      this.once("finish", () => {
        this.destroy();
      });
  }

  // What the router asks a client's socket for.

  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  get localPort(): number | undefined {
    return this.socket.localPort;
  }

  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.socket.bytesWritten;
  }

  setNoDelay(noDelay?: boolean): this {
    this.socket.setNoDelay(noDelay);
    return this;
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.socket.setKeepAlive(enable, initialDelay);
    return this;
  }
}
