// A server with TLS that answers as a test wants: for what a real API server does only on a bad day.
import { createServer, type Server } from "node:https";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { ClusterAccess } from "../../core/kubeconfig.ts";
import { testCertificate, type TestCertificate, type TestCertificateOptions } from "../../edge/testing/certificates.ts";

export const secretToken = "a-token-that-nobody-may-see";

export class BadServer implements AsyncDisposable {
  readonly access: ClusterAccess;
  /** Method and URL of each question, in their order. */
  readonly asked: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(server: Server, authority: TestCertificate) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.access = { server: `https://localhost:${String(port)}`, ca: authority.certificate, auth: { kind: "token", token: secretToken } };
    server.on("request", (request: IncomingMessage) => this.asked.push(`${request.method ?? ""} ${request.url ?? ""}`));
    server.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  static async start(listener: RequestListener, certificate: TestCertificateOptions = {}): Promise<BadServer> {
    const authority = testCertificate({ subject: "test authority", isAuthority: true });
    const { certificate: cert, key } = testCertificate({ hosts: ["localhost"], issuer: authority, ...certificate });
    const server = createServer({ cert, key });
    await new Promise<void>((resolve) => {
      server.listen(0, "localhost", resolve);
    });
    const made = new BadServer(server, authority);
    server.on("request", listener);
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

export function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** A v1.Status. */
export function refusal(code: number, reason: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code, reason, message: `${reason}, it says`, ...more };
}

/** Until it holds; the test's own limit in time ends it otherwise. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
