// Which certificate a TLS client is shown: by the name it asks for (SNI), exact, then wildcard, then the standard one. A new set is for new connections; those
// that are open keep what they were shown, so that a change never closes one.
import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type TlsOptions } from "node:tls";
import type { EdgeCertificate } from "../ipc.ts";

/** TLS 1.2 with forward secrecy and authenticated encryption only, and TLS 1.3. */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
const minVersion = "TLSv1.2";

/** What every certificate is used with. Throws when chain and key do not fit. */
export function secureContextOptions({ chain, key }: Pick<EdgeCertificate, "chain" | "key">) {
  return { cert: chain, key, ciphers, minVersion, secureOptions: constants.SSL_OP_NO_RENEGOTIATION } as const;
}

interface Held {
  readonly chain: string;
  readonly key: string;
  readonly context: SecureContext;
}

export class Certificates {
  #exact = new Map<string, SecureContext>();
  #wildcard = new Map<string, SecureContext>();
  #standard: EdgeCertificate | undefined;
  #contexts = new Map<string, Held>();

  /** For clients that name no host, or one that nothing covers. */
  get standard(): EdgeCertificate | undefined {
    return this.#standard;
  }

  /** Takes the place of all there were. The first certificate that covers a name has it. */
  replace(certificates: readonly EdgeCertificate[]): void {
    const contexts = new Map<string, Held>();
    const exact = new Map<string, SecureContext>();
    const wildcard = new Map<string, SecureContext>();
    for (const certificate of certificates) {
      const { name, chain, key, hosts } = certificate;
      const known = this.#contexts.get(name);
      const context = known?.chain === chain && known.key === key ? known.context : createSecureContext(secureContextOptions(certificate));
      contexts.set(name, { chain, key, context });
      for (const host of hosts) {
        const map = host.startsWith("*.") ? wildcard : exact;
        const label = host.startsWith("*.") ? host.slice(1) : host;
        if (!map.has(label)) map.set(label, context);
      }
    }
    this.#contexts = contexts;
    this.#exact = exact;
    this.#wildcard = wildcard;
    this.#standard = certificates.find(({ isDefault }) => isDefault) ?? certificates[0];
  }

  covers(host: string): boolean {
    return this.#find(host) !== undefined;
  }

  /** For a TLS server. */
  readonly options = (): TlsOptions => ({
    ...(this.#standard === undefined ? {} : secureContextOptions(this.#standard)),
    handshakeTimeout,
    ALPNProtocols: ["h2", "http/1.1"],
    SNICallback: (name, done) => {
      // undefined: the server's own, which is the standard one.
      done(null, this.#find(name.toLowerCase()));
    },
  });

  #find(host: string): SecureContext | undefined {
    const exact = this.#exact.get(host);
    if (exact !== undefined || this.#wildcard.size === 0) return exact;
    const dot = host.indexOf(".");
    return dot > 0 ? this.#wildcard.get(host.slice(dot)) : undefined;
  }
}

/** ms for a client to end its handshake. */
const handshakeTimeout = 10_000;
