// Where Berth may connect on a user's behalf (git, webhooks, checks): pure rules over names and addresses. Must never resolve a name itself.
import { BlockList, isIP } from "node:net";

export interface EgressRules {
  /** Loopback addresses are refused unless the operator allows them: a user's URL must not reach this machine's own services. */
  readonly allowLoopback: boolean;
}

const loopback = listOf([
  ["127.0.0.0", 8, "ipv4"],
  ["::1", 128, "ipv6"],
]);
/** Link-local holds the metadata services of the clouds; the others are never a server. */
const never = listOf([
  ["0.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["224.0.0.0", 4, "ipv4"],
  ["240.0.0.0", 4, "ipv4"],
  ["100.100.100.200", 32, "ipv4"],
  ["::", 128, "ipv6"],
  ["fe80::", 10, "ipv6"],
  ["ff00::", 8, "ipv6"],
  ["fd00:ec2::254", 128, "ipv6"],
]);
const clusterNames = [".svc", ".cluster.local"];
const metadataNames: ReadonlySet<string> = new Set(["metadata", "metadata.google.internal"]);

function listOf(ranges: readonly (readonly [string, number, "ipv4" | "ipv6"])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix, family] of ranges) list.addSubnet(address, prefix, family);
  return list;
}

/** Why this host name may not be asked for, before it is resolved; undefined = it may be. `localhost` counts as loopback. */
export function refusedHost(host: string, rules: EgressRules): string | undefined {
  const name = host.toLowerCase().replace(/\.$/, "");
  if (isIP(name) !== 0) return refusedAddress(name, rules);
  if (name === "localhost" || name.endsWith(".localhost")) return rules.allowLoopback ? undefined : `${name} is this machine itself`;
  if (metadataNames.has(name) || clusterNames.some((suffix) => name.endsWith(suffix))) return `${name} is a name inside a cluster`;
  return undefined;
}

/** Why this IP address may not be connected to; undefined = it may be. IPv4 inside IPv6 (mapped, NAT64, 6to4) is judged as what it leads to. */
export function refusedAddress(address: string, rules: EgressRules): string | undefined {
  const plain = address.split("%")[0] ?? address;
  const version = isIP(plain);
  if (version === 0) return `${address} is not an address`;
  const candidates = version === 4 ? [plain] : [plain, ...embeddedIPv4(plain)];
  for (const candidate of candidates) {
    const family = isIP(candidate) === 4 ? "ipv4" : "ipv6";
    if (never.check(candidate, family)) return `${address} is a link-local or reserved address`;
    if (loopback.check(candidate, family) && !rules.allowLoopback) return `${address} is this machine itself`;
  }
  return undefined;
}

function embeddedIPv4(address: string): string[] {
  const groups = expand(address);
  const low = dotted(groups[6] ?? 0, groups[7] ?? 0);
  const zeros = (from: number, to: number): boolean => groups.slice(from, to).every((group) => group === 0);
  if (zeros(0, 5) && groups[5] === 0xffff) return [low];
  if (groups[0] === 0x64 && groups[1] === 0xff9b) return [low];
  if (groups[0] === 0x2002) return [dotted(groups[1] ?? 0, groups[2] ?? 0)];
  // The deprecated IPv4-compatible form; `::` and `::1` are judged as IPv6.
  if (zeros(0, 6) && groups[6] !== 0) return [low];
  return [];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The eight groups of an IPv6 address that `isIP` has accepted. */
function expand(address: string): number[] {
  const withoutDots = address.replace(
    /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_, a: string, b: string, c: string, d: string) =>
      `${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`,
  );
  const [head = "", tail] = withoutDots.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = tail === undefined ? [] : Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...right].map((group) => parseInt(group, 16));
}
