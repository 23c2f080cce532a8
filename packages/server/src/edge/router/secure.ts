// The HTTPS listener of a router: open while there is a certificate, on the address that the primary chose, with the certificates of the moment.
import type { Server as HttpsServer } from "node:https";
import type { IncomingMessage } from "node:http";
import type { TlsOrders } from "../ipc.ts";
import type { Address } from "../primary/sockets.ts";
import { secureContextOptions } from "./certificates.ts";
import type { RouterContext } from "./context.ts";
import type { EdgeResponse } from "./response.ts";
import { createHttpsServer, listen, stopAccepting } from "./server.ts";
import type { SocketSource } from "./sockets.ts";

export interface SecureDeps {
  readonly ctx: RouterContext;
  readonly sockets: SocketSource;
  /** Why it is not open; undefined: it is, or nobody wants it. */
  readonly report: (problem: string | undefined) => void;
}

export class SecureListener {
  readonly #deps: SecureDeps;
  #server: HttpsServer<typeof IncomingMessage, typeof EdgeResponse> | undefined;
  #open: Address | undefined;
  #wanted: Address | undefined;
  #problem: string | undefined;
  #stopped = false;
  /** Servers of before, whose connections live on. */
  readonly #leaving = new Map<HttpsServer<typeof IncomingMessage, typeof EdgeResponse>, Promise<void>>();

  constructor(deps: SecureDeps) {
    this.#deps = deps;
  }

  /** In force for every connection that is accepted after it resolved. */
  async obey({ address, certificates }: TlsOrders): Promise<void> {
    const { ctx } = this.#deps;
    ctx.certificates.replace(certificates);
    this.#wanted = certificates.length === 0 ? undefined : address;
    await this.#follow();
    const { standard } = ctx.certificates;
    if (standard !== undefined) this.#server?.setSecureContext(secureContextOptions(standard));
  }

  /** Tries again what failed. */
  async retry(): Promise<void> {
    if (this.#problem !== undefined) await this.#follow();
  }

  freeze(): void {
    this.#stopped = true;
  }

  closeAllConnections(): void {
    this.#server?.closeAllConnections();
    for (const server of this.#leaving.keys()) server.closeAllConnections();
  }

  /** Accepts nothing new; resolves when every connection is closed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#server !== undefined) this.#leave(this.#server);
    await Promise.all(this.#leaving.values());
  }

  async #follow(): Promise<void> {
    if (this.#stopped) return;
    const { ctx, sockets, report } = this.#deps;
    const wanted = this.#wanted;
    const open = this.#open;
    if (open !== undefined && (wanted?.host !== open.host || wanted.port !== open.port)) {
      if (this.#server !== undefined) this.#leave(this.#server);
      this.#server = undefined;
      this.#open = undefined;
      ctx.securePort = 0;
      // The handle is closed in this turn of the loop.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      sockets.giveBack(open.host, open.port);
    }
    const before = this.#problem;
    this.#problem = undefined;
    if (wanted !== undefined && this.#server === undefined) {
      const server = createHttpsServer(ctx);
      this.#problem = await listen(sockets, server, wanted.host, wanted.port);
      if (this.#problem === undefined) {
        this.#server = server;
        this.#open = wanted;
        ctx.securePort = wanted.port;
      }
    }
    if (this.#problem !== before) report(this.#problem);
  }

  #leave(server: HttpsServer<typeof IncomingMessage, typeof EdgeResponse>): void {
    this.#leaving.set(
      server,
      stopAccepting(server).then(() => {
        this.#leaving.delete(server);
      }),
    );
  }
}
