// The edge's listening sockets: bound here, accepted from in the routers, and handed on whole to the primary after this one, so that nobody is ever refused
// while routers or primaries change. Nothing here ever accepts.
import { lookup } from "node:dns/promises";
import net, { isIP } from "node:net";
import { getSystemErrorName } from "node:util";

/** Node's own handle of a bound TCP socket. It can be sent to a child and listened on there (`server.listen(handle)`). */
export interface SocketHandle {
  readonly fd: number;
  close(): void;
  getsockname(out: { port?: number }): number;
}
export interface Address {
  readonly host: string;
  readonly port: number;
}
export interface BoundSocket extends Address {
  readonly handle: SocketHandle;
}

/** What node:cluster itself binds with: a socket that is bound and does not listen, so that this process never accepts from it. The Node.js that comes with Berth has it, and a test holds it. */
type Bind = (address: string | null, port: number, addressType: 4 | 6, fd?: number) => SocketHandle | number;
const bind = (net as unknown as { readonly _createServerHandle: Bind })._createServerHandle;

export class Sockets {
  readonly #bound = new Map<string, BoundSocket & { readonly users: Set<object> }>();

  /** Takes over a socket that this process was started with. */
  inherit({ host, port }: Address, fd: number): void {
    const handle = bind(null, 0, 4, fd);
    if (typeof handle !== "number") this.#bound.set(keyOf({ host, port }), { host, port, handle, users: new Set() });
  }

  has(address: Address): boolean {
    return this.#bound.has(keyOf(address));
  }

  /** The socket of this address, bound when it is not yet; `code` when it cannot be. */
  async open(address: Address, user: object): Promise<{ readonly handle: SocketHandle } | { readonly code: string }> {
    const { host, port } = address;
    const ip = isIP(host) === 0 ? (await lookup(host).catch(() => undefined))?.address : host;
    if (ip === undefined) return { code: "ENOTFOUND" };
    // No wait from here on: two routers that ask at once get the same socket.
    const known = this.#bound.get(keyOf(address));
    if (known !== undefined) {
      known.users.add(user);
      return { handle: known.handle };
    }
    const handle = bind(ip, port, isIP(ip) === 6 ? 6 : 4);
    if (typeof handle === "number") return { code: getSystemErrorName(handle) };
    // libuv keeps quiet about a port that is taken until somebody listens, and then it would be another port.
    const name: { port?: number } = {};
    if (handle.getsockname(name) !== 0 || name.port !== port) {
      handle.close();
      return { code: "EADDRINUSE" };
    }
    this.#bound.set(keyOf(address), { host, port, handle, users: new Set([user]) });
    return { handle };
  }

  /** This router wants it no more. The last one closes it. */
  release(address: Address, user: object): void {
    const known = this.#bound.get(keyOf(address));
    if (known?.users.delete(user) === true && known.users.size === 0) this.#close(known);
  }

  /** A router ended: its sockets wait for its successor. */
  forget(user: object): void {
    for (const { users } of this.#bound.values()) users.delete(user);
  }

  /** Closes what no router uses. Only when all of them have opened what they want. */
  closeUnused(): void {
    for (const bound of [...this.#bound.values()]) if (bound.users.size === 0) this.#close(bound);
  }

  all(): BoundSocket[] {
    return [...this.#bound.values()].map(({ host, port, handle }) => ({ host, port, handle }));
  }

  #close(bound: BoundSocket): void {
    this.#bound.delete(keyOf(bound));
    bound.handle.close();
  }
}

function keyOf({ host, port }: Address): string {
  return `${host} ${String(port)}`;
}
