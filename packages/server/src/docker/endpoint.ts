// Where a Docker daemon listens, as people write it in DOCKER_HOST. Opens nothing.
import { isIPv6 } from "node:net";

/** PEM texts. With `cert` and `key` the client shows who it is (mutual TLS); without `ca` the machine's own authorities are trusted. */
export interface DockerTls {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export type DockerEndpoint =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "tcp"; readonly host: string; readonly port: number; readonly tls?: DockerTls | undefined };

const help = "write unix:///path/to/docker.sock or tcp://host:port";
/** Room in `sockaddr_un`, unix(7), less the closing zero. */
const longestSocketPath = 107;

/** `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2376`; a port that is left out is 2376 with `tls` and 2375 without. Throws a TypeError that says how it is written. */
export function parseEndpoint(text: string, tls?: DockerTls): DockerEndpoint {
  if (text.startsWith("unix://")) {
    const path = text.slice("unix://".length);
    if (!path.startsWith("/")) throw new TypeError(`${text} names no absolute path: ${help}`);
    if (Buffer.byteLength(path) > longestSocketPath)
      throw new TypeError(`${text} is longer than the ${String(longestSocketPath)} bytes that a path of a socket may have`);
    if (tls !== undefined) throw new TypeError(`${text} is a unix socket, which has no TLS`);
    return { type: "unix", path };
  }
  if (!text.startsWith("tcp://")) throw new TypeError(`${text} is no address of a Docker daemon: ${help}`);
  const url = URL.parse(text);
  if (url === null || url.hostname === "" || url.port === "0") throw new TypeError(`${text} names no host and port: ${help}`);
  if (url.username !== "" || url.password !== "" || !["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "")
    throw new TypeError(`${text} says more than a host and a port: ${help}`);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (tls === undefined ? 2375 : 2376) : Number(url.port);
  return { type: "tcp", host, port, ...(tls === undefined ? {} : { tls }) };
}

/** As parseEndpoint reads it; for messages. */
export function formatEndpoint(endpoint: DockerEndpoint): string {
  if (endpoint.type === "unix") return `unix://${endpoint.path}`;
  return `tcp://${isIPv6(endpoint.host) ? `[${endpoint.host}]` : endpoint.host}:${String(endpoint.port)}`;
}
