// What a kubeconfig gives to reach one cluster. Pure, and must never throw, whatever the text. Only what is written into the file itself is taken: a path would read the server's own
// files, and a plugin would run on the server. https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
import {
  dataOf,
  entryOf,
  isGiven,
  namesIn,
  own,
  parse,
  quote,
  refuse,
  Refused,
  textOf,
  type Fields,
  type KubeconfigCode,
  type KubeconfigRefusal,
} from "./kubeconfig-file.ts";
import { isAlone, readAuthorities, readCertificate, readKey, type Pem } from "./kubeconfig-pem.ts";

/** Who asks. PEM texts. */
export type ClusterAuth =
  { readonly kind: "certificate"; readonly cert: string; readonly key: string } | { readonly kind: "token"; readonly token: string };

export interface ClusterAccess {
  /** A URL without a slash at its end; plain HTTP only to this machine. */
  readonly server: string;
  /** PEM; absent: the authorities that the machine trusts. */
  readonly ca?: string;
  /** The name that the server's certificate has, where it is not the address's. */
  readonly serverName?: string;
  /** Whoever answers is believed. */
  readonly insecure?: true;
  readonly auth: ClusterAuth;
}

export interface ReadKubeconfig {
  readonly access: ClusterAccess;
  /** The context's name. */
  readonly context: string;
  /** The context's own, if it has one. */
  readonly namespace?: string;
  /** As the file names it. */
  readonly user: string;
}

export interface KubeconfigOptions {
  /** Instead of the file's current one. */
  readonly context?: string | undefined;
  /** Takes insecure-skip-tls-verify. */
  readonly allowInsecure?: boolean | undefined;
}

const flatten = "Write it into the file: `kubectl config view --minify --flatten`.";
const serviceAccount =
  "Give the token of a service account instead: `kubectl create token NAME --duration=8760h`, and `token:` in the user's entry.";

/** The access that the file's current context gives, or the one that is chosen; or why there is none: never an exception. */
export function readKubeconfig(
  text: string,
  options: KubeconfigOptions = {},
): { readonly config: ReadKubeconfig } | { readonly refusal: KubeconfigRefusal } {
  try {
    return { config: read(text, options) };
  } catch (error) {
    if (error instanceof Refused) return { refusal: error.refusal };
    throw error;
  }
}

function read(text: string, { context: chosen, allowInsecure = false }: KubeconfigOptions): ReadKubeconfig {
  const file = parse(text);
  const name = chosen ?? textOf(file, "current-context", "the file");
  if (name === undefined || name === "")
    refuse("no_context", "it has no current-context, and none was named", `Name one of its contexts: ${namesIn(file, "contexts")}.`);
  const context = entryOf(file, "contexts", "context", name, "unknown_context");
  const where = `context ${quote(name)}`;
  const clusterName = textOf(context, "cluster", where);
  const userName = textOf(context, "user", where);
  if (clusterName === undefined) refuse("unknown_cluster", `${where} names no cluster`, "Add `cluster:` to it.");
  if (userName === undefined) refuse("unknown_user", `${where} names no user`, "Add `user:` to it.");
  const cluster = entryOf(file, "clusters", "cluster", clusterName, "unknown_cluster");
  const user = entryOf(file, "users", "user", userName, "unknown_user");
  const namespace = textOf(context, "namespace", where);
  return {
    access: { ...reach(cluster, `cluster ${quote(clusterName)}`, allowInsecure), auth: auth(user, `user ${quote(userName)}`) },
    context: name,
    ...(namespace === undefined ? {} : { namespace }),
    user: userName,
  };
}

/** Where the API server is, and how it is known. */
function reach(cluster: Fields, where: string, allowInsecure: boolean): Omit<ClusterAccess, "auth"> {
  refuseFile(cluster, "certificate-authority", where);
  if (isGiven(cluster, "proxy-url"))
    refuse(
      "not_supported",
      `${where} is reached through a proxy (proxy-url)`,
      "Give an address that the server itself can reach, and leave proxy-url out.",
    );
  const server = serverOf(textOf(cluster, "server", where), where);
  const isInsecure = own(cluster, "insecure-skip-tls-verify");
  if (isInsecure != null && typeof isInsecure !== "boolean")
    refuse("bad_value", `insecure-skip-tls-verify of ${where} is neither true nor false`, "Leave it out.");
  const authority = dataOf(cluster, "certificate-authority-data", where);
  if (isInsecure === true && !allowInsecure)
    refuse(
      "insecure",
      `${where} takes any certificate (insecure-skip-tls-verify)`,
      "Give its authority as certificate-authority-data, and leave insecure-skip-tls-verify out.",
    );
  if (isInsecure === true && authority !== undefined)
    refuse("insecure", `${where} has an authority, and takes any certificate all the same`, "Leave insecure-skip-tls-verify out.");
  const serverName = textOf(cluster, "tls-server-name", where);
  if (serverName !== undefined && !/^[A-Za-z0-9]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$/.test(serverName))
    refuse(
      "bad_value",
      `tls-server-name of ${where} is no host name`,
      "Write it as in the server's certificate, such as kubernetes.default.svc.",
    );
  return {
    server,
    ...(authority === undefined
      ? {}
      : { ca: checked(readAuthorities(authority), "bad_certificate", `certificate-authority-data of ${where}`) }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(isInsecure === true ? { insecure: true } : {}),
  };
}

function serverOf(given: string | undefined, where: string): string {
  const bad = (reason: string): never => refuse("bad_server", `the server of ${where} ${reason}`, "Write it as https://HOST:6443.");
  if (given === undefined) return bad("is missing");
  const url = URL.parse(given);
  if (url === null || url.hostname === "" || !["https:", "http:"].includes(url.protocol)) return bad("is no HTTPS address");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    return bad("says more than a host, a port and a path");
  if (url.protocol === "http:" && !isLoopback(url.hostname)) return bad("has no TLS: whoever is in between would have the cluster");
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** Who Berth is to the cluster. */
function auth(user: Fields, where: string): ClusterAuth {
  for (const field of ["client-certificate", "client-key", "tokenFile"]) refuseFile(user, field, where);
  if (isGiven(user, "exec"))
    refuse("runs_a_program", `${where} runs a program to sign in (exec), which would be run on the server`, serviceAccount);
  if (isGiven(user, "auth-provider"))
    refuse("not_supported", `${where} signs in by an auth-provider, which Kubernetes gave up in 1.26`, serviceAccount);
  for (const field of ["as", "as-uid", "as-groups", "as-user-extra"]) {
    if (isGiven(user, field))
      refuse(
        "not_supported",
        `${where} acts as somebody else (${field})`,
        "Give the credentials of who shall act, and leave the impersonation out.",
      );
  }
  if (isGiven(user, "username") || isGiven(user, "password"))
    refuse("not_supported", `${where} signs in by a password, which Kubernetes gave up in 1.19`, serviceAccount);
  const certText = dataOf(user, "client-certificate-data", where);
  const keyText = dataOf(user, "client-key-data", where);
  const token = textOf(user, "token", where);
  if ((certText === undefined) !== (keyText === undefined))
    refuse(
      "no_credentials",
      `${where} has a client's ${certText === undefined ? "key without its certificate" : "certificate without its key"}`,
      flatten,
    );
  if (certText !== undefined && keyText !== undefined) {
    const cert = checked(readCertificate(certText), "bad_certificate", `client-certificate-data of ${where}`);
    const key = checked(readKey(keyText), "bad_key", `client-key-data of ${where}`);
    if (isAlone(cert, key))
      refuse("key_mismatch", `client-key-data of ${where} is not the key of its certificate`, "Give the two that belong together.");
    return { kind: "certificate", cert, key };
  }
  if (token === undefined) refuse("no_credentials", `${where} has neither a client certificate nor a token`, serviceAccount);
  // What stands in a header must not begin another one.
  if (!/^[\x21-\x7e]{1,16384}$/.test(token))
    refuse("bad_value", `the token of ${where} is no token`, "Write it in one line, without blanks.");
  return { kind: "token", token };
}

function refuseFile(entry: Fields, field: string, where: string): void {
  if (isGiven(entry, field)) refuse("names_a_file", `${field} of ${where} names a file, which is not on the server`, flatten);
}

function checked(pem: Pem, code: KubeconfigCode, what: string): string {
  return "text" in pem ? pem.text : refuse(code, `${what} ${pem.reason}`, pem.hint);
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
