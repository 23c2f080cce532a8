// A certificate is taken only when clients can be served with it; what is wrong is said in words that a person can act on.
import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { testCertificate } from "../edge/testing/certificates.ts";
import { certificateNotes, checkCertificate, covers, hostWarnings, readCertificate } from "./certificates.ts";
import { BerthError } from "./errors.ts";

const now = new Date("2030-06-01T00:00:00Z");
const at = (days: number): Date => new Date(now.getTime() + days * 86_400_000);
const span = { notBefore: at(-10), notAfter: at(80) };
const root = testCertificate({ subject: "Root", isAuthority: true, ...span });
const middle = testCertificate({ subject: "Middle", isAuthority: true, issuer: root, ...span });
const leaf = testCertificate({ hosts: ["shop.example.org", "*.shop.example.org"], issuer: middle, ...span });
const chain = leaf.certificate + middle.certificate;

function reason(of: string, key: string): string {
  try {
    checkCertificate(of, key, now);
  } catch (error) {
    if (error instanceof BerthError && error.code === "certificate_refused") return String(error.params["reason"]);
    throw error;
  }
  return "taken";
}

describe("a certificate", () => {
  it("says whom it is for, until when, and who issued it", () => {
    expect(checkCertificate(chain, leaf.key, now)).toMatchObject({
      subject: "CN=shop.example.org",
      issuer: "CN=Middle",
      hosts: ["shop.example.org", "*.shop.example.org"],
      notBefore: span.notBefore,
      notAfter: span.notAfter,
      length: 2,
      selfSigned: false,
    });
    expect(reason(chain + root.certificate, leaf.key)).toBe("taken");
  });

  const expired = testCertificate({ hosts: ["a.test"], notBefore: at(-20), notAfter: at(-1) });
  const sealed = leaf.privateKey.export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "x" }).toString();
  const weak = testCertificate({ hosts: ["a.test"], key: generateKeyPairSync("rsa", { modulusLength: 1024 }), issuer: middle, ...span });
  it.each<[name: string, of: string, key: string, says: RegExp]>([
    ["of another key", chain, middle.key, /out of order/],
    ["of a key of nobody", chain, testCertificate().key, /key is not of this certificate/],
    ["out of order", middle.certificate + leaf.certificate, leaf.key, /out of order/],
    ["with a gap", leaf.certificate + root.certificate, leaf.key, /certificate 2 of the chain \(CN=Root\) did not issue/],
    ["without a host", root.certificate, root.key, /names no host/],
    ["that expired", expired.certificate, expired.key, /expired on 2030-05-31/],
    ["with a weak key", weak.certificate, weak.key, /only 1024 bits/],
    ["with a sealed key", chain, sealed, /passphrase/],
    ["with no key", chain, "hello", /key cannot be read/],
    ["that is none", "hello", leaf.key, /no certificate/],
    ["that is damaged", chain.replace(/\nM/, "\nA"), leaf.key, /certificate 1 of the chain cannot be read/],
  ])("%s is refused", (_name, of, key, says) => {
    expect(reason(of, key)).toMatch(says);
  });

  it("never has its key in what is said of it", () => {
    for (const [of, key] of [
      ["hello", leaf.key],
      [chain, middle.key],
      [chain, sealed],
    ] as const)
      expect(reason(of, key)).not.toContain(key.split("\n")[1]);
  });

  it("is spoken of when it is near its end, over it, early, or trusted by nobody", () => {
    const notes = (of: Parameters<typeof testCertificate>[0]): string[] => {
      const made = testCertificate({ hosts: ["a.test"], ...of });
      return certificateNotes(readCertificate(made.certificate, made.key), now).map(({ code }) => code);
    };
    expect(notes({ ...span })).toEqual(["certificate_self_signed"]);
    expect(notes({ ...span, issuer: middle })).toEqual(["certificate_alone"]);
    expect(notes({ notBefore: at(-1), notAfter: at(20), issuer: middle })).toEqual(["certificate_expires_soon", "certificate_alone"]);
    expect(notes({ notBefore: at(-2), notAfter: at(-1), issuer: middle })).toEqual(["certificate_expired", "certificate_alone"]);
    expect(notes({ notBefore: at(1), notAfter: at(80), issuer: middle })).toEqual(["certificate_not_yet_valid", "certificate_alone"]);
    expect(certificateNotes(readCertificate(chain, leaf.key), now)).toEqual([]);
  });

  it("covers its names, and one label for a star", () => {
    const names = ["example.org", "*.example.org"];
    for (const host of ["example.org", "a.example.org", "*.example.org"]) expect(covers(names, host), host).toBe(true);
    for (const host of ["a.b.example.org", "org", "*.b.example.org", "exampleXorg"]) expect(covers(names, host), host).toBe(false);
  });
});

describe("what a host is served with", () => {
  const serving = (name: string, hosts: readonly string[], days: number) => ({
    name,
    hosts,
    not_before: at(-60),
    not_after: at(days),
    kept_by: null as string | null,
  });
  const codes = (host: string, ...certificates: ReturnType<typeof serving>[]): string[] =>
    hostWarnings([host, host], certificates, now).map(({ code, params }) => `${code} ${params["certificate"] ?? ""}`);

  it("is spoken of from 30 days before it ends, and not when another one serves the host", () => {
    expect(codes("a.test", serving("x", ["a.test"], 31))).toEqual([]);
    expect(codes("a.test", serving("x", ["a.test"], 29))).toEqual(["https_expires_soon x"]);
    expect(codes("a.test", serving("x", ["a.test"], -1))).toEqual(["https_expired x"]);
    expect(codes("a.test", serving("x", ["b.test"], -1))).toEqual([]);
    // As the router: an exact name before a wildcard, and of two the first.
    expect(codes("www.a.test", serving("star", ["*.a.test"], -1), serving("exact", ["www.a.test"], 90))).toEqual([]);
    expect(codes("www.a.test", serving("old", ["www.a.test"], 3), serving("new", ["www.a.test"], 90))).toEqual(["https_expires_soon old"]);
  });
});
