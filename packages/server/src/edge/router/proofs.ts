// What a certificate authority is answered that asks whether a host leads here. Never anything but what the control plane gave for just that host and token.
import type { HostProof } from "../../engines/traffic.ts";

/** RFC 8555, 8.3. */
const folder = "/.well-known/acme-challenge/";

export class Proofs {
  readonly #now: () => number;
  #byToken: ReadonlyMap<string, HostProof> = new Map();

  /** `now`: unix ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  replace(proofs: readonly HostProof[]): void {
    this.#byToken = new Map(proofs.map((proof) => [proof.token, proof]));
  }

  /** undefined: nobody's question, or one for the component, which may get certificates of its own. */
  answerTo(method: string | undefined, host: string, path: string): string | undefined {
    if (this.#byToken.size === 0 || !path.startsWith(folder) || (method !== "GET" && method !== "HEAD")) return undefined;
    const proof = this.#byToken.get(path.slice(folder.length));
    return proof !== undefined && proof.host === host && proof.until > this.#now() ? proof.answer : undefined;
  }
}
