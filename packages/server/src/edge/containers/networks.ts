// A network for each stack, and the addresses on it: Berth gives them out itself, so that an instance that is started again is found where it was.
import { Turns } from "../agent/turns.ts";
import { isIPv4 } from "node:net";
import { overlap, subnetsIn, toNumber, toText, type NetworkPool, type Subnet } from "../../core/pool.ts";
import { DockerError, isNameTaken } from "../../docker/errors.ts";
import { networkName } from "../../engines/docker/container.ts";
import { label } from "../../engines/docker/labels.ts";
import type { Daemon, Network } from "./daemon.ts";

/** Addresses at the beginning of each network that are nobody's: the gateway's, the edge's and some to spare. */
const reserved = 10;

export class Networks {
  readonly #daemon: Daemon;
  readonly #pool: NetworkPool;
  readonly #turns = new Turns();
  /** Stack id -> its network's addresses. */
  readonly #known = new Map<string, Subnet>();
  /** Address -> who has it. */
  readonly #taken = new Map<string, string>();
  /** Stack id -> the address that was given last: one that was given back rests as long as possible, since others may still remember whose it was. */
  readonly #last = new Map<string, number>();

  constructor(daemon: Daemon, pool: NetworkPool) {
    this.#daemon = daemon;
    this.#pool = pool;
  }

  /** Makes the stack's network if there is none. Throws DockerError, or an Error when the pool is used up. */
  open(stackId: string, stack: string): Promise<void> {
    // Its components come at the same moment, and stacks must not reach for the same part of the pool.
    return this.#known.has(stackId) ? Promise.resolve() : this.#turns.take("open", () => this.#make(stackId, stack));
  }

  async #make(stackId: string, stack: string): Promise<void> {
    const name = networkName(this.#daemon.installation, stackId);
    if (this.#known.has(stackId)) return;
    const all = await this.#daemon.networks();
    const own = all.find((one) => one.Name === name);
    if (own !== undefined) return this.#note(stackId, own);
    const labels = { [label.installation]: this.#daemon.installation, [label.stackId]: stackId, [label.stack]: stack };
    const used = all.flatMap((one) => subnetsOf(one));
    for (const subnet of subnetsIn(this.#pool)) {
      if (used.some((one) => overlap(one, subnet))) continue;
      const own = this.#networkIn(subnet);
      try {
        await this.#daemon.createNetwork({
          Name: name,
          CheckDuplicate: true,
          Driver: this.#daemon.networkKind,
          ...(this.#daemon.networkKind === "overlay" ? { Attachable: true } : {}),
          Labels: labels,
          IPAM: {
            Driver: "default",
            Config: [{ Subnet: `${toText(own.first)}/${String(32 - Math.log2(own.count))}`, Gateway: toText(own.first + 1) }],
          },
        });
      } catch (error) {
        // Another installation was quicker, or the machine itself uses that part.
        if (
          error instanceof DockerError &&
          /overlap|already used|already in use|subnet .* is used/i.test(error.message) &&
          !isNameTaken(error)
        )
          continue;
        throw error;
      }
      this.#known.set(stackId, subnet);
      return;
    }
    throw new Error(`all networks of ${this.#pool.base} are in use`);
  }

  #note(stackId: string, network: Network): void {
    const [subnet] = subnetsOf(network);
    if (subnet === undefined) throw new Error(`network ${network.Name} has no IPv4 addresses`);
    this.#known.set(stackId, this.#rangeOf(subnet));
  }

  /** Of a stack's range, what its network itself has: all of it, or a quarter where addresses that stay are other ones than those of containers. */
  #networkIn({ first, count }: Subnet): Subnet {
    return this.#daemon.networkKind === "overlay" ? { first: first + count / 4, count: count / 4 } : { first, count };
  }

  #rangeOf({ first, count }: Subnet): Subnet {
    return this.#daemon.networkKind === "overlay" ? { first: first - count, count: count * 4 } : { first, count };
  }

  /** The upper half of a stack's network, as a range. */
  doors(stackId: string): string {
    const subnet = this.#subnet(stackId);
    return `${toText(subnet.first + subnet.count / 2)}/${String(32 - Math.log2(subnet.count / 2))}`;
  }

  /** One of it. Throws an Error when there are not so many. */
  doorAddress(stackId: string, place: number): string {
    const subnet = this.#subnet(stackId);
    // The last one is the broadcast's.
    if (place >= subnet.count / 2 - 1)
      throw new Error(`the stack's network has no room for more than ${String(subnet.count / 2 - 2)} components`);
    return toText(subnet.first + subnet.count / 2 + place);
  }

  #subnet(stackId: string): Subnet {
    const subnet = this.#known.get(stackId);
    if (subnet === undefined) throw new Error(`stack ${stackId} has no network yet`);
    return subnet;
  }

  /** An address that nobody has, until it is released. */
  take(stackId: string, owner: string): string {
    const subnet = this.#subnet(stackId);
    // The upper half is for the names of components.
    const count = Math.floor(subnet.count / (this.#daemon.networkKind === "overlay" ? 4 : 2)) - reserved;
    const begin = this.#last.get(stackId) ?? -1;
    for (let step = 1; step <= count; step += 1) {
      const index = (begin + step) % count;
      const address = toText(subnet.first + reserved + index);
      if (this.#taken.has(address)) continue;
      this.#last.set(stackId, index);
      this.#taken.set(address, owner);
      return address;
    }
    throw new Error(`all ${String(count)} addresses of the stack's network are in use`);
  }

  /** One that was found with its container. */
  keep(address: string, owner: string): void {
    this.#taken.set(address, owner);
  }

  release(owner: string): void {
    for (const [address, one] of this.#taken) if (one === owner) this.#taken.delete(address);
  }

  /** See `Daemon.openDoor`. */
  openDoor(of: { readonly stackId: string; readonly stack: string; readonly component: string }, address: string): Promise<void> {
    return this.#daemon.openDoor(of, address);
  }

  /** Absent = success. */
  async remove(stackId: string): Promise<void> {
    await this.#daemon.clearNetwork(stackId);
    await this.#daemon.removeNetwork(networkName(this.#daemon.installation, stackId));
    this.#known.delete(stackId);
    this.#last.delete(stackId);
  }
}

function subnetsOf(network: Network): Subnet[] {
  return (network.IPAM.Config ?? []).flatMap(({ Subnet = "" }) => {
    const [base = "", length = ""] = Subnet.split("/");
    return isIPv4(base) ? [{ first: toNumber(base), count: 2 ** (32 - Number(length)) }] : [];
  });
}
