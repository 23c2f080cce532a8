// The certificates that HTTPS is served with: on disk for its owner alone, so that the edge starts without the control plane (promise 2), and in force in every
// router before they are acknowledged. Keys never go into a log or an answer.
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { readCertificate } from "../../core/certificates.ts";
import { BerthError } from "../../core/errors.ts";
import type { Fence } from "../../engines/engine.ts";
import { writeDurably } from "../../os/files.ts";
import type { EdgeCertificate, Hello, TlsOrders } from "../ipc.ts";
import { secureContextOptions } from "../router/certificates.ts";
import type { Address } from "./sockets.ts";
import { compareFences } from "./store.ts";

type Given = Omit<EdgeCertificate, "hosts">;
interface Stored {
  readonly fence: Fence;
  readonly certificates: readonly Given[];
}

export interface HeldCertificatesDeps {
  readonly file: string;
  readonly installation: string;
  /** Chooses where to listen; throws with a sentence when it cannot be there. */
  readonly address: () => Promise<Address>;
  readonly secure: (orders: TlsOrders) => Promise<void>;
  /** The newest that the edge has seen. */
  readonly epoch: () => number;
}

export class HeldCertificates {
  readonly #deps: HeldCertificatesDeps;
  #stored: Stored;
  #certificates: readonly EdgeCertificate[] = [];
  /** Hosts that every router has been told of, and still is: an address is shown from when it answers. */
  #served: readonly string[] = [];
  #address: Address | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** Why HTTPS has no address. */
  problem: string | undefined;

  private constructor(deps: HeldCertificatesDeps, stored: Stored) {
    this.#deps = deps;
    this.#stored = stored;
  }

  /** With what is on disk. A file that cannot be used is an edge without HTTPS, not one that does not start. */
  static async open(deps: HeldCertificatesDeps): Promise<HeldCertificates> {
    const nothing: Stored = { fence: { installation: deps.installation, epoch: 0, generation: 0 }, certificates: [] };
    const text = await readFile(deps.file, "utf8").catch(() => undefined);
    const held = new HeldCertificates(deps, nothing);
    if (text === undefined) return held;
    try {
      const stored = JSON.parse(text) as Stored;
      held.#certificates = checked(stored.certificates);
      held.#stored = stored;
      await held.#choose();
      // No router starts without its orders.
      if (held.#address !== undefined) held.#served = hostsOf(held.#certificates);
    } catch (error) {
      held.problem = `${deps.file} cannot be used: ${error instanceof Error ? error.message : String(error)}`;
    }
    return held;
  }

  /** What a router that starts has to know; undefined: nothing about HTTPS. */
  get orders(): TlsOrders | undefined {
    return this.#address === undefined || this.#certificates.length === 0
      ? undefined
      : { address: this.#address, certificates: this.#certificates };
  }

  /** For `hello`. */
  state(routers: string | undefined): Pick<Hello, "https"> {
    const problem = this.problem ?? routers;
    const address = this.#address ?? { host: "", port: 0 };
    if (this.#certificates.length === 0 || (this.#served.length === 0 && problem === undefined)) return {};
    return { https: { ...address, hosts: this.#served, ...(problem === undefined ? {} : { problem }) } };
  }

  /** Takes the place of all there were. Errors: `stale_generation`, `wrong_state` (another installation), `certificate_refused`. */
  put(fence: Fence, given: readonly Given[]): Promise<void> {
    return this.#serially(async () => {
      if (fence.installation !== this.#deps.installation)
        throw new BerthError("wrong_state", {
          verb: "This change",
          reason: "the edge belongs to another installation",
          hint: "`berth doctor` shows which edge answers here.",
        });
      if (fence.epoch < this.#deps.epoch() || compareFences(fence, this.#stored.fence) < 0)
        throw new BerthError("stale_generation", { seen: this.#stored.fence.generation, given: fence.generation });
      const certificates = given.flatMap((one) => (one.key === "" ? this.#held(one) : [one]));
      const next = checked(certificates);
      const stored = { fence, certificates };
      await writeDurably(this.#deps.file, JSON.stringify(stored));
      this.#stored = stored;
      this.#certificates = next;
      const hosts = new Set(hostsOf(next));
      this.#served = this.#served.filter((host) => hosts.has(host));
      await this.#choose();
      await this.#tell();
    });
  }

  /** The control plane lost the key of this one: it is not taken from those that it is served to. */
  #held({ name, chain, isDefault }: Given): Given[] {
    return this.#stored.certificates.filter((one) => one.name === name && one.chain === chain).map((one) => ({ ...one, isDefault }));
  }

  /** Tries again to find an address. */
  async retry(): Promise<void> {
    if (this.#address !== undefined || this.#certificates.length === 0) return;
    await this.#serially(async () => {
      await this.#choose();
      await this.#tell();
    });
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #serially(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #choose(): Promise<void> {
    if (this.#certificates.length === 0 || this.#address !== undefined) return;
    try {
      this.#address = await this.#deps.address();
      this.problem = undefined;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  async #tell(): Promise<void> {
    if (this.#address === undefined) return;
    await this.#deps.secure({ address: this.#address, certificates: this.#certificates });
    this.#served = hostsOf(this.#certificates);
  }
}

function hostsOf(certificates: readonly EdgeCertificate[]): string[] {
  return certificates.flatMap(({ hosts }) => hosts);
}

/** Every one can be used, or none is taken. */
function checked(certificates: readonly Given[]): EdgeCertificate[] {
  return certificates.map((given) => {
    const { hosts } = readCertificate(given.chain, given.key);
    createSecureContext(secureContextOptions(given));
    return { name: given.name, chain: given.chain, key: given.key, isDefault: given.isDefault, hosts };
  });
}
