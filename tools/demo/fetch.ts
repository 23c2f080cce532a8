// Fetches a URL through the router as a browser would, but without asking a name server: `*.localhost` is this machine (RFC 6761), and not
// every resolver knows it.
import { request } from "node:http";

export type Fetched = { readonly status: number; readonly bytes: number; readonly took: number } | { readonly error: string };

/** `took` and `timeout` in ms. `via`: who is asked instead of whom the URL names. */
export function fetchThrough(url: string, timeout: number, via?: { readonly host: string; readonly port: number }): Promise<Fetched> {
  const { hostname, host, port, pathname, search } = new URL(url);
  const local = hostname === "localhost" || hostname.endsWith(".localhost");
  const started = performance.now();
  return new Promise((resolve) => {
    const call = request(
      {
        host: via?.host ?? (local ? "127.0.0.1" : hostname),
        port: via?.port ?? (port === "" ? 80 : Number(port)),
        path: `${pathname}${search}`,
        headers: { host },
        agent: false,
        signal: AbortSignal.timeout(timeout),
      },
      (answer) => {
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
        answer.on("end", () => {
          resolve({ status: answer.statusCode ?? 0, bytes, took: performance.now() - started });
        });
        answer.on("error", (error) => {
          resolve({ error: error.message });
        });
      },
    );
    call.on("error", (error) => {
      resolve({ error: error.message });
    });
    call.end();
  });
}
