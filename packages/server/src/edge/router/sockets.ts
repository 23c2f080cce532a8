// The listening sockets of this router: asked for at the primary, which binds them for all routers, and known here so that they can be handed on should it die.
import type { FromRouter } from "../ipc.ts";
import type { Address, BoundSocket, SocketHandle } from "../primary/sockets.ts";

export interface SocketSource {
  /** The bound socket, or the code of the error why there is none. */
  obtain(host: string, port: number): Promise<SocketHandle | string>;
  giveBack(host: string, port: number): void;
}

export class RouterSockets implements SocketSource {
  readonly #send: (message: FromRouter) => void;
  readonly #open = new Map<string, BoundSocket>();
  readonly #asked = new Map<number, (answer: SocketHandle | string) => void>();
  #seq = 0;

  constructor(send: (message: FromRouter) => void) {
    this.#send = send;
  }

  async obtain(host: string, port: number): Promise<SocketHandle | string> {
    this.#seq += 1;
    const seq = this.#seq;
    const answer = await new Promise<SocketHandle | string>((resolve) => {
      this.#asked.set(seq, resolve);
      this.#send({ type: "listen", seq, host, port });
    });
    if (typeof answer !== "string") this.#open.set(keyOf({ host, port }), { host, port, handle: answer });
    return answer;
  }

  giveBack(host: string, port: number): void {
    if (this.#open.delete(keyOf({ host, port }))) this.#send({ type: "unlisten", host, port });
  }

  answered(seq: number, answer: SocketHandle | string): void {
    const settle = this.#asked.get(seq);
    this.#asked.delete(seq);
    settle?.(answer);
  }

  /** Nobody will answer any more. */
  refuseAsked(code: string): void {
    for (const seq of [...this.#asked.keys()]) this.answered(seq, code);
  }

  all(): BoundSocket[] {
    return [...this.#open.values()];
  }
}

function keyOf({ host, port }: Address): string {
  return `${host} ${String(port)}`;
}
