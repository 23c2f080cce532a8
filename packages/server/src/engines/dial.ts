// Connections to addresses on a host elsewhere, through the socket that leads there (HTTP CONNECT, RFC 9110 section 9.3.6).
import { request } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";

/** `host` is an address. Errors: an Error that says why it cannot be reached, or the signal's reason. */
export function dialThrough(
  socketPath: string,
  { host, port }: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<Socket> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${String(port)}`;
  return new Promise((resolve, reject) => {
    request({ socketPath, method: "CONNECT", path: target, headers: { host: target }, signal, agent: false })
      .once("connect", (answer, socket, head) => {
        if (answer.statusCode !== 200) {
          socket.destroy();
          reject(new Error(reasonIn(head.toString()) ?? `${target} cannot be reached: status ${String(answer.statusCode)}`));
          return;
        }
        if (head.length > 0) socket.unshift(head);
        // It may break before whoever asked for it reads it.
        socket.on("error", () => undefined);
        resolve(socket as Socket);
      })
      .once("response", (answer) => {
        text(answer).then(
          (said) => reject(new Error(reasonIn(said) ?? `${target} cannot be reached: status ${String(answer.statusCode)}`)),
          reject,
        );
      })
      .once("error", reject)
      .end();
  });
}

function reasonIn(body: string): string | undefined {
  try {
    const { params } = JSON.parse(body) as { params?: { reason?: unknown } };
    return typeof params?.reason === "string" ? params.reason : undefined;
  } catch {
    return undefined; // no answer of ours
  }
}
