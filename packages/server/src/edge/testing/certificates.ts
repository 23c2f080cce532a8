// Certificates for tests, written as DER by hand (RFC 5280): no tool has to be there, and each one can be wrong in just the way that a test needs.
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";

export interface TestCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly key: string;
  readonly subject: string;
  readonly privateKey: KeyObject;
}
export interface TestCertificateOptions {
  readonly hosts?: readonly string[];
  readonly subject?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Absent: signed by its own key. */
  readonly issuer?: TestCertificate;
  readonly isAuthority?: boolean;
  readonly key?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
}

const day = 86_400_000;

export function testCertificate(options: TestCertificateOptions = {}): TestCertificate {
  const { hosts = [], subject = hosts[0] ?? "test", issuer, isAuthority = false } = options;
  const { privateKey, publicKey } = options.key ?? generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(identifier("06082a8648ce3d040302"));
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    name(issuer?.subject ?? subject),
    sequence(time(options.notBefore ?? new Date(Date.now() - day)), time(options.notAfter ?? new Date(Date.now() + 90 * day))),
    name(subject),
    publicKey.export({ format: "der", type: "spki" }),
    tagged(0xa3, sequence(...extensions(hosts, isAuthority))),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const whole = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${(whole.toString("base64").match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    subject,
    privateKey,
  };
}

function extensions(hosts: readonly string[], isAuthority: boolean): Buffer[] {
  const all: Buffer[] = [];
  // basicConstraints
  if (isAuthority)
    all.push(sequence(identifier("0603551d13"), tagged(0x01, Buffer.from([0xff])), octets(sequence(tagged(0x01, Buffer.from([0xff]))))));
  // subjectAltName: dNSName is [2]
  if (hosts.length > 0)
    all.push(sequence(identifier("0603551d11"), octets(sequence(...hosts.map((host) => tagged(0x82, Buffer.from(host, "latin1")))))));
  if (all.length === 0) all.push(sequence(identifier("0603551d13"), octets(sequence())));
  return all;
}

function name(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(identifier("0603550403"), tagged(0x0c, Buffer.from(commonName, "utf8")))));
}

/** GeneralizedTime, in UTC. */
function time(at: Date): Buffer {
  return tagged(0x18, Buffer.from(`${at.toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`, "latin1"));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}
function octets(content: Buffer): Buffer {
  return tagged(0x04, content);
}
function integer(content: Buffer): Buffer {
  return tagged(0x02, content);
}
/** `hex`: the whole object identifier with its tag and length. */
function identifier(hex: string): Buffer {
  return Buffer.from(hex, "hex");
}
function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 128 ? Buffer.from([length]) : length < 256 ? Buffer.from([0x81, length]) : Buffer.from([0x82, length >> 8, length & 255]);
  return Buffer.concat([Buffer.from([tag]), size, content]);
}
