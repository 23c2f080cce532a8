// The router's side of its orders: from the primary that started it, and when that one is gone, from the next, over `routers.sock`. Losing a primary loses no request.
import { connect, type Socket } from "node:net";
import type { FromRouter, RouterRole, ToRouter } from "../ipc.ts";
import { onLines } from "../../os/lines.ts";
import { onPrimaryGone } from "../messages.ts";
import type { SocketHandle } from "../primary/sockets.ts";

export interface LinkDeps {
  readonly onMessage: (message: ToRouter, handle: SocketHandle | undefined) => void;
  /** The primary is gone, or leaves; `connectTo` ends the time without one. */
  readonly onOrphaned: () => void;
}

export class PrimaryLink {
  readonly #deps: LinkDeps;
  #socket: Socket | undefined;
  /** Over IPC first; never again after that was lost. */
  #child = true;
  #ending = false;

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    process.on("message", (message: ToRouter, handle: unknown) => {
      if (this.#child) deps.onMessage(message, handle as SocketHandle | undefined);
    });
    onPrimaryGone(() => {
      this.leaveParent();
    });
  }

  /** Whether sockets can come along with messages. */
  get isChild(): boolean {
    return this.#child;
  }

  send(message: FromRouter): void {
    if (this.#child) {
      if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
    } else if (this.#socket?.writable === true) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** From now on this process belongs to whoever is reached by `connectTo`. */
  leaveParent(): void {
    if (!this.#child || this.#ending) return;
    this.#child = false;
    if (process.connected) process.disconnect();
    this.#deps.onOrphaned();
  }

  /** true: connected, and greeted. */
  connectTo(path: string, role: RouterRole): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect({ path });
      socket.once("error", () => {
        resolve(false);
      });
      socket.once("connect", () => {
        socket.removeAllListeners("error").on("error", () => socket.destroy());
        this.#socket = socket;
        onLines(socket, (line) => {
          this.#deps.onMessage(JSON.parse(line) as ToRouter, undefined);
        });
        socket.once("close", () => {
          if (this.#socket !== socket || this.#ending) return;
          this.#socket = undefined;
          this.#deps.onOrphaned();
        });
        this.send({ type: "orphan", pid: process.pid, role });
        resolve(true);
      });
    });
  }

  /** Last words are out; the process ends. */
  close(done: () => void): void {
    this.#ending = true;
    if (this.#socket !== undefined) this.#socket.end(done);
    else if (process.connected) {
      // Disconnecting flushes the channel.
      process.once("disconnect", done);
      process.disconnect();
    } else done();
  }
}
