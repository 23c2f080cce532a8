// The small HTTP ground that the agent's and the collector's sockets share: JSON in, JSON out, coded errors, a protocol version on every answer.
import { rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { errors } from "@berth/contract/errors.ts";
import { BerthError } from "../../core/errors.ts";
import { EngineFailure } from "../../engines/engine.ts";
import { protocolHeader, protocolVersion, type ProblemBody } from "../../engines/agent/protocol.ts";

const mostBytes = 16 * 1024 * 1024;

export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly path: readonly string[];
}
/** Answers with a body; undefined = 204. A handler that answers by itself returns "answered". */
export type Handler = (call: Call) => Promise<object | "answered" | undefined>;

export function serve(handler: Handler, onError: (error: unknown) => void): Server {
  const server = createServer((request, response) => {
    const act = async (): Promise<void> => {
      const call = callOf(request, response);
      const version = request.headers[protocolHeader];
      if (version !== undefined && version !== protocolVersion)
        throw new BerthError("wrong_state", {
          verb: "This call",
          reason: `this edge speaks protocol ${protocolVersion}`,
          hint: "Restart the edge with this version of Berth.",
        });
      const body = await handler(call);
      if (body !== "answered") answer(response, body === undefined ? 204 : 200, body);
    };
    act().catch((error: unknown) => problem(response, error, onError));
  });
  // What is put into a volume may take hours; the socket is for Berth alone.
  server.requestTimeout = 0;
  return server;
}

function callOf(request: IncomingMessage, response: ServerResponse): Call {
  try {
    const url = new URL(request.url ?? "/", "http://berth");
    return { request, response, url, path: url.pathname.split("/").slice(1).map(decodeURIComponent) };
  } catch (error) {
    throw new BerthError("invalid_request", { reason: "this is no path" }, { cause: error });
  }
}

export function answer(response: ServerResponse, status: number, body: object | undefined): void {
  const text = body === undefined ? "" : JSON.stringify(body);
  response.writeHead(status, {
    [protocolHeader]: protocolVersion,
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function problem(response: ServerResponse, error: unknown, onError: (error: unknown) => void): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error instanceof EngineFailure) {
    return answer(response, 422, {
      code: "internal",
      params: {},
      failure: error.failure,
      retryable: error.retryable,
    } satisfies ProblemBody);
  }
  if (!(error instanceof BerthError)) onError(error);
  const { code, params } = error instanceof BerthError ? error : { code: "internal" as const, params: {} };
  answer(response, errors[code].status, { code, params } satisfies ProblemBody);
}

export async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostBytes) throw new BerthError("payload_too_large", { limit: mostBytes, hint: "Split it." });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
  } catch (error) {
    throw new BerthError("invalid_request", { reason: "the body is not JSON" }, { cause: error });
  }
}

/**
 * Listens on a unix socket that only Berth's user may open. A socket file that nobody answers on is left over from a process that was killed, and replaced.
 * Rejects when another process serves it.
 */
export async function listen(server: Server, path: string): Promise<void> {
  if (await answers(path)) throw new Error(`another process serves ${path}`);
  rmSync(path, { force: true });
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(umask);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
