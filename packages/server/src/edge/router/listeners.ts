// The listeners that entries ask for: published TCP ports and the stable loopback ports for siblings. They follow the entries; one that cannot be opened is reported and tried again, never fatal.
import { createServer, type Server } from "node:net";
import type { Ref } from "../../engines/engine.ts";
import type { ListenerProblem } from "../ipc.ts";
import type { Component, PortTarget } from "./component.ts";
import type { RouterContext } from "./context.ts";
import { createHttpServer, listen, stopAccepting } from "./server.ts";
import type { SocketSource } from "./sockets.ts";
import { refKey } from "./table.ts";
import { handleConnection } from "./tcp.ts";

/** `sibling`: the loopback port, where only programs of this machine come. */
interface Wanted {
  readonly host: string;
  readonly port: number;
  readonly target: PortTarget;
  readonly sibling: boolean;
}
interface Listener extends Wanted {
  readonly server: Server;
  problem: string | undefined;
}

export interface ListenersDeps {
  readonly sockets: SocketSource;
  readonly ctx: RouterContext;
  readonly publicHost: string;
  readonly report: (problems: ListenerProblem[]) => void;
}

export class Listeners {
  readonly #deps: ListenersDeps;
  readonly #listeners = new Map<string, Listener>();
  /** Changes run one after the other: a port is closed before it is opened for somebody else. */
  #last: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(deps: ListenersDeps) {
    this.#deps = deps;
  }

  /** Opens and closes what a component's entry changed; resolves when that is done and problems are reported. `component` undefined: it is gone. */
  follow(ref: Ref, component: Component | undefined): Promise<void> {
    return this.#serially(async () => {
      if (this.#stopped) return;
      const wanted = new Map<string, Wanted>();
      for (const target of component?.ports.values() ?? []) for (const want of this.#wanted(target)) wanted.set(address(want), want);
      for (const [key, listener] of this.#listeners) {
        if (refKey(listener.target.component.ref) !== refKey(ref)) continue;
        const same = wanted.get(key);
        if (same?.target === listener.target && same.sibling === listener.sibling && protocolOf(listener) === same.target.spec.protocol)
          wanted.delete(key);
        else await this.#close(key, listener);
      }
      for (const [key, want] of wanted) await this.#open(key, want);
      this.#report();
    });
  }

  /** Tries again what failed. */
  retry(): Promise<void> {
    return this.#serially(async () => {
      if (this.#stopped) return;
      const before = this.#problems().length;
      // A copy: what fails again is put back, and would be met again for ever.
      for (const [key, listener] of [...this.#listeners]) {
        if (listener.problem === undefined) continue;
        this.#listeners.delete(key);
        await this.#open(address(listener), listener);
      }
      if (this.#problems().length !== before) this.#report();
    });
  }

  /** Neither opens nor closes anything from now on: there is no primary to ask, and the next one has routers of its own. */
  freeze(): void {
    this.#stopped = true;
  }

  /** Accepts nothing new; resolves when every connection is closed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#last;
    await Promise.all([...this.#listeners.values()].map((listener) => stopAccepting(listener.server)));
  }

  #serially(work: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(work);
    return this.#last;
  }

  #wanted(target: PortTarget): Wanted[] {
    const { spec } = target;
    const list: Wanted[] = [{ host: "127.0.0.1", port: spec.internal, target, sibling: true }];
    if (spec.inside !== undefined) list.push({ ...spec.inside, target, sibling: true });
    if (spec.published !== undefined) list.push({ host: this.#deps.publicHost, port: spec.published, target, sibling: false });
    return list;
  }

  async #open(key: string, wanted: Wanted): Promise<void> {
    if (this.#stopped) return;
    const holder = this.#listeners.get(key);
    if (holder !== undefined) {
      // Somebody else's: the first one keeps it. It is listed under a key of its own, to be tried again.
      this.#listeners.set(`${key} ${refKey(wanted.target.component.ref)} ${wanted.target.name}`, {
        ...wanted,
        server: createServer(),
        problem: "EADDRINUSE",
      });
      return;
    }
    const { ctx, sockets } = this.#deps;
    const server =
      wanted.target.spec.protocol === "http"
        ? createHttpServer(ctx, wanted)
        : createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
            if (wanted.sibling || ctx.doorkeeper?.admit(socket, "tcp") !== false) void handleConnection(ctx, wanted.target, socket);
          });
    const problem = await listen(sockets, server, wanted.host, wanted.port);
    this.#listeners.set(address(wanted), { ...wanted, server, problem });
  }

  async #close(key: string, listener: Listener): Promise<void> {
    this.#listeners.delete(key);
    if (!listener.server.listening) return;
    // The handle is closed at once; connections may live on, so their end is not waited for.
    void stopAccepting(listener.server);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    this.#deps.sockets.giveBack(listener.host, listener.port);
  }

  #problems(): ListenerProblem[] {
    return [...this.#listeners.values()].flatMap(({ problem, host, port, target }) => {
      if (problem === undefined) return [];
      const { inside, internal } = target.spec;
      // Containers come to the address of their network, and programs of the machine alone to the loopback then.
      const needed = inside ?? { host: "127.0.0.1", port: internal };
      return [{ ref: target.component.ref, host, port, code: problem, siblings: host === needed.host && port === needed.port }];
    });
  }

  #report(): void {
    this.#deps.report(this.#problems());
  }
}

function address(wanted: Wanted): string {
  return `${wanted.host}:${String(wanted.port)}`;
}

function protocolOf(listener: Listener): "http" | "tcp" {
  return "keepAliveTimeout" in listener.server ? "http" : "tcp";
}
