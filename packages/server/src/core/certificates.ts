// What a certificate says, and whether it can be used with its key. Pure; it never looks at a clock, and nothing here ever repeats a key.
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import type { NoteCode } from "@berth/contract/notes.ts";
import { BerthError } from "./errors.ts";

export interface CertificateFacts {
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case names that it covers, `*.` in front for all of one label; never empty. */
  readonly hosts: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the host's own certificate, in hex with colons, as other programs show it. */
  readonly fingerprint: string;
  /** Certificates in the chain. */
  readonly length: number;
  readonly selfSigned: boolean;
}

/** ms before its end from which a certificate is spoken of. */
export const expirySoon = 30 * 86_400_000;
const host = /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const mostInChain = 10;

/**
 * Reads a chain in PEM (the host's certificate first) and its key. Errors: `certificate_refused` when one of them cannot be read, the key is of another
 * certificate, the chain is out of order, no host is named, or it has expired.
 */
export function checkCertificate(chain: string, key: string, now: Date): CertificateFacts {
  const facts = readCertificate(chain, key);
  if (facts.notAfter <= now)
    refuse(`the certificate expired on ${facts.notAfter.toISOString()}`, "Ask who issued it for a new one, and give that.");
  return facts;
}

/** As `checkCertificate`, whatever the time. */
export function readCertificate(chain: string, key: string): CertificateFacts {
  const certificates = certificatesOf(chain);
  const [leaf] = certificates;
  if (leaf === undefined)
    refuse("there is no certificate in what was given", "Give a PEM file that begins with -----BEGIN CERTIFICATE-----.");
  const privateKey = keyOf(key);
  if (!leaf.checkPrivateKey(privateKey)) {
    const other = certificates.findIndex((one) => one.checkPrivateKey(privateKey));
    if (other > 0)
      refuse("the chain is out of order", "Put the host's own certificate first, then each one that issued the one before it.");
    refuse("the key is not of this certificate", "Give the key that the certificate was asked for with.");
  }
  certificates.slice(1).forEach((issuer, index) => {
    const before = certificates[index];
    if (before === undefined || (before.checkIssued(issuer) && before.verify(issuer.publicKey))) return;
    refuse(
      `certificate ${String(index + 2)} of the chain (${oneLine(issuer.subject)}) did not issue the one before it`,
      "Put the host's own certificate first, then each one that issued the one before it.",
    );
  });
  const hosts = hostsOf(leaf);
  if (hosts.length === 0)
    refuse("the certificate names no host", "Ask for one with its host names as subject alternative names; browsers look at nothing else.");
  const bits = privateKey.asymmetricKeyType === "rsa" ? privateKey.asymmetricKeyDetails?.modulusLength : undefined;
  if (bits !== undefined && bits < 2048)
    refuse(`its RSA key has only ${String(bits)} bits`, "Ask for a certificate with 2048 bits or more.");
  return {
    // Authorities leave the subject empty by now (RFC 9525 looks at the alternative names alone), and then Node.js has none.
    subject: oneLine(leaf.subject) || (hosts[0] ?? ""),
    issuer: oneLine(leaf.issuer),
    hosts,
    notBefore: new Date(leaf.validFrom),
    notAfter: new Date(leaf.validTo),
    fingerprint: leaf.fingerprint256,
    length: certificates.length,
    selfSigned: leaf.checkIssued(leaf),
  };
}

export interface CertificateNote {
  readonly code: NoteCode;
  readonly params: Readonly<Record<string, string>>;
}

/** ms before its end from which it is spoken of. One that renews itself should have been renewed at two thirds of its life. */
function soonFor(notBefore: Date, notAfter: Date, renews: boolean): number {
  return renews ? Math.min(expirySoon, (notAfter.getTime() - notBefore.getTime()) / 4) : expirySoon;
}

/** What is to be known of a certificate that is in use. `renews`: Berth got it by itself. */
export function certificateNotes(
  facts: Pick<CertificateFacts, "notBefore" | "notAfter" | "length" | "selfSigned"> & { readonly renews?: boolean },
  now: Date,
): CertificateNote[] {
  const notes: CertificateNote[] = [];
  const left = facts.notAfter.getTime() - now.getTime();
  const until = facts.notAfter.toISOString();
  if (left <= 0) notes.push({ code: "certificate_expired", params: { until } });
  else if (left < soonFor(facts.notBefore, facts.notAfter, facts.renews === true))
    notes.push({ code: "certificate_expires_soon", params: { until, days: String(Math.floor(left / 86_400_000)) } });
  if (facts.notBefore > now) notes.push({ code: "certificate_not_yet_valid", params: { from: facts.notBefore.toISOString() } });
  if (facts.selfSigned) notes.push({ code: "certificate_self_signed", params: {} });
  else if (facts.length === 1) notes.push({ code: "certificate_alone", params: {} });
  return notes;
}

/** Whether one of these names covers a host (RFC 6125, 6.4.3: a star stands for one label). A wildcard host is covered by the same wildcard only. */
export function covers(names: readonly string[], of: string): boolean {
  const dot = of.indexOf(".");
  return names.includes(of) || (dot > 0 && !of.startsWith("*.") && names.includes(`*${of.slice(dot)}`));
}

interface Serving {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly not_before: Date;
  readonly not_after: Date;
  /** Not null: Berth got it by itself. */
  readonly kept_by: string | null;
}

/** What is wrong with what these hosts are served with, as the router chooses it: an exact name before a wildcard, and of two the first. */
export function hostWarnings(hosts: readonly string[], certificates: readonly Serving[], now: Date): CertificateNote[] {
  return [...new Set(hosts)].flatMap((host): CertificateNote[] => {
    const serving = certificates.find((one) => one.hosts.includes(host)) ?? certificates.find((one) => covers(one.hosts, host));
    if (serving === undefined) return [];
    const left = serving.not_after.getTime() - now.getTime();
    if (left >= soonFor(serving.not_before, serving.not_after, serving.kept_by !== null)) return [];
    const params = { host, certificate: serving.name, until: serving.not_after.toISOString() };
    return left <= 0
      ? [{ code: "https_expired", params }]
      : [
          {
            code: serving.kept_by === null ? "https_expires_soon" : "https_not_renewed",
            params: { ...params, days: String(Math.floor(left / 86_400_000)) },
          },
        ];
  });
}

function certificatesOf(chain: string): X509Certificate[] {
  const blocks = chain.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g) ?? [];
  if (blocks.length > mostInChain)
    refuse(`the chain has ${String(blocks.length)} certificates`, "Give the host's own and those between it and its authority.");
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      return refuse(`certificate ${String(index + 1)} of the chain cannot be read`, "Give it in PEM, as it was issued.");
    }
  });
}

function keyOf(pem: string): KeyObject {
  if (/ENCRYPTED/.test(pem)) refuse("the key has a passphrase", "Take it off: `openssl pkey -in key.pem -out plain.pem`.");
  try {
    return createPrivateKey(pem);
  } catch {
    return refuse("the key cannot be read", "Give a PEM file that begins with -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY.");
  }
}

function hostsOf(leaf: X509Certificate): string[] {
  const names = (leaf.subjectAltName ?? "").split(", ").flatMap((part) => {
    const found = part.startsWith("DNS:") ? part.slice(4).toLowerCase() : "";
    return host.test(found) ? [found] : [];
  });
  return [...new Set(names)];
}

function oneLine(names: string | undefined): string {
  return (names ?? "").replace(/\n/g, ", ");
}

function refuse(reason: string, hint: string): never {
  throw new BerthError("certificate_refused", { reason, hint });
}
