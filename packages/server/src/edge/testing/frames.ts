// A client of HTTP/2 that writes frames as they are, for what Node's client would never send: floods, and streams that are cut off at a chosen place.
import { connect as connectPlain, type Socket } from "node:net";
import { once } from "node:events";

export const frame = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8, continuation: 9 } as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export class FrameClient implements Disposable {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  closed = false;
  #left = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#left = Buffer.concat([this.#left, chunk]);
      this.#take();
    });
    socket.on("error", () => undefined).on("close", () => (this.closed = true));
    socket.on("end", () => (this.closed = true));
  }

  /** With prior knowledge, its settings sent. PING is answered. */
  static async open(port: number): Promise<FrameClient> {
    const socket = connectPlain({ host: "127.0.0.1", port });
    await once(socket, "connect");
    const client = new FrameClient(socket);
    socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), encoded(frame.settings, 0, 0)]));
    return client;
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /** What GOAWAY said; undefined while none came. */
  get goneAway(): { readonly last: number; readonly code: number } | undefined {
    const found = this.frames.filter(({ type }) => type === frame.goaway).at(-1);
    return found === undefined ? undefined : { last: found.payload.readUInt32BE(0), code: found.payload.readUInt32BE(4) };
  }

  #take(): void {
    while (this.#left.length >= 9) {
      const length = this.#left.readUIntBE(0, 3);
      if (this.#left.length < 9 + length) return;
      const made: Frame = {
        type: this.#left.readUInt8(3),
        flags: this.#left.readUInt8(4),
        stream: this.#left.readUInt32BE(5),
        payload: this.#left.subarray(9, 9 + length),
      };
      this.frames.push(made);
      if (made.type === frame.ping && (made.flags & flag.ack) === 0) this.send(encoded(frame.ping, flag.ack, 0, made.payload));
      this.#left = this.#left.subarray(9 + length);
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

export function encoded(type: number, flags: number, stream: number, payload: Buffer | string = Buffer.alloc(0)): Buffer {
  const body = Buffer.from(payload as string, "latin1");
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A block of header fields, each a literal without an index (RFC 7541, 6.2.2). */
export function fields(list: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(Object.entries(list).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let left = bytes.length - 127;
  for (; left >= 128; left = Math.floor(left / 128)) length.push((left % 128) + 128);
  length.push(left);
  return Buffer.concat([Buffer.from(length), bytes]);
}

export const requestFields = (host: string, more: Readonly<Record<string, string>> = {}): Buffer =>
  fields({ ":method": "GET", ":scheme": "http", ":authority": host, ":path": "/", ...more });
