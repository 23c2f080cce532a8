// Asks DNS once which addresses a host has, judges them, and hands them on to be used: so that what was judged is what is connected to.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { refusedAddress, refusedHost, type EgressRules } from "../../core/egress.ts";
import { BerthError } from "../../core/errors.ts";

/** The addresses at which a host may be reached. Throws `source_refused` when one of them is out of bounds. An empty list: the name does not resolve. */
export type CheckHost = (host: string) => Promise<readonly string[]>;

export function createCheckHost(rules: EgressRules, resolve: (host: string) => Promise<readonly string[]> = resolveAll): CheckHost {
  return async (host) => {
    const name = host.replace(/^\[|\]$/g, "");
    refuse(refusedHost(name, rules));
    const addresses = isIP(name) === 0 ? await resolve(name) : [name];
    for (const address of addresses) refuse(refusedAddress(address, rules));
    return addresses;
  };
}

function refuse(reason: string | undefined): void {
  if (reason !== undefined)
    throw new BerthError("source_refused", {
      reason,
      hint: "Berth connects to other machines only; an operator can allow loopback addresses in the server's configuration.",
    });
}

async function resolveAll(host: string): Promise<readonly string[]> {
  try {
    return (await lookup(host, { all: true, verbatim: true })).map((entry) => entry.address);
  } catch (error) {
    // An unknown name is for git to report, in its own words.
    if (error instanceof Error && "code" in error && (error.code === "ENOTFOUND" || error.code === "EAI_AGAIN" || error.code === "ENODATA"))
      return [];
    throw error;
  }
}
