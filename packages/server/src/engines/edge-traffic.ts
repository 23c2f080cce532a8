// The Traffic port over the edge's control socket. It only translates: every decision is the planner's, every fact is the edge's.
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Client, Pool, type buildConnector, type Dispatcher } from "undici";
import { errors, type ErrorCode } from "@berth/contract/errors.ts";
import { covers } from "../core/certificates.ts";
import { BerthError } from "../core/errors.ts";
import { edgeProtocol, protocolHeader, type Hello, type Program } from "../edge/ipc.ts";
import { loadProbeKey, probeHeader, releaseHeader, signProbe } from "../edge/probe-header.ts";
import { dialThrough } from "./dial.ts";
import type { Epoch, Fence, Ref } from "./engine.ts";
import type { Applied, GivenCertificate, HostProof, ProbeAnswer, Traffic, TrafficEntry } from "./traffic.ts";

/** Where users come in. */
export interface Doors {
  readonly router: { readonly host: string; readonly port: number };
  readonly https: Hello["https"];
}

/** ms that a probe's signed header is valid. */
const probeLife = 30_000;
/** ms for one call; applying waits for the disk and for every router. */
const callTimeout = 30_000;
/** ms for another program to take the edge's place: it may take as long as that one is given to come up. */
const upgradeTimeout = 90_000;

export interface EdgeTrafficDeps {
  /** `<run>/edge.sock` */
  readonly socketPath: string;
  /** Berth's home folder, where the key for probes lies. */
  readonly home: string;
  /** Named in `engine_unavailable`. */
  readonly cluster: string;
  /** Where the router is believed to be until the edge says so. */
  readonly router: { readonly host: string; readonly port: number };
  /** Unix ms. */
  readonly now: () => number;
  /** The socket through which the edge's doors are reached; absent: they are on this machine. */
  readonly dialSocket?: string;
}

export class EdgeTraffic implements Traffic {
  readonly #deps: EdgeTrafficDeps;
  readonly #pool: Pool;
  #router: { host: string; port: number };
  /** As the edge last said. */
  #https: Hello["https"];
  #probeKey: Promise<Buffer> | undefined;

  constructor(deps: EdgeTrafficDeps) {
    this.#deps = deps;
    this.#router = { ...deps.router };
    this.#pool = new Pool("http://edge", {
      socketPath: deps.socketPath,
      connections: 16,
      pipelining: 1,
      headersTimeout: callTimeout,
      bodyTimeout: callTimeout,
      keepAliveTimeout: 2_000,
    });
  }

  /** What the edge says of itself. Errors: `engine_unavailable` when it does not answer. */
  async hello(signal: AbortSignal): Promise<Hello> {
    const hello = (await this.#call("GET", "/v1/hello", undefined, signal)) as Hello;
    this.#https = hello.https?.problem === undefined ? hello.https : undefined;
    return hello;
  }

  /** As the edge last said to whoever asked it for itself. */
  get doors(): Doors {
    return { router: this.#router, https: this.#https };
  }

  /** For one that never asks the edge for itself, from another that does. */
  setDoors({ router, https }: Doors): void {
    this.#router = { ...router };
    this.#https = https;
  }

  async apply(entry: TrafficEntry, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#call("PUT", refPath("entries", entry.ref), { fence, entry }, signal);
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#call("DELETE", refPath("entries", ref), { fence }, signal);
  }

  async applied(ref: Ref, signal: AbortSignal): Promise<Applied> {
    return (await this.#call("GET", refPath("applied", ref), undefined, signal)) as Applied;
  }

  async list(signal: AbortSignal): Promise<readonly { readonly ref: Ref; readonly generation: number }[]> {
    const { entries } = (await this.#call("GET", "/v1/entries", undefined, signal)) as {
      entries: readonly { readonly ref: Ref; readonly generation: number }[];
    };
    return entries;
  }

  async readEntry(ref: Ref, signal: AbortSignal): Promise<TrafficEntry | undefined> {
    return ((await this.#call("GET", refPath("entries", ref), undefined, signal)) as { entry: TrafficEntry | null }).entry ?? undefined;
  }

  async setCertificates(certificates: readonly GivenCertificate[], fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#call("PUT", "/v1/certificates", { fence, certificates }, signal);
    await this.hello(signal);
  }

  async setProof(proof: HostProof, epoch: Epoch, signal: AbortSignal): Promise<void> {
    await this.#call("PUT", "/v1/proofs", { epoch, proof }, signal);
  }

  async removeProof(token: string, epoch: Epoch, signal: AbortSignal): Promise<void> {
    await this.#call("DELETE", "/v1/proofs", { epoch, token }, signal);
  }

  async raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void> {
    await this.#call("PUT", "/v1/epoch", epoch, signal);
  }

  /** Never throws for what the component does: a refused connection or a time-out is an answer with status 0 and `error`. */
  async probe(
    target: { readonly ref: Ref; readonly port: string; readonly host: string; readonly path: string; readonly releaseHash: string },
    signal: AbortSignal,
  ): Promise<ProbeAnswer> {
    this.#probeKey ??= loadProbeKey(this.#deps.home);
    const key = await this.#probeKey;
    const started = performance.now();
    const url = this.publicUrl(target.host, target.path);
    const header = signProbe(
      { stack: target.ref.stack, component: target.ref.component, releaseHash: target.releaseHash },
      this.#deps.now() + probeLife,
      key,
    );
    const { scheme, host, port } = this.#doorOf(target.host);
    // What is asked is whether this release answers here; whether clients trust the certificate is said elsewhere.
    const trust = { servername: target.host, rejectUnauthorized: false };
    const { dialSocket } = this.#deps;
    const client = new Client(`${scheme}://${dialable(host)}:${String(port)}`, {
      connect:
        dialSocket === undefined
          ? trust
          : connectThrough(dialSocket, { host: dialable(host), port }, scheme === "https" ? trust : undefined, signal),
    });
    try {
      const answer = await client.request({
        method: "GET",
        path: target.path,
        headers: { host: hostHeader(target.host, port, scheme), "user-agent": "berth-probe", accept: "*/*", [probeHeader]: header },
        signal,
      });
      await answer.body.dump({ limit: 262_144, signal });
      const releaseHash = answer.headers[releaseHeader];
      return {
        status: answer.statusCode,
        ...(typeof releaseHash === "string" ? { releaseHash } : {}),
        url,
        took: performance.now() - started,
      };
    } catch (error) {
      signal.throwIfAborted();
      return { status: 0, error: error instanceof Error ? error.message : String(error), url, took: performance.now() - started };
    } finally {
      await client.destroy();
    }
  }

  readonly publicUrl = (host: string, path: string): string => {
    const { scheme, port } = this.#doorOf(host);
    return `${scheme}://${hostHeader(host, port, scheme)}${path}`;
  };

  /** The door that users of this host go through. */
  #doorOf(host: string): { readonly scheme: "http" | "https"; readonly host: string; readonly port: number } {
    const https = this.#https;
    return https !== undefined && covers(https.hosts, host)
      ? { scheme: "https", host: https.host, port: https.port }
      : { scheme: "http", ...this.#router };
  }

  /** Prometheus text of the edge. */
  async metrics(signal: AbortSignal): Promise<string> {
    return (await this.#call("GET", "/metrics", undefined, signal)) as string;
  }

  /** Replaces every router without losing a connection. */
  async reload(signal: AbortSignal): Promise<void> {
    await this.#call("POST", "/v1/reload", undefined, signal);
  }

  /** Has this program take the edge's place, without a refused or broken connection. Resolves when it has; the edge of before goes on when it cannot. */
  async upgrade(program: Program, signal: AbortSignal): Promise<void> {
    await this.#call("POST", "/v1/upgrade", program, signal, upgradeTimeout);
  }

  /** Asks the edge to end in good order. */
  async shutdown(signal: AbortSignal): Promise<void> {
    await this.#call("POST", "/v1/shutdown", undefined, signal);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #call(method: Dispatcher.HttpMethod, path: string, body: unknown, signal: AbortSignal, timeout = callTimeout): Promise<unknown> {
    const { statusCode, headers, text } = await this.#exchange(method, path, body, signal, timeout);
    const router = headers["x-berth-router"];
    if (typeof router === "string") this.#remember(router);
    if (statusCode >= 400) throw this.#refusal(statusCode, text);
    if (text === "") return undefined;
    return String(headers["content-type"]).startsWith("application/json") ? (JSON.parse(text) as unknown) : text;
  }

  async #exchange(
    method: Dispatcher.HttpMethod,
    path: string,
    body: unknown,
    signal: AbortSignal,
    timeout: number,
    isSecond = false,
  ): Promise<{ statusCode: number; headers: Record<string, string | string[] | undefined>; text: string }> {
    try {
      const answer = await this.#pool.request({
        method,
        path,
        signal,
        headers: { [protocolHeader]: String(edgeProtocol), ...(body === undefined ? {} : { "content-type": "application/json" }) },
        body: body === undefined ? null : JSON.stringify(body),
        headersTimeout: timeout,
      });
      return { statusCode: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
    } catch (error) {
      signal.throwIfAborted();
      // A kept connection that the edge, or the one before it, was just closing: asking again on a new one changes nothing.
      if (method === "GET" && !isSecond && codeOf(error) === "UND_ERR_SOCKET")
        return this.#exchange(method, path, body, signal, timeout, true);
      throw new BerthError(
        "engine_unavailable",
        { cluster: this.#deps.cluster, reason: `the edge does not answer (${codeOf(error) ?? String(error)})` },
        { cause: error },
      );
    }
  }

  #remember(router: string): void {
    const colon = router.lastIndexOf(":");
    this.#router = { host: router.slice(0, colon), port: Number(router.slice(colon + 1)) };
  }

  #refusal(status: number, text: string): BerthError {
    const problem = readProblem(text);
    if (problem === undefined)
      return new BerthError("engine_unavailable", { cluster: this.#deps.cluster, reason: `the edge answered ${String(status)}` });
    return new BerthError(problem.code, problem.params);
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

function readProblem(text: string): { readonly code: ErrorCode; readonly params: Record<string, string | number | boolean> } | undefined {
  try {
    const value = JSON.parse(text) as { code?: unknown; params?: Record<string, string | number | boolean> };
    return typeof value.code === "string" && value.code in errors
      ? { code: value.code as ErrorCode, params: value.params ?? {} }
      : undefined;
  } catch {
    return undefined; // not the edge's own answer
  }
}

function refPath(noun: "entries" | "applied", ref: Ref): string {
  return `/v1/${noun}/${ref.stack}/${ref.component}`;
}

function hostHeader(host: string, port: number, scheme: "http" | "https"): string {
  return port === (scheme === "https" ? 443 : 80) ? host : `${host}:${String(port)}`;
}

/** A connector of undici's over a host's socket; with TLS over it when that is asked for. */
function connectThrough(
  socketPath: string,
  at: { readonly host: string; readonly port: number },
  trust: { readonly servername: string; readonly rejectUnauthorized: boolean } | undefined,
  signal: AbortSignal,
): buildConnector.connector {
  const open = async (): Promise<Socket> => {
    const socket = await dialThrough(socketPath, { host: at.host.replace(/^\[|\]$/g, ""), port: at.port }, signal);
    if (trust === undefined) return socket;
    const secure = connectTls({ ...trust, socket });
    try {
      await once(secure, "secureConnect", { signal });
      return secure;
    } catch (error) {
      // The far end may still say something of a handshake that nobody waits for.
      secure.on("error", () => undefined).destroy();
      socket.destroy();
      throw error;
    }
  };
  return (_options, callback) => {
    void settle(open(), callback);
  };
}

async function settle(opening: Promise<Socket>, callback: buildConnector.Callback): Promise<void> {
  let socket: Socket;
  try {
    socket = await opening;
  } catch (error) {
    callback(error instanceof Error ? error : new Error(String(error)), null);
    return;
  }
  callback(null, socket);
}

/** An address that listens everywhere is reached on the loopback. */
function dialable(host: string): string {
  if (host === "0.0.0.0" || host === "::" || host === "") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
