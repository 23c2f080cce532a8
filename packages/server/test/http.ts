// The HTTP server over real connections and real tokens, on the services of a test file: for tests of what it lets in and answers.
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { afterAll, beforeAll, expect } from "vitest";
import { createToken, verifyToken } from "../src/db/tokens.ts";
import { idempotentOnce } from "../src/http/once.ts";
import { createHttpServer } from "../src/http/server.ts";
import type { TestServices } from "./services.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  json(): Record<string, unknown>;
}
export interface Ask {
  readonly method?: string;
  /** Below /api/v1. */ readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
  /** Sent as it is. */ readonly raw?: string | Buffer;
  readonly headers?: Record<string, string>;
}
export interface TestHttp {
  /** As the administrator, unless told. */
  ask(asked: Ask): Promise<Answer>;
  /** The bytes as they are, on a connection of their own; everything that comes back until it closes. */
  send(bytes: string | Buffer): Promise<string>;
  /** Asks for a terminal; 101 is answered for one that opened, and it is closed at once. */
  upgrade(asked: Pick<Ask, "path" | "token">): Promise<number>;
  /** A token of the administrator that carries only these permissions. */
  token(...scopes: string[]): Promise<string>;
  /** Tokens of the administrator, and of a user without any rights. */
  readonly admin: string;
  readonly outsider: string;
  /** What was answered as `internal`. A test file fails when it is not empty at the end. */
  readonly failures: unknown[];
  readonly port: number;
}

/** For a whole test file, after `useServices`. */
export function useHttp(services: () => TestServices): () => TestHttp {
  let http: TestHttp | undefined;
  let close: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    const { deps, served: handlers, database } = services();
    const failures: unknown[] = [];
    const user = await database.db.selectFrom("users").select("id").where("name", "=", "admin").executeTakeFirstOrThrow();
    const token = async (...scopes: string[]): Promise<string> =>
      (await createToken(database.db, { userId: user.id, name: `test of ${scopes.join(" ")}`, scopes })).text;
    const admin = await token("*");
    const other = await database.db.insertInto("users").values({ name: "outsider" }).returning("id").executeTakeFirstOrThrow();
    const outsider = (await createToken(database.db, { userId: other.id, name: "outsider" })).text;
    let requests = 0;
    const server = await createHttpServer({
      handlers,
      access: deps.access,
      version: "0.0.0",
      allowedHosts: new Set(["localhost", "127.0.0.1"]),
      newRequestId: () => `test-${(requests += 1)}`,
      authenticate: async (text) => {
        const verified = await verifyToken(database.db, text, new Date());
        return { principal: verified.principal, by: verified.userName };
      },
      once: idempotentOnce(database.db, deps.secretBox, () => new Date()),
      metrics: () => Promise.resolve(""),
      ready: () => Promise.resolve(undefined),
      onRequest: () => undefined,
      logError: (error) => {
        failures.push(error);
      },
    });
    await server.listen({ host: "127.0.0.1", port: 0 });
    const { port } = server.server.address() as AddressInfo;
    close = () => server.close();
    http = {
      port,
      token,
      admin,
      outsider,
      failures,
      ask: (asked) => ask(port, { token: admin, ...asked }),
      send: (bytes) => send(port, bytes),
      upgrade: (asked) => upgrade(port, { token: admin, ...asked }),
    };
  });
  afterAll(async () => {
    await close?.();
    expect(http?.failures ?? []).toEqual([]);
  });
  return () => {
    if (http === undefined) throw new Error("the HTTP server is there only inside tests and hooks");
    return http;
  };
}

function ask(port: number, { method = "GET", path, token, body, raw, headers = {} }: Ask): Promise<Answer> {
  const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: "127.0.0.1",
        port,
        method,
        path: `/api/v1${path.replace(/^\/(?=\?|$)/, "")}`,
        headers: {
          ...(token === undefined || token === "" ? {} : { authorization: `Bearer ${token}` }),
          ...(text === undefined ? {} : { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response
          .on("data", (chunk: Buffer) => chunks.push(chunk))
          .on("error", reject)
          .on("end", () => {
            const answer = Buffer.concat(chunks).toString("utf8");
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: answer,
              json: () => JSON.parse(answer) as Record<string, unknown>,
            });
          });
      },
    );
    request.on("error", reject).end(text);
  });
}

function send(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: "127.0.0.1", port }, () => {
      socket.write(bytes);
    });
    socket
      .on("data", (chunk: Buffer) => chunks.push(chunk))
      // A server that has answered need not read what is left; what came is what counts.
      .on("error", (error: NodeJS.ErrnoException) => {
        if (!["ECONNRESET", "EPIPE"].includes(error.code ?? "")) reject(error);
      })
      .on("close", () => {
        resolve(Buffer.concat(chunks).toString("latin1"));
      });
  });
}

function upgrade(port: number, { path, token }: Pick<Ask, "path" | "token">): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token ?? ""}`,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const request = httpRequest({ host: "127.0.0.1", port, path: `/api/v1${path}`, headers }, (response) => {
      response.resume().on("end", () => {
        resolve(response.statusCode ?? 0);
      });
    });
    request
      .on("upgrade", (response, socket) => {
        socket.destroy();
        resolve(response.statusCode ?? 0);
      })
      .on("error", reject)
      .end();
  });
}
