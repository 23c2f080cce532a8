// Addresses of clients: in one form, and whether they are among those that are trusted.
import { BlockList, isIP } from "node:net";

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

/** Whom a trusted proxy speaks for: the last address in X-Forwarded-For that is no trusted proxy itself, since what stands before it anybody may have written. */
export function clientBehind(proxy: string, forwardedFor: string | string[] | undefined, isTrusted: (address: string) => boolean): string {
  let client = proxy;
  for (const part of String(forwardedFor ?? "")
    .split(",")
    .reverse()) {
    const address = plainAddress(part.trim());
    if (isIP(address) === 0) return client;
    client = address;
    if (!isTrusted(address)) return client;
  }
  return client;
}
