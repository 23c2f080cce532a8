// Kubeconfigs as people and attackers hand them in: what is taken, and that everything else is refused in words, without an exception and without a secret in them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { testCertificate } from "../edge/testing/certificates.ts";
import type { KubeconfigCode } from "./kubeconfig-file.ts";
import { readKubeconfig, type KubeconfigOptions } from "./kubeconfig.ts";

const authority = testCertificate({ subject: "test authority", isAuthority: true });
const client = testCertificate({ subject: "client", issuer: authority });
const other = testCertificate({ subject: "other", issuer: authority });
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const token = "eyJhbGciOi.secret-token.abc";

type Entry = Record<string, unknown>;
const cluster: Entry = { server: "https://10.0.0.1:6443", "certificate-authority-data": base64(authority.certificate) };
const user: Entry = { "client-certificate-data": base64(client.certificate), "client-key-data": base64(client.key) };

function config({
  inCluster = {},
  inUser = {},
  inContext = {},
  top = {},
}: { inCluster?: Entry; inUser?: Entry; inContext?: Entry; top?: Entry } = {}): Entry {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "main",
    clusters: [{ name: "prod", cluster: { ...cluster, ...inCluster } }],
    contexts: [{ name: "main", context: { cluster: "prod", user: "admin", ...inContext } }],
    users: [{ name: "admin", user: { ...user, ...inUser } }],
    preferences: {},
    ...top,
  };
}

const withToken: Entry = { "client-certificate-data": null, "client-key-data": null, token };

function taken(
  file: Entry | string,
  options?: KubeconfigOptions,
): NonNullable<Extract<ReturnType<typeof readKubeconfig>, { config: unknown }>["config"]> {
  const read = readKubeconfig(typeof file === "string" ? file : stringify(file), options);
  if ("refusal" in read) throw new Error(`refused: ${read.refusal.reason}`);
  return read.config;
}

describe("what is taken", () => {
  it("takes a client certificate", () => {
    expect(taken(config())).toEqual({
      access: {
        server: "https://10.0.0.1:6443",
        ca: authority.certificate,
        auth: { kind: "certificate", cert: client.certificate, key: client.key },
      },
      context: "main",
      user: "admin",
    });
  });

  it("takes a token, as YAML and as JSON", () => {
    const file = config({ inUser: withToken, inContext: { namespace: "shop" } });
    for (const text of [stringify(file), JSON.stringify(file)])
      expect(taken(text)).toMatchObject({ access: { auth: { kind: "token", token } }, namespace: "shop" });
  });

  it("keeps the server's own path, and leaves the slash at its end out", () => {
    const server = (given: string): string => taken(config({ inCluster: { server: given } })).access.server;
    expect(server("https://rancher.example/k8s/clusters/c-1/")).toBe("https://rancher.example/k8s/clusters/c-1");
    expect(server("https://HOST.example:443/")).toBe("https://host.example");
    expect(server("https://[fd00::1]:6443")).toBe("https://[fd00::1]:6443");
    expect(server("http://127.0.0.1:8001")).toBe("http://127.0.0.1:8001");
  });

  it("takes another context than the current one", () => {
    const file = config();
    (file["contexts"] as Entry[]).push({ name: "second", context: { cluster: "prod", user: "second" } });
    (file["users"] as Entry[]).push({ name: "second", user: { token } });
    expect(taken(file, { context: "second" })).toMatchObject({ context: "second", user: "second", access: { auth: { kind: "token" } } });
  });

  it("keeps tls-server-name, and several authorities", () => {
    const two = base64(`# first\n${authority.certificate}# second\n${other.certificate}`);
    const { access } = taken(config({ inCluster: { "tls-server-name": "kubernetes.default.svc", "certificate-authority-data": two } }));
    expect(access).toMatchObject({ serverName: "kubernetes.default.svc", ca: authority.certificate + other.certificate });
  });

  it("believes whoever answers only when that is allowed", () => {
    const file = config({ inCluster: { "certificate-authority-data": "", "insecure-skip-tls-verify": true } });
    expect(readKubeconfig(stringify(file))).toMatchObject({ refusal: { code: "insecure" } });
    expect(taken(file, { allowInsecure: true }).access.insecure).toBe(true);
    expect(taken(config({ inCluster: { "insecure-skip-tls-verify": false } })).access).not.toHaveProperty("insecure");
  });

  it("reads base64 that is broken into lines", () => {
    const broken = base64(authority.certificate).replace(/.{60}/g, "$&\n");
    expect(taken(config({ inCluster: { "certificate-authority-data": broken } })).access.ca).toBe(authority.certificate);
  });

  it("looks only at the context that is wanted: others may be broken", () => {
    const file = config();
    (file["users"] as unknown[]).push({ name: "x", user: { exec: { command: "sh" } } }, null, 7, { name: "y" });
    expect(taken(file).user).toBe("admin");
  });
});

const certificateOnly = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";

/** What is handed in, what it is refused as, and a word that the sentence or its hint must have. */
const refused: readonly (readonly [what: string, file: unknown, code: KubeconfigCode, word: string, options?: KubeconfigOptions])[] = [
  ["nothing", "", "not_a_kubeconfig", "Config"],
  ["null", "null", "not_a_kubeconfig", "Config"],
  ["a list", "[1, 2]", "not_a_kubeconfig", "Config"],
  ["a word", "hello", "not_a_kubeconfig", "Config"],
  ["no YAML", "a: [1\nb: {", "not_yaml", "line"],
  ["bytes", "\u0000\u0001\uffff", "not_a_kubeconfig", "Config"],
  ["two documents", "kind: Config\n---\nkind: Config\n", "not_yaml", "line"],
  ["brackets without an end", "[".repeat(200_000), "not_yaml", "deeply"],
  ["dashes without an end", "- ".repeat(200_000), "not_yaml", "deeply"],
  [
    "an indent without an end",
    Array.from({ length: 700 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"),
    "not_a_kubeconfig",
    "clusters",
  ],
  ["a very long one", `a: ${"x".repeat(600_000)}`, "too_large", "characters"],
  [
    "a bomb of aliases",
    `a: &a [1,1,1,1,1,1,1,1,1]\n${"bcdefghij"
      .split("")
      .map(
        (c, i) =>
          `${c}: &${c} [${Array(9)
            .fill(`*${"abcdefghij"[i] ?? "a"}`)
            .join(",")}]`,
      )
      .join("\n")}`,
    "not_yaml",
    "refers to itself",
  ],
  ["another kind", { apiVersion: "v1", kind: "Secret", clusters: [] }, "not_a_kubeconfig", "Secret"],
  ["a kind that is no text", { apiVersion: "v1", kind: { a: 1 }, clusters: [] }, "not_a_kubeconfig", "kind"],
  ["another version", { apiVersion: "v2", kind: "Config", clusters: [] }, "not_a_kubeconfig", "v1"],
  ["a Compose file", { services: { web: { image: "nginx" } } }, "not_a_kubeconfig", "clusters"],
  ["no current context", config({ top: { "current-context": "" } }), "no_context", "main"],
  ["a current context that is a number", config({ top: { "current-context": 7 } }), "bad_value", "current-context"],
  ["a context that is not there", config({ top: { "current-context": "gone" } }), "unknown_context", "gone"],
  ["a wanted context that is not there", config(), "unknown_context", "main", { context: "gone" }],
  ["a context named __proto__", config(), "unknown_context", "__proto__", { context: "__proto__" }],
  ["no contexts", config({ top: { contexts: null } }), "unknown_context", "none"],
  ["contexts that are no list", config({ top: { contexts: { main: {} } } }), "unknown_context", "none"],
  [
    "two contexts of one name",
    config({ top: { contexts: [1, 2].map(() => ({ name: "main", context: { cluster: "prod", user: "admin" } })) } }),
    "ambiguous",
    "main",
  ],
  ["a context without a cluster", config({ inContext: { cluster: "" } }), "unknown_cluster", "main"],
  ["a context without a user", config({ inContext: { user: null } }), "unknown_user", "main"],
  ["a cluster that is not there", config({ inContext: { cluster: "gone" } }), "unknown_cluster", "prod"],
  ["a user that is not there", config({ inContext: { user: "gone" } }), "unknown_user", "admin"],
  ["an empty cluster", config({ top: { clusters: [{ name: "prod" }] } }), "bad_value", "prod"],
  ["an authority's file", config({ inCluster: { "certificate-authority": "/etc/shadow" } }), "names_a_file", "certificate-authority"],
  ["a certificate's file", config({ inUser: { "client-certificate": "/etc/shadow" } }), "names_a_file", "client-certificate"],
  ["a key's file", config({ inUser: { "client-key": "/etc/shadow" } }), "names_a_file", "client-key"],
  ["a token's file", config({ inUser: { tokenFile: "/var/run/secrets/token" } }), "names_a_file", "tokenFile"],
  [
    "a plugin",
    config({ inUser: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/sh" } } }),
    "runs_a_program",
    "exec",
  ],
  ["an empty plugin", config({ inUser: { exec: {} } }), "runs_a_program", "exec"],
  ["an auth-provider", config({ inUser: { "auth-provider": { name: "gcp" } } }), "not_supported", "auth-provider"],
  ["a proxy", config({ inCluster: { "proxy-url": "socks5://127.0.0.1:1080" } }), "not_supported", "proxy-url"],
  ["another user's name", config({ inUser: { as: "system:admin" } }), "not_supported", "(as)"],
  ["other groups", config({ inUser: { "as-groups": ["system:masters"] } }), "not_supported", "as-groups"],
  ["another uid", config({ inUser: { "as-uid": "1" } }), "not_supported", "as-uid"],
  ["extras of another user", config({ inUser: { "as-user-extra": { a: ["b"] } } }), "not_supported", "as-user-extra"],
  ["a password", config({ inUser: { username: "admin", password: "secret-token" } }), "not_supported", "password"],
  ["no server", config({ inCluster: { server: "" } }), "bad_server", "prod"],
  ["a server that is a number", config({ inCluster: { server: 6443 } }), "bad_value", "server"],
  ["a server without TLS", config({ inCluster: { server: "http://10.0.0.1:8080" } }), "bad_server", "TLS"],
  ["a server that looks like this machine", config({ inCluster: { server: "http://127.0.0.1.example.com" } }), "bad_server", "TLS"],
  ["a server that is a file", config({ inCluster: { server: "file:///etc/passwd" } }), "bad_server", "HTTPS"],
  ["a server that is a socket", config({ inCluster: { server: "unix:///run/x" } }), "bad_server", "HTTPS"],
  ["a server with a password", config({ inCluster: { server: "https://a:b@host" } }), "bad_server", "more than"],
  ["a server with a query", config({ inCluster: { server: "https://host?x=1" } }), "bad_server", "more than"],
  ["a server that is no address", config({ inCluster: { server: "https://" } }), "bad_server", "HTTPS"],
  ["a server's name that is none", config({ inCluster: { "tls-server-name": "a\r\nb" } }), "bad_value", "tls-server-name"],
  [
    "an insecure server with its authority",
    config({ inCluster: { "insecure-skip-tls-verify": true } }),
    "insecure",
    "authority",
    { allowInsecure: true },
  ],
  ["insecure in words", config({ inCluster: { "insecure-skip-tls-verify": "yes" } }), "bad_value", "insecure-skip-tls-verify"],
  ["an authority that is no base64", config({ inCluster: { "certificate-authority-data": "-----BEGIN" } }), "bad_value", "base64"],
  [
    "an authority that is no text",
    config({ inCluster: { "certificate-authority-data": ["a"] } }),
    "bad_value",
    "certificate-authority-data",
  ],
  [
    "an authority that is no PEM",
    config({ inCluster: { "certificate-authority-data": base64("hello") } }),
    "bad_certificate",
    "no certificate",
  ],
  [
    "an authority that is a broken PEM",
    config({ inCluster: { "certificate-authority-data": base64(certificateOnly) } }),
    "bad_certificate",
    "number 1",
  ],
  [
    "beginnings without an end",
    config({ inCluster: { "certificate-authority-data": base64("-----BEGIN CERTIFICATE-----".repeat(12_000)) } }),
    "bad_certificate",
    "no certificate",
  ],
  [
    "more authorities than there are",
    config({ inCluster: { "certificate-authority-data": base64(certificateOnly.repeat(1_000)) } }),
    "bad_certificate",
    "1000",
  ],
  [
    "a certificate that is a key",
    config({ inUser: { "client-certificate-data": base64(client.key) } }),
    "bad_certificate",
    "client-certificate-data",
  ],
  ["a key that is a certificate", config({ inUser: { "client-key-data": base64(client.certificate) } }), "bad_key", "client-key-data"],
  ["a key with a passphrase", config({ inUser: { "client-key-data": base64(encrypted) } }), "bad_key", "passphrase"],
  [
    "a key that is broken",
    config({ inUser: { "client-key-data": base64("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----") } }),
    "bad_key",
    "cannot be read",
  ],
  ["the key of another certificate", config({ inUser: { "client-key-data": base64(other.key) } }), "key_mismatch", "not the key"],
  ["a certificate without its key", config({ inUser: { "client-key-data": "" } }), "no_credentials", "without its key"],
  ["a key without its certificate", config({ inUser: { "client-certificate-data": null } }), "no_credentials", "without its certificate"],
  ["no credentials", config({ top: { users: [{ name: "admin", user: {} }] } }), "no_credentials", "admin"],
  ["a token with a header in it", config({ inUser: { ...withToken, token: "a\r\nImpersonate-User: root" } }), "bad_value", "token"],
  ["a token that is a number", config({ inUser: { ...withToken, token: 12345 } }), "bad_value", "token"],
];

describe("what is refused", () => {
  it.each(refused.map(([what, ...rest]) => ({ what, rest })))("$what", ({ rest: [file, code, word, options] }) => {
    // Processor time, since the machine may be busy with other tests.
    const began = process.cpuUsage();
    const read = readKubeconfig(typeof file === "string" ? file : stringify(file), options);
    expect(read).toMatchObject({ refusal: { code } });
    if (!("refusal" in read)) return;
    const { reason, hint } = read.refusal;
    expect(`${reason} ${hint}`).toContain(word);
    expect(hint).not.toBe("");
    for (const secret of ["PRIVATE KEY", "secret-token", base64(client.key).slice(0, 40)])
      expect(`${reason} ${hint}`).not.toContain(secret);
    expect(process.cpuUsage(began).user / 1000).toBeLessThan(2_000);
  });

  it("repeats nothing of a file that is no YAML", () => {
    const broken = stringify(config({ inUser: withToken })).replace(`token: ${token}`, `token: "${token}" secret-token: [`);
    const read = readKubeconfig(broken);
    expect(read).toMatchObject({ refusal: { code: "not_yaml" } });
    expect(JSON.stringify(read)).not.toContain("secret-token");
  });

  it("never throws, whatever becomes of a good file", () => {
    const text = stringify(config({ inUser: withToken }));
    const edit = fc.tuple(fc.nat(text.length), fc.nat(40), fc.string({ maxLength: 12 }));
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        let broken = text;
        for (const [at, length, put] of edits) broken = broken.slice(0, at) + put + broken.slice(at + length);
        const read = readKubeconfig(broken);
        expect("config" in read || read.refusal.reason !== "").toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("never throws, whatever stands in a field", () => {
    const anything = fc.anything({ maxDepth: 2 });
    fc.assert(
      fc.property(fc.constantFrom("inCluster", "inUser", "inContext", "top"), fc.string(), anything, (part, field, value) => {
        const names: Record<string, string[]> = {
          inCluster: Object.keys(cluster),
          inUser: Object.keys(user),
          inContext: ["cluster", "user", "namespace"],
          top: ["clusters", "users", "contexts", "kind"],
        };
        for (const name of [field, ...(names[part] ?? [])]) {
          const text = JSON.stringify(config({ [part]: { [name]: value } }), (_key, one: unknown) =>
            typeof one === "bigint" ? String(one) : one,
          );
          const read = readKubeconfig(text);
          expect("config" in read || read.refusal.reason !== "").toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });
});
