// What a primary that starts is handed by the one before it, or by a router whose primary died: listening sockets as open files, and what they are in a line of
// JSON on its stdin. Two versions of Berth meet here during an upgrade.
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Address, Sockets } from "./sockets.ts";

/** The first of the open files that are sockets; 3 is a channel, or nothing. */
const firstFile = 4;
const format = 1;

export interface Takeover {
  /** The public address. */
  readonly router: Address;
  /** In the order of the open files. */
  readonly sockets: readonly Address[];
  /** Instances that are ready, as far as the one who hands over knows. */
  readonly ready: readonly string[];
  /** `primary`: it lives, and says over the channel when it is over. */
  readonly from: "primary" | "router";
}

export function writeTakeover(stdin: Writable, takeover: Takeover): void {
  const { router, sockets, ready, from } = takeover;
  // Whoever reads it may have died at once.
  stdin.on("error", () => undefined);
  stdin.end(JSON.stringify({ format, router, ready, from, sockets: sockets.map(({ host, port }) => ({ host, port })) }));
}

/** Throws for a format of another version: the one who hands over goes on then. */
export async function readTakeover(stdin: Readable): Promise<Takeover> {
  const value = JSON.parse(await text(stdin)) as Takeover & { readonly format: number };
  if (value.format !== format) throw new Error(`a takeover of format ${String(value.format)} is not known here`);
  return value;
}

export function inheritSockets(takeover: Takeover, sockets: Sockets): void {
  for (const [index, address] of takeover.sockets.entries()) sockets.inherit(address, firstFile + index);
}
