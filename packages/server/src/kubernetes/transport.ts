// Connections to one API server: how they are secured, how many there are, and what proves who we are. Knows bytes and headers, nothing of objects, and tries nothing twice.
import { Pool, type Dispatcher } from "undici";
import { WebSocket, type ClientOptions } from "ws";
import type { ClusterAccess } from "../core/kubeconfig.ts";
import { KubeError, KubeProtocolError, KubeTimeout, KubeUnreachable, statusIn, unreachable } from "./errors.ts";

export interface Send {
  readonly method: Dispatcher.HttpMethod;
  /** With its query, without the server's own path. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

/** The bearer token to send now; may read it anew each time. */
export type TokenSource = () => Promise<string>;

const connectTimeout = 10_000;
/** Calls that are under way at once; more of them wait. */
const callConnections = 16;
/** A watch, followed logs: each has a connection for itself. */
const streamConnections = 256;
const maxErrorBytes = 64 * 1024;
/** Of one message; kubelets send at most some tens of KiB. */
const maxMessageBytes = 16 * 1024 * 1024;

export class Transport {
  readonly server: string;
  readonly #access: ClusterAccess;
  readonly #token: TokenSource | undefined;
  readonly #origin: string;
  readonly #prefix: string;
  readonly #calls: Pool;
  readonly #streams: Pool;

  constructor(access: ClusterAccess, token?: TokenSource) {
    this.server = access.server;
    this.#access = access;
    this.#token = token;
    const url = new URL(access.server);
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/+$/, "");
    // Limits in time are the callers' signals: a watch is silent for minutes, and that is no failure.
    const common = {
      connect: { ...tlsOf(access), timeout: connectTimeout },
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 30_000,
    };
    this.#calls = new Pool(this.#origin, { ...common, connections: callConnections });
    this.#streams = new Pool(this.#origin, { ...common, connections: streamConnections });
  }

  /** The answer once it begins. `pool`: streams never keep a call waiting. Throws KubeUnreachable, or the signal's reason. */
  async send({ method, path, headers, body, signal }: Send, pool: "calls" | "streams"): Promise<Dispatcher.ResponseData> {
    const over = pool === "calls" ? this.#calls : this.#streams;
    try {
      return await over.request({
        method,
        path: this.#prefix + path,
        headers: { ...headers, ...(await this.#credentials()) },
        signal,
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      signal.throwIfAborted();
      throw unreachable(this.server, error);
    }
  }

  /** A WebSocket that is open, in one of the protocols; paused until the caller reads. Throws KubeError, KubeUnreachable, KubeProtocolError, or the signal's reason. */
  async webSocket(path: string, protocols: readonly string[], signal: AbortSignal, timeout: number): Promise<WebSocket> {
    signal.throwIfAborted();
    const options: ClientOptions = {
      ...tlsOf(this.#access),
      headers: { "user-agent": "berth", ...(await this.#credentials()) },
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: maxMessageBytes,
      handshakeTimeout: timeout,
    };
    const socket = new WebSocket(this.#origin.replace(/^http/, "ws") + this.#prefix + path, [...protocols], options);
    const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
    const abort = (): void => {
      reject(signal.reason as Error);
      socket.terminate();
    };
    signal.addEventListener("abort", abort, { once: true });
    socket.on("error", (error) => reject(this.#handshakeFailure(error)));
    socket.on("open", () => {
      // Before anything is read: messages wait for whoever gets this socket.
      socket.pause();
      resolve(socket);
    });
    socket.on("unexpected-response", (request, answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      answer.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length <= maxErrorBytes) chunks.push(chunk);
      });
      answer.on("close", () => {
        request.destroy();
        const status = answer.statusCode ?? 0;
        reject(
          status === 401
            ? new KubeUnreachable(this.server, "unauthorized")
            : new KubeError(status, statusIn(Buffer.concat(chunks).toString())),
        );
      });
    });
    try {
      return await promise;
    } catch (error) {
      socket.terminate();
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Ends what is under way and the connections that wait for a next call. */
  async close(): Promise<void> {
    await Promise.all([this.#calls.destroy(), this.#streams.destroy()]);
  }

  async #credentials(): Promise<Record<string, string>> {
    const { auth } = this.#access;
    if (auth.kind !== "token") return {};
    return { authorization: `Bearer ${this.#token === undefined ? auth.token : await this.#token()}` };
  }

  #handshakeFailure(error: Error): Error {
    if (/handshake has timed out/.test(error.message)) return unreachable(this.server, new KubeTimeout("no WebSocket was opened"));
    if (/subprotocol/i.test(error.message))
      return new KubeProtocolError(`${this.server} does not speak the wanted protocol over WebSocket: Kubernetes 1.30 or newer does`, {
        cause: error,
      });
    return unreachable(this.server, error);
  }
}

function tlsOf({ ca, serverName, auth, insecure }: ClusterAccess): {
  ca?: string;
  servername?: string;
  cert?: string;
  key?: string;
  rejectUnauthorized?: boolean;
} {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(auth.kind === "certificate" ? { cert: auth.cert, key: auth.key } : {}),
    ...(insecure === true ? { rejectUnauthorized: false } : {}),
  };
}
