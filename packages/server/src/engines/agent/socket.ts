// Calls over a unix socket to the agent or the collector, and what their refusals mean to the planner.
import type { Readable } from "node:stream";
import { Pool, type Dispatcher } from "undici";
import { cause } from "@berth/contract/causes.ts";
import { errors, type ErrorCode } from "@berth/contract/errors.ts";
import { BerthError } from "../../core/errors.ts";
import { EngineFailure } from "../engine.ts";
import { protocolHeader, protocolVersion, type ProblemBody } from "./protocol.ts";

export class SocketClient {
  readonly #pool: Pool;
  readonly #cluster: string;

  constructor(socketPath: string, cluster: string) {
    this.#cluster = cluster;
    // No pipelining: a slow answer must not hold up the next call. Streams stay open for hours.
    this.#pool = new Pool("http://berth", {
      socketPath,
      connections: 64,
      pipelining: 1,
      headersTimeout: 60_000,
      bodyTimeout: 0,
      keepAliveTimeout: 2_000,
    });
  }

  /** The parsed answer; undefined for 204. Errors: BerthError with the other side's code, EngineFailure (`cluster_unreachable`, retryable) when nobody answers. */
  async call(method: Dispatcher.HttpMethod, path: string, body: object | undefined, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#request(method, path, body, signal);
    const text = await answer.body.text().catch((error: unknown) => {
      throw this.unreachable(error, signal);
    });
    if (answer.statusCode >= 400) throw problemOf(text) ?? this.unreachable(new Error(`status ${answer.statusCode}`), signal);
    return text === "" ? undefined : (JSON.parse(text) as unknown);
  }

  /** The answer's bytes as they come; whoever asked reads or destroys them. Errors: as of `call`, and the stream's own when the other side breaks off. */
  async download(path: string, signal: AbortSignal): Promise<Readable> {
    const answer = await this.#request("GET", path, undefined, signal);
    if (answer.statusCode >= 400)
      throw problemOf(await answer.body.text()) ?? this.unreachable(new Error(`status ${answer.statusCode}`), signal);
    return answer.body;
  }

  /** Sends bytes; the stream is destroyed in the end, whatever happens. Errors: as of `call`, and what the stream failed of. */
  async upload(path: string, body: Readable, signal: AbortSignal): Promise<void> {
    let failed = body.errored ?? undefined;
    body.once("error", (error) => (failed = error));
    try {
      const headers = { [protocolHeader]: protocolVersion, "content-type": "application/x-tar" };
      const answer = await this.#pool.request({ method: "PUT", path, signal, headers, body, headersTimeout: 0 });
      const text = await answer.body.text();
      if (answer.statusCode >= 400) throw problemOf(text) ?? new Error(`status ${answer.statusCode}`);
    } catch (error) {
      if (error instanceof BerthError || error instanceof EngineFailure) throw error;
      throw failed ?? this.unreachable(error, signal);
    } finally {
      body.destroy();
    }
  }

  /** Lines of an endless answer, without empty ones. Ends when the other side or the signal ends it. */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<string> {
    const answer = await this.#request("GET", path, undefined, signal);
    if (answer.statusCode >= 400)
      throw problemOf(await answer.body.text()) ?? this.unreachable(new Error(`status ${answer.statusCode}`), signal);
    let held = "";
    answer.body.setEncoding("utf8");
    try {
      for await (const chunk of answer.body as AsyncIterable<string>) {
        const lines = (held + chunk).split("\n");
        held = lines.pop() ?? "";
        for (const line of lines) if (line !== "") yield line;
      }
    } catch (error) {
      if (signal.aborted) return;
      throw this.unreachable(error, signal);
    } finally {
      answer.body.destroy();
    }
  }

  async #request(
    method: Dispatcher.HttpMethod,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await this.#pool.request({
        method,
        path,
        signal,
        headers: { [protocolHeader]: protocolVersion, "content-type": "application/json" },
        body: body === undefined ? null : JSON.stringify(body),
      });
    } catch (error) {
      throw this.unreachable(error, signal);
    }
  }

  /** Rethrows the signal's reason when the caller gave up; otherwise nobody answers. */
  unreachable(error: unknown, signal: AbortSignal): EngineFailure {
    signal.throwIfAborted();
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const reason =
      code === "ENOENT" || code === "ECONNREFUSED" ? "`berth edge` does not run" : error instanceof Error ? error.message : String(error);
    return new EngineFailure(cause("cluster_unreachable", { cluster: this.#cluster, reason }), { retryable: true, cause: error });
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

function problemOf(text: string): BerthError | EngineFailure | undefined {
  try {
    const body = JSON.parse(text) as ProblemBody;
    if (body.failure !== undefined) return new EngineFailure(body.failure, { retryable: body.retryable === true });
    return body.code in errors ? new BerthError(body.code as ErrorCode, body.params) : undefined;
  } catch {
    // Not an answer of ours.
    return undefined;
  }
}
