// What the two ends of a tunnel agree on: the names of its streams, and how much may be under way.
import { isIP } from "node:net";

/** The edge's sockets, by the names of their files. */
export const edgeSockets = ["edge", "agent", "logs"] as const;
export type EdgeSocketName = (typeof edgeSockets)[number];

export type TunnelTarget = { readonly socket: EdgeSocketName } | { readonly host: string; readonly port: number };

/** RFC 9113, 6.5.2: bytes that each stream may have under way. Sizes are for a network with delay. */
export const tunnelSettings = { initialWindowSize: 1024 * 1024, maxConcurrentStreams: 10_000 } as const;

/** `agent`, `10.1.2.3:8080` or `[fd00::1]:8080`. */
export function formatTarget(target: TunnelTarget): string {
  if ("socket" in target) return target.socket;
  return `${target.host.includes(":") ? `[${target.host}]` : target.host}:${String(target.port)}`;
}

/** undefined for what is no target: names of hosts are not looked up. */
export function parseTarget(text: string): TunnelTarget | undefined {
  const socket = edgeSockets.find((name) => name === text);
  if (socket !== undefined) return { socket };
  const match = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/i.exec(text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  return isIP(host) === 0 || port < 1 || port > 65_535 ? undefined : { host, port };
}
