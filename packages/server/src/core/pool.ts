// A range of IPv4 addresses that is cut into networks. Pure.

/** `base` is cut into networks of `size` (prefix lengths), one for a stack. */
export interface NetworkPool {
  readonly base: string;
  readonly size: number;
}

export interface Subnet {
  /** As a number. */
  readonly first: number;
  readonly count: number;
}

const ipv4 = /^(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])(\.(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])){3}$/;

/** Whether networks of this size can be cut from the range, and a range is what it is. */
export function isPool({ base, size }: NetworkPool): boolean {
  const [first = "", length = "", ...rest] = base.split("/");
  if (rest.length > 0 || !ipv4.test(first) || !/^\d{1,2}$/.test(length)) return false;
  return Number(length) <= size && size <= 26 && toNumber(first) % 2 ** (32 - Number(length)) === 0;
}

export function* subnetsIn({ base, size }: NetworkPool): Generator<Subnet> {
  const [first = "", length = ""] = base.split("/");
  const count = 2 ** (32 - size);
  const end = toNumber(first) + 2 ** (32 - Number(length));
  for (let at = toNumber(first); at < end; at += count) yield { first: at, count };
}

export const overlap = (a: Subnet, b: Subnet): boolean => a.first < b.first + b.count && b.first < a.first + a.count;

export function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function toText(address: number): string {
  return [24, 16, 8, 0].map((bits) => Math.floor(address / 2 ** bits) % 256).join(".");
}
