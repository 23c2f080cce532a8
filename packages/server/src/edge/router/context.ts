// What every request of one router shares. Made once per process; nothing in it belongs to a single request.
import { randomBytes } from "node:crypto";
import { BlockList, isIP } from "node:net";
import type { Duplex } from "node:stream";
import type { AccessLog } from "./accesslog.ts";
import type { PortTarget } from "./component.ts";
import type { RouterStats } from "./stats.ts";
import type { RouteTable } from "./table.ts";

/** A listener of one port alone. Siblings' X-Forwarded-* are believed: they pass on what they got. */
export interface Direct { readonly target: PortTarget; readonly sibling: boolean }

export interface RouterContext {
  readonly table: RouteTable;
  readonly stats: RouterStats;
  readonly log: AccessLog;
  readonly probeKey: Buffer;
  /** ms, never going back. */
  readonly now: () => number;
  readonly random: () => number;
  readonly requestId: () => string;
  readonly isTrusted: (address: string) => boolean;
  /** Client connections that left HTTP (upgrades, TCP): ended one by one when the router has to go. */
  readonly pipes: Set<Duplex>;
  /** true: accepts nothing new and asks clients to connect anew. */
  retiring: boolean;
}

/** Request ids that are unique over routers and restarts, and cheap: a random part per process and a counter. */
export function requestIds(): () => string {
  const prefix = randomBytes(7).toString("hex");
  let count = 0;
  return () => {
    count += 1;
    return `${prefix}${count.toString(36).padStart(6, "0")}`;
  };
}

/** Tells whether an address is one of these addresses or CIDR ranges. */
export function trustedAddresses(ranges: readonly string[]): (address: string) => boolean {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return (address) => list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** An IPv4 address that arrived on an IPv6 socket is shown as IPv4. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return "";
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
