// Several streams of bytes over one WebSocket, as Kubernetes has them for commands and ports: the first byte of a message is its channel's number. A reader that is slow pauses the
// connection, so that nothing piles up here. https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
import { Duplex, Readable, Writable, type ReadableOptions, type WritableOptions } from "node:stream";
import type { RawData, WebSocket } from "ws";
import { KubeTimeout, unreachable } from "./errors.ts";

/** Tells the other side of the end of a channel; since `v5.channel.k8s.io`. */
const closeChannel = 255;
const maxMessageBytes = 32 * 1024;
/** RFC 6455, section 7.4.1: the connection ended, and nobody had said so. */
const endedWithoutWord = 1006;
/** Keeps what is idle alive through what lies in between, ms. */
const pingEvery = 20_000;
/** Nothing heard for so long, and nothing paused: the other side is gone, ms. */
const silence = 65_000;
/** What may wait for a slow reader, bytes. */
const highWaterMark = 256 * 1024;

export class Channels {
  readonly #socket: WebSocket;
  readonly #readers = new Map<number, (data: Buffer) => void>();
  readonly #streams = new Map<number, Readable>();
  readonly #full = new Set<number>();
  /** What could not be sent any more, until the end tells why. */
  readonly #unsent: (() => void)[] = [];
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #heard = performance.now();

  /** The socket is open and paused; `start` lets it run. */
  constructor(socket: WebSocket, server: string, signal: AbortSignal) {
    this.#socket = socket;
    let failure: Error | undefined;
    const abort = (): void => {
      failure ??= signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
      socket.terminate();
    };
    const alive = setInterval(() => {
      if (this.#full.size === 0 && performance.now() - this.#heard > silence) {
        failure ??= unreachable(server, new KubeTimeout("the other side is silent"));
        socket.terminate();
      } else if (socket.readyState === socket.OPEN) socket.ping();
    }, pingEvery);
    socket.on("message", (data, isBinary) => this.#take(data, isBinary));
    socket.on("pong", () => (this.#heard = performance.now()));
    socket.on("error", (error) => (failure ??= unreachable(server, error)));
    socket.on("close", (code) => {
      if (code === endedWithoutWord) failure ??= unreachable(server, cutOff());
      clearInterval(alive);
      signal.removeEventListener("abort", abort);
      this.#closed.resolve(failure);
      for (const done of this.#unsent.splice(0)) setImmediate(done);
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }

  /** The connection is at its end; with what broke it, if something did. Never rejects. */
  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** Each message of a channel, without those that are empty. `skip`: as many bytes come first that are none of it. */
  onMessage(channel: number, take: (data: Buffer) => void, skip = 0): void {
    let left = skip;
    this.#readers.set(channel, (data) => {
      const rest = data.subarray(left);
      left = Math.max(0, left - data.length);
      if (rest.length > 0) take(rest);
    });
  }

  /** What comes on a channel. Whoever asked ends or destroys it when the connection is at its end. */
  readable(channel: number): Readable {
    return this.#taking(new Readable(this.#reading(channel)), channel);
  }

  /** What is written goes to a channel, and so does its end. */
  writable(channel: number): Writable {
    const final = (done: () => void): void => this.send(closeChannel, Buffer.of(channel), done);
    return new Writable({ ...this.#writing(channel), final });
  }

  /** Both directions of a channel in a protocol that has no word for the end of one of them; what comes begins after `skip` bytes. */
  duplex(channel: number, skip: number): Duplex {
    const stream = new Duplex({ ...this.#reading(channel), ...this.#writing(channel), allowHalfOpen: false });
    return this.#taking(stream, channel, skip);
  }

  /** `done`: the bytes are with the kernel; or the connection is at its end, and why is for `closed` to tell. */
  send(channel: number, data: Buffer, done: () => void = () => undefined): void {
    const piece = data.subarray(0, maxMessageBytes);
    this.#socket.send(Buffer.concat([Buffer.of(channel), piece]), { binary: true }, (error) => {
      if (error != null) this.#giveUp(done);
      else if (piece.length === data.length) done();
      else this.send(channel, data.subarray(maxMessageBytes), done);
    });
  }

  start(): void {
    this.#socket.resume();
  }

  /** Ends the connection in good order. */
  close(): void {
    this.#socket.close(1000);
  }

  /** Ends the connection at once. */
  terminate(): void {
    this.#socket.terminate();
  }

  #reading(channel: number): ReadableOptions {
    return {
      highWaterMark,
      read: () => this.#drained(channel),
      // Nobody reads it any more: what still comes is dropped, and holds up nobody.
      destroy: (error, done) => {
        this.#readers.delete(channel);
        this.#drained(channel);
        done(error);
      },
    };
  }

  #writing(channel: number): WritableOptions {
    return { highWaterMark, write: (chunk: Buffer, _encoding, done) => this.send(channel, chunk, done) };
  }

  #taking<T extends Readable>(stream: T, channel: number, skip = 0): T {
    this.#streams.set(channel, stream);
    const take = (data: Buffer): void => {
      if (stream.destroyed || stream.push(data)) return;
      this.#full.add(channel);
      this.#socket.pause();
    };
    this.onMessage(channel, take, skip);
    return stream;
  }

  /** After whoever hears of the end from `closed`, who gets to destroy the stream first: one that is written to without a pause would leave him no turn. */
  #giveUp(done: () => void): void {
    if (this.#socket.readyState === this.#socket.CLOSED) setImmediate(done);
    else this.#unsent.push(done);
  }

  #take(data: RawData, isBinary: boolean): void {
    this.#heard = performance.now();
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.isBuffer(data) ? data : Buffer.from(data);
    if (!isBinary || bytes.length < 2) return;
    const [channel = 0] = bytes;
    if (channel === closeChannel) this.#streams.get(bytes[1] ?? 0)?.push(null);
    else this.#readers.get(channel)?.(bytes.subarray(1));
  }

  #drained(channel: number): void {
    if (this.#full.delete(channel) && this.#full.size === 0) {
      this.#heard = performance.now();
      this.#socket.resume();
    }
  }
}

/** For the cause of a KubeUnreachable: as the system names it. */
export function cutOff(): Error {
  return Object.assign(new Error("the connection ended in the middle"), { code: "ECONNRESET" });
}
