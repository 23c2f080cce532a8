// Calls to a Kubernetes API: one object at a time, and streams. Knows paths, bodies and failures, and nothing of what Berth makes of the objects. A token or a key is
// part of a message. Only what may be asked twice is: questions and applies, when the server is in trouble for a moment or a connection broke; anything, when it says that it did nothing (429).
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Dispatcher } from "undici";
import type { WebSocket } from "ws";
import type { ClusterAccess } from "../core/kubeconfig.ts";
import { formatQuery, limited, parse, retryAfterOf, waitAfter, type Call, type Limit, type Query } from "./call.ts";
import { ignoring, KubeError, KubeProtocolError, KubeUnreachable, statusIn, unreachable } from "./errors.ts";
import { answerInsteadOf } from "./forbidden.ts";
import type { KubeObject, ObjectMeta } from "./objects.ts";
import { isKind, pathOf, type Kind } from "./paths.ts";
import { Transport, type TokenSource } from "./transport.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface RequestOptions extends Call {
  /** A list becomes one `name=value` for each; undefined is left out. */
  readonly query?: Query | undefined;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of the body; `application/json` unless told. */
  readonly type?: string | undefined;
}

export interface Write extends Call {
  /** Everything is checked and nothing is stored. */
  readonly dryRun?: boolean | undefined;
}

interface Strict {
  /** A field that the kind does not have is an error (400), and not left out with a warning that nobody reads. */
  readonly strict?: boolean | undefined;
}

export interface Apply extends Write {
  /** Takes over the fields that others own, instead of failing with their conflicts. */
  readonly force?: boolean | undefined;
}

export interface Delete extends Write {
  /** Whole seconds for a pod to end; absent: its own. */
  readonly grace?: number | undefined;
  readonly propagation?: "Foreground" | "Background" | "Orphan" | undefined;
  /** Only the object that has these; another one is refused with a 409. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

export interface Ref {
  readonly kind: Kind;
  /** Absent for kinds without. */
  readonly namespace?: string | undefined;
  readonly name: string;
  /** As in `scale`, `status`, `eviction`. */
  readonly subresource?: string | undefined;
}

interface Named {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** What is sent: an object whose kind Berth knows, with whatever else belongs to it. */
export type Sendable = Named | (Named & Readonly<Record<string, unknown>>);

/** One operation of RFC 6902. */
export type JsonPatch =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string }
  | { readonly op: "move" | "copy"; readonly from: string; readonly path: string };

/** As what Berth's fields are marked, and how a conflict names it. */
export const fieldManager = "berth";
const applyType = "application/apply-patch+yaml";
const longAnswer = 256 * 1024;
const maxAnswerBytes = 64 * 1024 * 1024;
const maxErrorBytes = 64 * 1024;

export class KubeApi {
  /** The server's address; for messages. */
  readonly name: string;
  readonly #transport: Transport;

  /** `token`: asked for each call, for an access whose token changes. */
  constructor(access: ClusterAccess, { token }: { readonly token?: TokenSource | undefined } = {}) {
    this.name = access.server;
    this.#transport = new Transport(access, token);
  }

  /** The parsed answer, which is the server's word: `T` is a claim of the caller. undefined for an empty one. Throws KubeError, KubeUnreachable, KubeProtocolError, or the signal's reason. */
  async request<T>(method: Method, path: string, options: RequestOptions = {}): Promise<T> {
    const limit = limited(this.name, options);
    try {
      const text = await this.#patiently(method, path, options, limit).catch((error: unknown) =>
        answerInsteadOf(error, { method, path }, (name) => this.find({ kind: "Namespace", name }, { signal: limit.signal })),
      );
      return parse<T>(text, `${method} ${path}`);
    } finally {
      limit.clear();
    }
  }

  /** Errors: as of `request`; KubeError with 404 when it is not there. */
  get<T = KubeObject>(ref: Ref, call: Call = {}): Promise<T> {
    return this.request<T>("GET", pathOfRef(ref), call);
  }

  /** As `get`; undefined when it is not there. */
  find<T = KubeObject>(ref: Ref, call: Call = {}): Promise<T | undefined> {
    return this.get<T>(ref, call).catch(absent);
  }

  /** What was stored. Errors: as of `request`; KubeError with the reason `AlreadyExists` when the name is taken. */
  create<T = KubeObject>(object: Sendable, { dryRun, strict, ...call }: Write & Strict = {}): Promise<T> {
    const { kind, namespace } = refOf(object);
    const query = { fieldManager, ...dry(dryRun), ...(strict === true ? { fieldValidation: "Strict" } : {}) };
    return this.request<T>("POST", pathOf(kind, namespace), { ...call, query, body: object });
  }

  /** Server-side apply: what Berth says of the object, and nothing else of it, is made so. Errors: as of `request`; KubeError with `conflicts` when others own what it says. */
  apply<T = KubeObject>(object: Sendable, { force, dryRun, ...call }: Apply = {}): Promise<T> {
    const query = { fieldManager, ...(force === true ? { force } : {}), ...dry(dryRun) };
    return this.request<T>("PATCH", pathOfRef(refOf(object)), { ...call, query, body: object, type: applyType });
  }

  /** A merge patch, RFC 7396: null removes. What was stored. Errors: as of `request`. */
  merge<T = KubeObject>(ref: Ref, patch: object, { dryRun, ...call }: Write = {}): Promise<T> {
    const query = { fieldManager, ...dry(dryRun) };
    return this.request<T>("PATCH", pathOfRef(ref), { ...call, query, body: patch, type: "application/merge-patch+json" });
  }

  /** All of the operations or none. Errors: as of `request`; KubeError with 422 when a `test` did not hold. */
  jsonPatch<T = KubeObject>(ref: Ref, operations: readonly JsonPatch[], { dryRun, ...call }: Write = {}): Promise<T> {
    const query = { fieldManager, ...dry(dryRun) };
    return this.request<T>("PATCH", pathOfRef(ref), { ...call, query, body: operations, type: "application/json-patch+json" });
  }

  /** The whole object; with its resourceVersion only if nobody changed it meanwhile (409, reason `Conflict`). Errors: as of `request`. */
  replace<T = KubeObject>(object: Sendable, { dryRun, ...call }: Write = {}): Promise<T> {
    return this.request<T>("PUT", pathOfRef(refOf(object)), { ...call, query: { fieldManager, ...dry(dryRun) }, body: object });
  }

  /** false: it is not there. true: it is gone, or on its way. Errors: as of `request`; KubeError with 409 when it is another object than the given uid and version say. */
  async delete(ref: Ref, { grace, propagation, uid, resourceVersion, dryRun, ...call }: Delete = {}): Promise<boolean> {
    const preconditions = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
      ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
      ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
      ...(dryRun === true ? { dryRun: ["All"] } : {}),
    };
    const gone = await this.request<unknown>("DELETE", pathOfRef(ref), { ...call, body }).then(() => true, absent);
    return gone ?? false;
  }

  /**
   * The answer's bytes as they come, once its status is known to be good; to be iterated, which ends the stream in the end. `timeout`: ms until it begins.
   * Errors, of the call and of the iteration: KubeError, KubeUnreachable, or the signal's reason.
   */
  async stream(
    path: string,
    { query, signal, timeout }: Pick<RequestOptions, "query" | "signal" | "timeout"> = {},
  ): Promise<AsyncGenerator<Buffer>> {
    const own = new AbortController();
    const ends = signal === undefined ? own.signal : AbortSignal.any([signal, own.signal]);
    const limit = limited(this.name, { signal: ends, timeout });
    try {
      const answer = await this.#transport.send({ method: "GET", path: path + formatQuery(query), signal: limit.signal }, "streams");
      await this.#refuse(answer, limit.signal);
      return this.#bytes(answer, limit.signal, own);
    } finally {
      limit.clear();
    }
  }

  /** An open WebSocket that is paused; the caller reads and closes it. `timeout`: ms until it is open. Errors: KubeError, KubeUnreachable, KubeProtocolError, or the signal's reason. */
  webSocket(path: string, query: Query, protocols: readonly string[], signal: AbortSignal, timeout = 30_000): Promise<WebSocket> {
    return this.#transport.webSocket(path + formatQuery(query), protocols, signal, timeout);
  }

  /** Ends everything that is under way. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  async #patiently(method: Method, path: string, options: RequestOptions, limit: Limit): Promise<string> {
    const may = method === "GET" || options.type === applyType ? "always" : "undone";
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(method, path, options, limit.signal);
      } catch (error) {
        const wait = waitAfter(error, attempt, may);
        if (wait === undefined || wait >= limit.left()) throw error;
        await sleep(wait, undefined, { signal: limit.signal }).catch(() => limit.signal.throwIfAborted());
      }
    }
  }

  async #once(method: Method, path: string, { query, body, type }: RequestOptions, signal: AbortSignal): Promise<string> {
    const answer = await this.#transport.send(
      {
        method,
        path: path + formatQuery(query),
        headers: {
          accept: "application/json",
          "user-agent": "berth",
          ...(body === undefined ? {} : { "content-type": type ?? "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
      },
      "calls",
    );
    await this.#refuse(answer, signal);
    const text = await this.#text(answer, maxAnswerBytes, signal);
    // To read a long answer and to parse it are two turns of the event loop.
    if (text.length > longAnswer) await turn();
    return text;
  }

  /** Throws what the answer is, if it is no success. */
  async #refuse(answer: Dispatcher.ResponseData, signal: AbortSignal): Promise<void> {
    const { statusCode, headers } = answer;
    if (statusCode >= 200 && statusCode < 300) return;
    const text = await this.#text(answer, maxErrorBytes, signal, "cut");
    if (statusCode === 401) throw new KubeUnreachable(this.name, "unauthorized");
    throw new KubeError(statusCode, statusIn(text), retryAfterOf(headers["retry-after"]));
  }

  /** At most `bound` bytes; a longer body is an error, or is cut. */
  async #text(answer: Dispatcher.ResponseData, bound: number, signal: AbortSignal, beyond: "cut" | "throw" = "throw"): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.#bytes(answer, signal)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length <= bound) continue;
      if (beyond === "cut") break;
      throw new KubeProtocolError(`${this.name} answered with more than ${String(bound)} bytes`);
    }
    return Buffer.concat(chunks).subarray(0, bound).toString();
  }

  async *#bytes({ body }: Dispatcher.ResponseData, signal: AbortSignal, own?: AbortController): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) yield chunk;
    } catch (error) {
      signal.throwIfAborted();
      throw unreachable(this.name, error);
    } finally {
      // What is not read to its end ends here, with its connection.
      own?.abort();
      body.destroy();
    }
  }
}

function pathOfRef({ kind, namespace, name, subresource }: Ref): string {
  return pathOf(kind, namespace, name, subresource);
}

function refOf({ kind, metadata }: Sendable): Ref {
  if (!isKind(kind)) throw new TypeError(`${kind} is no kind that Berth uses`);
  return { kind, namespace: metadata.namespace, name: metadata.name };
}

const absent = ignoring(404);

function dry(dryRun: boolean | undefined): Query {
  return dryRun === true ? { dryRun: "All" } : {};
}
