// The certificates and keys that a kubeconfig carries: whether they are what they should be. Pure, and nothing here ever repeats a key.
import { createPrivateKey, X509Certificate } from "node:crypto";

export type Pem = { readonly text: string } | { readonly reason: string; readonly hint: string };

/** As many as the machines of the world trust, and some. */
const mostAuthorities = 300;
const asIssued = "Give it in PEM, as it was issued, in base64.";

/** One certificate or more, and nothing else. */
export function readAuthorities(text: string): Pem {
  return readCertificates(text, mostAuthorities);
}

/** A client's own certificate, and those between it and its authority. */
export function readCertificate(text: string): Pem {
  return readCertificates(text, 10);
}

/** A private key without a passphrase. */
export function readKey(text: string): Pem {
  const label = /-----BEGIN ((?:[A-Z]{1,10} )?PRIVATE KEY)-----/.exec(text)?.[1] ?? "PRIVATE KEY";
  const [block] = blocksOf(text, label);
  if (block === undefined) return { reason: "is no private key", hint: asIssued };
  if (/ENCRYPTED/.test(block)) return { reason: "has a passphrase", hint: "Take it off: `openssl pkey -in key.pem -out plain.pem`." };
  try {
    createPrivateKey(block);
  } catch {
    return { reason: "cannot be read", hint: asIssued };
  }
  return { text: `${block}\n` };
}

/** Whether a certificate and a key that were both read do not belong together. */
export function isAlone(certificate: string, key: string): boolean {
  try {
    return !new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    // Of two kinds, such as RSA and EC.
    return true;
  }
}

function readCertificates(text: string, most: number): Pem {
  const blocks = blocksOf(text, "CERTIFICATE");
  if (blocks.length === 0) return { reason: "is no certificate", hint: asIssued };
  if (blocks.length > most) return { reason: `has ${String(blocks.length)} certificates`, hint: `Give at most ${String(most)}.` };
  for (const [index, block] of blocks.entries()) {
    if (!isCertificate(block)) {
      return { reason: `has a certificate that cannot be read (number ${String(index + 1)})`, hint: asIssued };
    }
  }
  return { text: `${blocks.join("\n")}\n` };
}

/** In one pass, whatever the text: a pattern would begin anew at each beginning that has no end. */
function blocksOf(text: string, label: string): string[] {
  const [begin, end] = [`-----BEGIN ${label}-----`, `-----END ${label}-----`];
  const blocks: string[] = [];
  for (let from = text.indexOf(begin); from >= 0; from = text.indexOf(begin, from)) {
    const to = text.indexOf(end, from);
    if (to < 0) break;
    blocks.push(text.slice(from, to + end.length));
    from = to + end.length;
  }
  return blocks;
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block).raw.length > 0;
  } catch {
    return false;
  }
}
