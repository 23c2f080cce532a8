// Stands between Berth and a real API server, and makes it slow, broken, silent or a liar, as a test wants. What passes is unchanged; what happens by chance comes from a seed.
import { createServer, request as ask, Agent, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterAccess } from "../../core/kubeconfig.ts";
import { testCertificate, type TestCertificate } from "../../edge/testing/certificates.ts";
import { json, refusal } from "./server.ts";

/** What goes wrong; everything that is left out goes well. Shares are of 0 to 1. */
export interface Misery {
  /** ms before each request is passed on. */
  readonly delay?: number;
  /** Answered with 429 and a Retry-After of one second, nothing done. */
  readonly busy?: number;
  /** Answered with 500, nothing done. */
  readonly broken?: number;
  /** Answered with 503 and no word of when to come again, nothing done. */
  readonly unavailable?: number;
  /** The connection ends in the middle of the answer: what was asked for is done. */
  readonly cut?: number;
  /** ms that a watch lives at most; each ends at a random instant before. */
  readonly watchLife?: number;
  /** Requests are taken and never answered, and watches tell nothing. */
  readonly silent?: boolean;
  /** Nobody is known: 401, as to an expired token or client certificate. */
  readonly stranger?: boolean;
}

export class BadDays implements AsyncDisposable {
  /** By chance or not, what each request met. */
  readonly met = { passed: 0, delayed: 0, busy: 0, broken: 0, unavailable: 0, cut: 0, watchesCut: 0, refused: 0 };
  /** Lists and watches that began, as in `watch pods`. */
  readonly begun = new Map<string, number>();
  #misery: Misery = {};
  #told = Promise.withResolvers<void>();
  #port = 0;
  readonly #server: Server;
  readonly #upstream: URL;
  readonly #agent: Agent;
  readonly #token = "token-of-a-bad-day";
  readonly #authority: TestCertificate;
  readonly #sockets = new Set<Duplex>();
  readonly #chance: () => number;

  private constructor(access: ClusterAccess, chance: () => number) {
    if (access.auth.kind !== "certificate") throw new Error("the real cluster is asked with a client certificate");
    const { cert, key } = access.auth;
    this.#upstream = new URL(access.server);
    this.#agent = new Agent({ keepAlive: true, cert, key, ...(access.ca === undefined ? {} : { ca: access.ca }) });
    this.#chance = chance;
    this.#authority = testCertificate({ subject: "authority of bad days", isAuthority: true });
    this.#server = createServer(this.#served(this.#authority));
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#take(request, response));
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => this.#upgrade(request, socket, head));
  }

  /** `access`: the real server's, with a client certificate. `chance`: 0 <= x < 1. */
  static async open(access: ClusterAccess, chance: () => number = Math.random): Promise<BadDays> {
    const made = new BadDays(access, chance);
    await made.#listen();
    return made;
  }

  /** How it is reached while it shows its first certificate; who comes so is an administrator. */
  get access(): ClusterAccess {
    return { server: this.#url, ca: this.#authority.certificate, auth: { kind: "token", token: this.#token } };
  }

  /** The same for `berth clusters add`; `change`: of what it says. */
  kubeconfig({ token = this.#token, ca = this.#authority.certificate }: { readonly token?: string; readonly ca?: string } = {}): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "bad",
      clusters: [{ name: "bad", cluster: { server: this.#url, "certificate-authority-data": Buffer.from(ca).toString("base64") } }],
      users: [{ name: "bad", user: { token } }],
      contexts: [{ name: "bad", context: { cluster: "bad", user: "bad" } }],
    });
  }

  /** From now on, in place of what was wrong before. */
  become(misery: Misery = {}): void {
    this.#misery = misery;
    this.#told.resolve();
    this.#told = Promise.withResolvers();
  }

  /** Nobody listens, and whoever is connected is not any more. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cutAll();
    await closed;
  }

  /** Listens again, where it did. */
  up(): Promise<void> {
    return this.#listen();
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Shows another certificate from now on; `other`: of an authority that nobody has heard of. Its text is what a kubeconfig has to have then. */
  show(what: "own" | "expired" | "other"): string {
    const authority = what === "other" ? testCertificate({ subject: "another authority", isAuthority: true }) : this.#authority;
    const day = 86_400_000;
    const expired = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
    this.#server.setSecureContext(this.#served(authority, what === "expired" ? expired : {}));
    this.cutAll();
    return authority.certificate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.become();
    if (this.#server.listening) await this.down();
    this.#agent.destroy();
  }

  get #url(): string {
    return `https://localhost:${String(this.#port)}`;
  }

  #served(issuer: TestCertificate, more: { readonly notBefore?: Date; readonly notAfter?: Date } = {}): { cert: string; key: string } {
    const { certificate, key } = testCertificate({ hosts: ["localhost"], issuer, ...more });
    return { cert: certificate, key };
  }

  async #listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject).listen(this.#port, "localhost", resolve);
    await promise;
    this.#server.off("error", reject);
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Resolves when it is not silent any more. */
  async #spoken(): Promise<void> {
    while (this.#misery.silent === true) await this.#told.promise;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { delay = 0, stranger = false } = this.#misery;
    await this.#spoken();
    if (delay > 0) {
      this.met.delayed += 1;
      await sleep(delay);
    }
    if (stranger || request.headers.authorization !== `Bearer ${this.#token}`) {
      this.met.refused += 1;
      return json(response, 401, refusal(401, "Unauthorized"));
    }
    const lot = this.#lot();
    switch (lot) {
      case "busy":
        return json(response, 429, refusal(429, "TooManyRequests"), { "retry-after": "1" });
      case "broken":
        return json(response, 500, refusal(500, "InternalError"));
      case "unavailable":
        return json(response, 503, refusal(503, "ServiceUnavailable"));
      default:
        return this.#pass(request, response, lot === "cut");
    }
  }

  /** Of the things that may happen to a request, the one that does. */
  #lot(): "busy" | "broken" | "unavailable" | "cut" | "passed" {
    let left = this.#chance();
    for (const name of ["busy", "broken", "unavailable", "cut"] as const) {
      left -= this.#misery[name] ?? 0;
      if (left >= 0) continue;
      this.met[name] += 1;
      return name;
    }
    this.met.passed += 1;
    return "passed";
  }

  #pass(request: IncomingMessage, response: ServerResponse, cut: boolean): void {
    const { url = "/", method = "GET" } = request;
    const isWatch = /[?&]watch=true/.test(url);
    if (method === "GET" && (isWatch || url.includes("limit="))) {
      const kind = `${isWatch ? "watch" : "list"} ${/([^/?]+)(?:\?|$)/.exec(url)?.[1] ?? ""}`;
      this.begun.set(kind, (this.begun.get(kind) ?? 0) + 1);
    }
    const passed = ask(
      { host: this.#upstream.hostname, port: this.#upstream.port, path: url, method, headers: this.#headers(request), agent: this.#agent },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        if (isWatch && this.#misery.watchLife !== undefined) this.#limit(response, this.#misery.watchLife);
        answer.on("data", (chunk: Buffer) => void this.#hand(answer, response, chunk, cut && !isWatch));
        answer.on("end", () => void this.#spoken().then(() => response.end()));
        answer.on("error", () => response.destroy());
      },
    );
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.on("error", () => passed.destroy());
    request.pipe(passed);
  }

  /** In order: what comes meanwhile waits in the answer. */
  async #hand(answer: IncomingMessage, response: ServerResponse, chunk: Buffer, cut: boolean): Promise<void> {
    if (cut) {
      response.write(chunk.subarray(0, chunk.length / 2));
      response.socket?.destroySoon();
      answer.destroy();
      return;
    }
    if (this.#misery.silent !== true) {
      response.write(chunk);
      return;
    }
    answer.pause();
    await this.#spoken();
    response.write(chunk);
    answer.resume();
  }

  #limit(response: ServerResponse, life: number): void {
    const timer = setTimeout(() => {
      this.met.watchesCut += 1;
      response.destroy();
    }, this.#chance() * life);
    response.once("close", () => clearTimeout(timer));
  }

  #headers({ headers }: IncomingMessage): IncomingMessage["headers"] {
    const { authorization: _own, host: _host, ...rest } = headers;
    return rest;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { hostname: host, port } = this.#upstream;
    const passed = ask({ host, port, path: request.url, method: "GET", headers: this.#headers(request), agent: this.#agent });
    const end = (): void => {
      socket.destroy();
      passed.destroy();
    };
    socket.on("error", end);
    passed.on("error", end);
    passed.on("response", (answer) => {
      // A refusal: its status is what whoever asked needs.
      socket.end(`HTTP/1.1 ${String(answer.statusCode)} ${answer.statusMessage ?? ""}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      answer.resume();
    });
    passed.on("upgrade", (answer, other, first) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`);
      socket.write(first);
      other.write(head);
      other.on("error", end);
      other.on("close", () => socket.destroy());
      socket.on("close", () => other.destroy());
      socket.pipe(other).pipe(socket);
    });
    passed.end();
  }
}
