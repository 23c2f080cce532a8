// A client of HTTP/2 for tests: Node's own, over TLS or with prior knowledge on a plain connection, each answer read whole.
import { once } from "node:events";
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";
import { never, type TestEdge } from "./harness.ts";

export interface H2Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly trailers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** The head was all of it. */
  readonly headOnly: boolean;
}

export async function securePort(edge: TestEdge): Promise<number> {
  const { https } = await edge.traffic.hello(never);
  if (https === undefined || https.problem !== undefined) throw new Error(`no HTTPS: ${https?.problem ?? "not wanted"}`);
  return https.port;
}

/** `host`: asked for in the handshake, and of every request that names none. */
export async function h2Client(port: number, host: string, secure = true): Promise<ClientHttp2Session> {
  const session = connect(`${secure ? "https" : "http"}://${host}:${String(port)}`, {
    ...(secure ? { rejectUnauthorized: false, servername: host } : {}),
    lookup: loopback,
  } as SecureClientSessionOptions);
  session.on("error", () => undefined);
  await once(session, "remoteSettings");
  return session;
}

const loopback = (
  _name: string,
  _options: unknown,
  done: (error: null, addresses: { address: string; family: number }[]) => void,
): void => {
  done(null, [{ address: "127.0.0.1", family: 4 }]);
};

/** Sends a request with a body, and reads the answer whole; rejects when it is reset. */
export function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string | Buffer): Promise<H2Answer> {
  const stream = session.request({ ":method": body === undefined ? "GET" : "POST", ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return answerOf(stream);
}

export function answerOf(stream: ClientHttp2Stream): Promise<H2Answer> {
  return new Promise((resolve, reject) => {
    let head: Record<string, string | string[] | undefined> | undefined;
    let headOnly = false;
    let trailers: Record<string, string | string[] | undefined> = {};
    const chunks: Buffer[] = [];
    stream.on("response", (headers, flags) => {
      head = headers as Record<string, string | string[] | undefined>;
      headOnly = (flags & 1) === 1;
    });
    stream.on("trailers", (headers) => {
      trailers = headers as Record<string, string | string[] | undefined>;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      if (head === undefined || stream.rstCode !== 0) reject(new Error(`reset with ${String(stream.rstCode)}`));
      else resolve({ status: Number(head[":status"]), headers: head, trailers, body: Buffer.concat(chunks), headOnly });
    });
  });
}
