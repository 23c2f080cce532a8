// Reads /proc for who listens where, and whose door that is: traffic for an instance goes to 127.0.0.1 and its port, and all instances share this machine's
// loopback, so it is looked at who would answer there before anybody is sent, and again all the time afterwards.
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { basename } from "node:path";
import { readProc, type ProcessIdentity } from "../../os/process.ts";
import { markOf, ProcessTable } from "./procfs.ts";

export interface Listener {
  readonly port: number;
  readonly inode: string;
  readonly uid: number;
  readonly host: string;
}

/** proc(5): an address is written as 32-bit words in the machine's own byte order. */
export function parseHost(hex: string): string {
  const known = hosts.get(hex);
  if (known !== undefined) return known;
  const host = readHost(hex);
  // A machine has a handful of addresses.
  if (hosts.size > 1_000) hosts.clear();
  hosts.set(hex, host);
  return host;
}
const hosts = new Map<string, string>();

function readHost(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => `${bytes[2 * index] ?? "00"}${bytes[2 * index + 1] ?? "00"}`);
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** proc(5): fields of the sockets in a table; `0A` is LISTEN. The kernel lists those first, so that reading ends before thousands of connections. */
function listening(file: string): string[][] {
  let handle: number;
  try {
    handle = openSync(file, "r");
  } catch {
    // A machine without IPv6.
    return [];
  }
  try {
    const rows: string[][] = [];
    const chunk = Buffer.alloc(65_536);
    for (let rest = "", size = readSync(handle, chunk); size > 0; size = readSync(handle, chunk)) {
      const lines = (rest + chunk.toString("latin1", 0, size)).split("\n");
      rest = lines.pop() ?? "";
      const found = lines.map((line) => line.trim().split(/\s+/));
      rows.push(...found.filter((fields) => fields[3] === "0A"));
      if (rows.length > 0 && found.at(-1)?.[3] !== "0A") break;
    }
    return rows;
  } finally {
    closeSync(handle);
  }
}

/** Listening TCP sockets of this network namespace, IPv4 and IPv6. */
export function listeners(): Listener[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap(listening).flatMap(listenerIn);
}

/** The same from the text of such tables, which another network namespace gave. */
export function parseListeners(text: string): Listener[] {
  return text
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A")
    .flatMap(listenerIn);
}

function listenerIn(fields: readonly string[]): Listener[] {
  const [host, port] = (fields[1] ?? "").split(":");
  return host === undefined || port === undefined
    ? []
    : [{ port: Number.parseInt(port, 16), inode: fields[9] ?? "", uid: Number(fields[7] ?? 0), host: parseHost(host) }];
}

/** Inodes of the sockets that a process holds open; empty when it may not be looked at. */
export function socketsOf(pid: number): Set<string> {
  const inodes = new Set<string>();
  let entries: string[];
  try {
    entries = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It ended meanwhile or belongs to another user.
    return inodes;
  }
  for (const entry of entries) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${entry}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // The descriptor was closed between listing and reading.
    }
  }
  return inodes;
}

/** Where any of these processes listens, in the order of ports. */
export function listenersOf(members: readonly { readonly pid: number }[]): Listener[] {
  const inodes = new Set(members.flatMap((member) => [...socketsOf(member.pid)]));
  return listeners()
    .filter((one) => inodes.has(one.inode))
    .sort((a, b) => a.port - b.port);
}

/** TCP ports on which any of these processes listens, ascending. */
export function portsOf(members: readonly { readonly pid: number }[]): number[] {
  return [...new Set(listenersOf(members).map((one) => one.port))];
}

export interface PortOwner {
  readonly pid?: number;
  readonly name: string;
  readonly uid: number;
  /** Instance of Berth that the owner belongs to. */ readonly instance?: string;
}

/** What a program was called by when it was started; its threads may call themselves what they like, but are not what people know it by. */
function programName(pid: number): string {
  const [called = ""] = (readProc(`/proc/${pid}/cmdline`) ?? "").split(/[\0 ]/);
  return basename(called).replace(/:$/, "") || readProc(`/proc/${pid}/comm`)?.trim() || "a program";
}

/** Who listens on a port; undefined when nobody does. */
export function ownerOf(port: number): PortOwner | undefined {
  return holderOf(listeners().filter((one) => one.port === port));
}

/** The first process that holds one of these sockets; undefined when there is none of them. */
function holderOf(wanted: readonly Listener[]): PortOwner | undefined {
  const first = wanted[0];
  if (first === undefined) return undefined;
  const inodes = new Set(wanted.map((one) => one.inode));
  for (const one of new ProcessTable().all) {
    for (const inode of socketsOf(one.pid)) {
      if (!inodes.has(inode)) continue;
      const name = programName(one.pid);
      const instance = markOf(one.pid);
      return { pid: one.pid, name, uid: first.uid, ...(instance === undefined ? {} : { instance }) };
    }
  }
  return { name: "a program", uid: first.uid };
}

/** Which sockets the kernel gives a connection to 127.0.0.1 to, the first kind that there is: this very address, then all of IPv4, then all of both. */
const precedence: readonly ReadonlySet<string>[] = [
  new Set(["127.0.0.1", "::ffff:7f00:1"]),
  new Set(["0.0.0.0", "::ffff:0:0"]),
  new Set(["::"]),
];

/**
 * The sockets that answer at 127.0.0.1 and this port: several only when they share it (SO_REUSEPORT), and then each gets a part. Somebody else's socket for
 * IPv6 alone looks like one for both, but then it never comes before the one for IPv4.
 */
export function doorkeepers(port: number, open: readonly Listener[]): Listener[] {
  const there = open.filter((one) => one.port === port);
  return precedence.map((hosts) => there.filter((one) => hosts.has(one.host))).find((found) => found.length > 0) ?? [];
}

/** Whoever else answers at 127.0.0.1 and this port; undefined when that is these processes, or nobody. */
export function intruderAt(
  port: number,
  members: readonly Pick<ProcessIdentity, "pid">[],
  open: readonly Listener[] = listeners(),
): PortOwner | undefined {
  const found = doorkeepers(port, open);
  if (found.length === 0) return undefined;
  const own = new Set(members.flatMap((member) => [...socketsOf(member.pid)]));
  return holderOf(found.filter((one) => !own.has(one.inode)));
}
