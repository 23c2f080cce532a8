// Calls to a Docker daemon, or to podman's compatible service: over a unix socket or TCP, with or without TLS. Knows paths, bodies and failures, and
// nothing of containers or images. Tries nothing twice, but for a question on a connection that the daemon had already given up.
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { PassThrough, Readable, type Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { formatEndpoint, type DockerEndpoint } from "./endpoint.ts";
import { DockerError, DockerStreamError, DockerTimeout, DockerUnreachable } from "./errors.ts";

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface CallOptions {
  /** A list becomes one `name=value` for each; undefined is left out. */
  readonly query?: Query | undefined;
  /** Bytes are sent as `application/x-tar` unless a header says otherwise, anything else as JSON. A stream is read once and destroyed at the end. */
  readonly body?: Readable | Buffer | object | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Ends the call, and the stream that came of it, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** ms until the whole answer is there for `json`, until it begins for `stream`. 60 s unless told; Infinity for calls that wait: podman begins to answer for followed logs with the first line. */
  readonly timeout?: number | undefined;
}

export type Method = "GET" | "HEAD" | "POST" | "PUT" | "DELETE";

/** The newest version whose answers were read when this was written. A daemon that speaks less is asked in its own. */
const newestVersion = "1.44";
const defaultTimeout = 60_000;
const connectTimeout = 10_000;
/** How long a connection is kept for the next call, ms. */
const keptFor = 5_000;
const maxErrorBytes = 64 * 1024;
const maxJsonBytes = 64 * 1024 * 1024;

interface Sent {
  readonly method: Method;
  /** With its version and query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Readable | Buffer | undefined;
  readonly signal: AbortSignal | undefined;
  readonly upgrade?: boolean;
}

/** What began to come back: the answer, or after an upgrade the connection itself. */
interface Begun {
  readonly answer: IncomingMessage;
  readonly connection?: Duplex;
}

export class DockerApi {
  /** As in `unix:///var/run/docker.sock`; for messages. */
  readonly name: string;
  readonly #endpoint: DockerEndpoint;
  readonly #agent: HttpAgent;
  #version: Promise<string> | undefined;

  constructor(endpoint: DockerEndpoint) {
    this.#endpoint = endpoint;
    this.name = formatEndpoint(endpoint);
    // `timeout` here is for connections that wait for a next call; a call's own limit is its signal.
    const kept = { keepAlive: true, timeout: keptFor };
    this.#agent =
      endpoint.type === "tcp" && endpoint.tls !== undefined
        ? new HttpsAgent({ ...kept, ca: endpoint.tls.ca, cert: endpoint.tls.cert, key: endpoint.tls.key })
        : new HttpAgent(kept);
  }

  /** The version that calls are made in, such as `1.41`: the daemon's, but at most 1.44. The daemon is asked once. */
  async version(signal?: AbortSignal): Promise<string> {
    // Shared by all callers, so that no single one's signal ends it.
    this.#version ??= this.#negotiate().catch((error: unknown) => {
      this.#version = undefined;
      throw error;
    });
    return untilAborted(this.#version, signal);
  }

  /** The parsed answer, which is the daemon's word: `T` is a claim of the caller. undefined for an empty one. Throws DockerError, DockerUnreachable, or the signal's reason. */
  async json<T>(method: Method, path: string, options: CallOptions = {}): Promise<T> {
    const { signal, timer } = limited(this.name, options);
    try {
      const answer = await this.#call(method, path, { ...options, signal });
      const text = await this.#text(answer, maxJsonBytes, signal);
      if (text.trim() === "") return undefined as T;
      try {
        return JSON.parse(text) as T;
      } catch (error) {
        throw new DockerStreamError(`${method} ${path} gave no JSON: ${text.slice(0, 200)}`, { cause: error });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** The answer's body as it comes, once its status is known to be good. The caller reads or destroys it. A connection that breaks meanwhile ends it with DockerUnreachable. */
  async stream(method: Method, path: string, options: CallOptions = {}): Promise<Readable> {
    const { signal, timer } = limited(this.name, options);
    try {
      const answer = await this.#call(method, path, { ...options, signal });
      return this.#guard(answer, options.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes over the connection, for attach and exec: what is written is the input, ending it closes the input, what is read is output (framed unless there is a terminal). The caller destroys it. */
  async hijack(path: string, body: object | undefined, signal: AbortSignal, query?: Query): Promise<Duplex> {
    const limit = limited(this.name, { signal });
    try {
      const sent = await this.#sent("POST", path, { body: body ?? {}, query, signal: limit.signal });
      const { answer, connection } = await this.#begin({ ...sent, upgrade: true });
      if (connection === undefined) {
        await this.#refuse(answer, limit.signal);
        throw new DockerStreamError(`POST ${path} did not hand over the connection: status ${String(answer.statusCode)}`);
      }
      // It may break before whoever asked for it reads it.
      connection.on("error", () => undefined);
      return owned(connection, signal);
    } finally {
      clearTimeout(limit.timer);
    }
  }

  /** Ends the connections that wait for a next call. Streams belong to their callers. */
  close(): void {
    this.#agent.destroy();
  }

  async #negotiate(): Promise<string> {
    const timer = limited(this.name, { timeout: connectTimeout });
    try {
      const { answer } = await this.#begin({ method: "GET", path: "/version", headers: {}, body: undefined, signal: timer.signal });
      await this.#refuse(answer, timer.signal);
      const said = JSON.parse(await this.#text(answer, maxErrorBytes, timer.signal)) as { ApiVersion?: unknown; MinAPIVersion?: unknown };
      if (typeof said.ApiVersion !== "string" || !/^\d+\.\d+$/.test(said.ApiVersion))
        throw new DockerStreamError(`${this.name} does not speak the Docker Engine API`);
      if (typeof said.MinAPIVersion === "string" && compare(said.MinAPIVersion, newestVersion) > 0)
        throw new DockerStreamError(`${this.name} speaks versions from ${said.MinAPIVersion} on; Berth speaks ${newestVersion}`);
      return compare(said.ApiVersion, newestVersion) < 0 ? said.ApiVersion : newestVersion;
    } catch (error) {
      if (error instanceof SyntaxError) throw new DockerStreamError(`${this.name} does not speak the Docker Engine API`, { cause: error });
      throw error;
    } finally {
      clearTimeout(timer.timer);
    }
  }

  /** A good answer, its body still to be read. */
  async #call(method: Method, path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body } = options;
    try {
      const sent = await this.#sent(method, path, options);
      const { answer } = await this.#begin(sent);
      await this.#refuse(answer, options.signal);
      return answer;
    } catch (error) {
      if (body instanceof Readable) body.destroy();
      // A daemon of another version may stand there now.
      if (error instanceof DockerError && error.status === 400 && /client version .* is too (new|old)/.test(error.message))
        this.#version = undefined;
      throw error;
    }
  }

  async #sent(method: Method, path: string, { query, body, headers, signal }: CallOptions): Promise<Sent> {
    const prefixed = `/v${await this.version(signal)}${path}${formatQuery(query)}`;
    if (body === undefined) return { method, path: prefixed, headers: { ...headers }, body: undefined, signal };
    const isBytes = body instanceof Readable || Buffer.isBuffer(body);
    const bytes = isBytes ? body : Buffer.from(JSON.stringify(body));
    return {
      method,
      path: prefixed,
      headers: {
        "content-type": isBytes ? "application/x-tar" : "application/json",
        ...(Buffer.isBuffer(bytes) ? { "content-length": bytes.length } : {}),
        ...headers,
      },
      body: bytes,
      signal,
    };
  }

  async #begin(sent: Sent): Promise<Begun> {
    for (;;) {
      sent.signal?.throwIfAborted();
      const request = this.#open(sent);
      try {
        return await this.#send(request, sent);
      } catch (error) {
        // The daemon closed a kept connection at the moment of its reuse: it has not seen the question.
        const broke = error instanceof DockerUnreachable && (error.code === "ECONNRESET" || error.code === "EPIPE");
        const again = broke && request.reusedSocket && sent.method === "GET";
        if (!again) throw error;
      }
    }
  }

  #open(sent: Sent): ClientRequest {
    const endpoint = this.#endpoint;
    const headers = { host: "docker", ...sent.headers, ...(sent.upgrade === true ? { connection: "Upgrade", upgrade: "tcp" } : {}) };
    const common = { method: sent.method, path: sent.path, headers, agent: this.#agent };
    if (endpoint.type === "unix") return httpRequest({ ...common, socketPath: endpoint.path });
    const where = { host: endpoint.host, port: endpoint.port };
    return endpoint.tls === undefined
      ? httpRequest({ ...common, ...where })
      : httpsRequest({ ...common, ...where, servername: serverName(endpoint.host) });
  }

  #send(request: ClientRequest, { body, signal }: Sent): Promise<Begun> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        request.destroy(signal?.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const settled = (): void => {
        signal?.removeEventListener("abort", abort);
        clearTimeout(connecting);
      };
      const connecting = setTimeout(() => request.destroy(new DockerTimeout("no connection within 10 s")), connectTimeout);
      request.once("socket", (socket) => {
        const ready = "encrypted" in socket ? "secureConnect" : "connect";
        if (!socket.connecting) clearTimeout(connecting);
        else socket.once(ready, () => clearTimeout(connecting));
      });
      // Stays: a connection may break after the answer began, and the answer's own error tells of it.
      request.on("error", (error) => {
        settled();
        reject(this.#failure(error, signal));
      });
      request.once("response", (answer) => {
        settled();
        resolve({ answer });
      });
      request.once("upgrade", (answer, connection, head) => {
        settled();
        if (head.length > 0) connection.unshift(head);
        resolve({ answer, connection });
      });
      if (!(body instanceof Readable)) {
        request.end(body);
        return;
      }
      // What the body failed of is what the call failed of; a connection that broke says so itself.
      body.once("error", (error) => {
        settled();
        reject(error);
      });
      pipeline(body, request).catch((error: unknown) => {
        request.destroy(error instanceof Error ? error : new Error(String(error)));
      });
    });
  }

  /** Throws the DockerError that the answer is, if it is one. */
  async #refuse(answer: IncomingMessage, signal: AbortSignal | undefined): Promise<void> {
    const status = answer.statusCode ?? 0;
    if (status === 101 || (status >= 200 && status < 300) || status === 304) return;
    const text = await this.#text(answer, maxErrorBytes, signal, "cut");
    throw new DockerError(status, messageIn(text) || answer.statusMessage || `status ${String(status)}`);
  }

  /** At most `bound` bytes; a longer body is an error, or is cut. */
  async #text(answer: IncomingMessage, bound: number, signal: AbortSignal | undefined, beyond: "cut" | "throw" = "throw"): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.#guard(answer, signal) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length <= bound) continue;
      if (beyond === "cut") break;
      throw new DockerStreamError(`${this.name} answered with more than ${String(bound)} bytes`);
    }
    return Buffer.concat(chunks).subarray(0, bound).toString();
  }

  /** The same bytes; ends with the signal's reason, or with DockerUnreachable when the connection breaks, and ends the connection when it is destroyed. */
  #guard(answer: IncomingMessage, signal: AbortSignal | undefined): Readable {
    const out = new PassThrough();
    answer.on("error", (error) => out.destroy(this.#failure(error, signal)));
    answer.on("close", () => {
      if (!answer.complete && !out.destroyed) out.destroy(this.#failure(new DockerStreamError("the answer was cut off"), signal));
    });
    out.on("close", () => {
      if (!answer.readableEnded) answer.destroy();
    });
    answer.pipe(out);
    return owned(out, signal);
  }

  #failure(error: unknown, signal: AbortSignal | undefined): Error {
    if (signal?.aborted === true) return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
    return new DockerUnreachable(this.name, error);
  }
}

/** The caller's signal with a limit in time. The timer has to be cleared. */
function limited(
  name: string,
  { signal, timeout = defaultTimeout }: CallOptions,
): { signal: AbortSignal | undefined; timer: NodeJS.Timeout | undefined } {
  if (timeout === Infinity) return { signal, timer: undefined };
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new DockerUnreachable(name, new DockerTimeout(`no answer within ${String(timeout / 1_000)} s`))),
    timeout,
  );
  return { signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]), timer };
}

/** The stream, destroyed with the signal's reason when that comes first. */
function owned<T extends Duplex>(stream: T, signal: AbortSignal | undefined): T {
  if (signal === undefined) return stream;
  const abort = (): void => {
    stream.destroy(signal.reason as Error);
  };
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  stream.once("close", () => {
    signal.removeEventListener("abort", abort);
  });
  return stream;
}

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    reject(signal.reason);
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function formatQuery(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const each of Array.isArray(value) ? (value as readonly string[]) : [String(value)]) parameters.append(name, each);
  }
  return parameters.size === 0 ? "" : `?${parameters.toString()}`;
}

/** Docker says `{"message"}`, podman adds a cause; a proxy in between says anything. */
function messageIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message.trim().slice(0, 2_000);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  return text.trim().slice(0, 2_000);
}

/** No name is sent for an address, RFC 6066 section 3; the certificate is checked against the address all the same. */
function serverName(host: string): string {
  return /^[\d.]+$|:/.test(host) ? "" : host;
}

/** Below zero when `a` is older. Both are `major.minor`. */
function compare(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split(".").map(Number);
  const [majorB = 0, minorB = 0] = b.split(".").map(Number);
  return majorA - majorB || minorA - minorB;
}
