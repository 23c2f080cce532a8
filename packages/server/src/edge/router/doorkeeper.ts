// How many clients may be connected: to this router at all, and from one address, so that one of them cannot take all the room; and how long one may take nothing of
// what waits for it. Who is not let in is told so in a word. Siblings, which come by listeners of their own, are not counted. Requests cost nothing here.
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { RouterLimits } from "../ipc.ts";
import { plainAddress } from "./clientaddress.ts";
import type { RouterStats } from "./stats.ts";

/** ms between two reports that somebody was refused. */
const reportEvery = 10_000;
/** ms that a client which was refused has to read why. */
const readWhy = 1_000;

const sentence = "503 Busy: too many connections are open.\n";
const words = `HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${String(sentence.length)}\r\nretry-after: 5\r\nconnection: close\r\n\r\n${sentence}`;

/** Node keeps count of bytes on the handle: those that were handed to the kernel or wait for it, and those that wait. */
interface WithHandle {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
}

/** A connection needs a file here and one to an instance: no more than there are files for, so that an accept never fails without a word. */
export function withinFiles(limits: RouterLimits): RouterLimits {
  const files = Number(/^Max open files\s+(\d+)/m.exec(limitsText())?.[1] ?? NaN);
  return Number.isNaN(files)
    ? limits
    : { ...limits, maxConnections: Math.min(limits.maxConnections, Math.max(1, Math.floor((files - 200) / 2))) };
}

function limitsText(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return ""; // not Linux: what was configured counts
  }
}

export interface DoorkeeperDeps {
  readonly limits: RouterLimits;
  readonly stats: RouterStats;
  readonly isTrusted: (address: string) => boolean;
  /** ms, never going back. */
  readonly now: () => number;
}

/** What is spoken on a connection: only over `http` can a client be told why it is refused, and on `tcp` it may leave what it is sent for as long as it likes. */
export type Spoken = "http" | "tls" | "tcp";

export class Doorkeeper {
  readonly #deps: DoorkeeperDeps;
  readonly #report: (open: number) => void;
  readonly #perClient = new Map<string, number>();
  /** Who was let in, and whose connection it is. */
  readonly #open = new Map<Socket, string>();
  /** Those that may leave what they are sent. */
  readonly #patient = new Set<Socket>();
  /** Those of them that had not taken everything when last looked at: how much they had taken, and since when. */
  #slow = new Map<Socket, { readonly taken: number; readonly since: number }>();
  /** One function for all connections: a closure each would be memory that every idle client takes. */
  readonly #onClose: (this: Socket) => void;
  #reported = -Infinity;

  constructor(deps: DoorkeeperDeps, report: (open: number) => void) {
    this.#deps = deps;
    this.#report = report;
    const left = this.#left.bind(this);
    this.#onClose = function (this: Socket) {
      left(this);
    };
  }

  /** false: it was refused, and nothing that it sends is a request. */
  admit(socket: Socket, spoken: Spoken): boolean {
    const { maxConnections, maxConnectionsPerClient } = this.#deps.limits;
    const client = plainAddress(socket.remoteAddress);
    const known = this.#perClient.get(client) ?? 0;
    if (this.#open.size >= maxConnections || (known >= maxConnectionsPerClient && !this.#isExempt(client))) {
      this.#refuse(socket, spoken);
      return false;
    }
    this.#open.set(socket, client);
    this.#perClient.set(client, known + 1);
    if (spoken === "tcp") this.#patient.add(socket);
    socket.on("close", this.#onClose);
    return true;
  }

  #left(socket: Socket): void {
    const client = this.#open.get(socket) ?? "";
    this.#open.delete(socket);
    this.#patient.delete(socket);
    const now = (this.#perClient.get(client) ?? 1) - 1;
    if (now > 0) this.#perClient.set(client, now);
    else this.#perClient.delete(client);
  }

  /** Called now and then: ends connections whose client took no byte of what waits for it for `clientTimeout` ms. */
  look(): void {
    const now = this.#deps.now();
    const slow = new Map<Socket, { readonly taken: number; readonly since: number }>();
    for (const socket of this.#open.keys()) {
      if (this.#patient.has(socket)) continue;
      const handle = (socket as WithHandle)._handle;
      if (handle === undefined || handle === null || handle.writeQueueSize === 0) continue;
      const taken = handle.bytesWritten - handle.writeQueueSize;
      const before = this.#slow.get(socket);
      if (before?.taken !== taken) slow.set(socket, { taken, since: now });
      else if (now - before.since < this.#deps.limits.clientTimeout) slow.set(socket, before);
      else socket.destroy();
    }
    this.#slow = slow;
  }

  /** A proxy brings many clients, and whoever is on this machine has other ways. */
  #isExempt(client: string): boolean {
    return client === "127.0.0.1" || client === "::1" || this.#deps.isTrusted(client);
  }

  #refuse(socket: Socket, spoken: Spoken): void {
    this.#deps.stats.refusedConnections += 1;
    const now = this.#deps.now();
    if (now - this.#reported >= reportEvery) {
      this.#reported = now;
      this.#report(this.#open.size);
    }
    if (spoken !== "http") {
      socket.resetAndDestroy();
      return;
    }
    socket.on("error", () => socket.destroy());
    socket.end(words);
    setTimeout(() => {
      socket.destroy();
    }, readWhy).unref();
  }
}
