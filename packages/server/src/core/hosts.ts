// A Docker host elsewhere as somebody adds it, with what he left out filled in. Pure.
import type { NewCluster } from "@berth/contract/resources/clusters.ts";
import { isPool, type NetworkPool } from "./pool.ts";

/** A Docker host elsewhere, without what is secret of it. */
export interface HostFacts {
  /** As in DOCKER_HOST. */
  readonly endpoint: string;
  /** On the host: the edge's folder, and the daemon's socket. */
  readonly home: string;
  readonly socket: string;
  readonly httpPort: number;
  readonly httpsPort: number;
  /** Where the networks of stacks come from; absent: the agent's own choice. */
  readonly networks?: NetworkPool;
  /** Whether it is the manager of a Swarm, whose services instances are to be. */
  readonly swarm?: true;
}

export interface HostTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface WantedHost {
  readonly facts: HostFacts;
  readonly tls: HostTls | undefined;
  readonly domain: string;
}

export type HostRefusal = { readonly reason: string; readonly hint: string };

/** Two installations may use one host: names and folders there begin with this. */
export const hostMark = (installation: string): string => installation.replaceAll("-", "").slice(0, 8);

/** `installation`: its id. */
export function wantedHost(
  given: NewCluster & { readonly endpoint: string },
  installation: string,
): { readonly host: WantedHost } | { readonly refusal: HostRefusal } {
  const { endpoint, ca, cert, key, networks } = given;
  const url = URL.parse(endpoint);
  if (url === null) return { refusal: { reason: "this is no address", hint: "Write tcp://host:2376 or unix:///path." } };
  const isHere = endpoint.startsWith("unix://") || isLoopbackHost(url.hostname);
  const tls =
    ca === undefined && cert === undefined && key === undefined
      ? undefined
      : { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  if ((cert === undefined) !== (key === undefined))
    return { refusal: { reason: "a certificate and its key belong together", hint: "Give both: --tls FOLDER with cert.pem and key.pem." } };
  if (tls === undefined && !isHere)
    return {
      refusal: {
        reason: "a daemon that answers everybody without TLS gives its whole machine away",
        hint: "Let it ask for a client's certificate (dockerd --tlsverify), and give ca.pem, cert.pem and key.pem: --tls FOLDER.",
      },
    };
  if (given.domain === undefined && !isHere)
    return {
      refusal: {
        reason: "it has no domain, so that nobody could reach what runs there",
        hint: "Have a wildcard DNS name lead to the host (*.apps.example.com), and give --domain apps.example.com.",
      },
    };
  if (networks !== undefined && !isPool(networks))
    return {
      refusal: {
        reason: `${networks.base} cannot be cut into networks of /${String(networks.size)}`,
        hint: "Write it as 10.64.0.0/12 and 22.",
      },
    };
  const httpPort = given.httpPort ?? 80;
  const httpsPort = given.httpsPort ?? 443;
  if (httpPort === httpsPort)
    return {
      refusal: { reason: "HTTP and HTTPS cannot have the same port", hint: "Give them different ones, --http-port and --https-port." },
    };
  return {
    host: {
      tls,
      domain: given.domain ?? "localhost",
      facts: {
        endpoint,
        home: given.home ?? `/var/lib/berth-edge/${hostMark(installation)}-${given.name}`,
        socket: given.socket ?? (endpoint.startsWith("unix://") ? endpoint.slice("unix://".length) : "/var/run/docker.sock"),
        httpPort,
        httpsPort,
        ...(networks === undefined ? {} : { networks }),
        ...(given.swarm === true ? { swarm: true as const } : {}),
      },
    },
  };
}

function isLoopbackHost(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
