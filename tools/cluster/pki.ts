// The cluster's authorities, its programs' certificates, and a kubeconfig for each of them. Made once; they stay as long as the cluster's folder, so that a kubeconfig
// that was copied goes on working after the cluster was stopped and started.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { call } from "./failed.ts";
import { api, at, nodeAddress, nodeName, services } from "./settings.ts";

interface Certificate {
  readonly name: string;
  /** As openssl writes it: `/O=organisation/CN=name`. Kubernetes reads groups from O and the user from CN. */
  readonly subject: string;
  readonly usage: "serverAuth" | "clientAuth";
  readonly names?: string;
  readonly authority?: "ca" | "front-proxy-ca";
}

/** Users that have a kubeconfig, with their certificates. */
const users: readonly Certificate[] = [
  { name: "admin", subject: "/O=system:masters/CN=admin", usage: "clientAuth" },
  { name: "kube-controller-manager", subject: "/CN=system:kube-controller-manager", usage: "clientAuth" },
  { name: "kube-scheduler", subject: "/CN=system:kube-scheduler", usage: "clientAuth" },
  { name: "kube-proxy", subject: "/CN=system:kube-proxy", usage: "clientAuth" },
  { name: "kubelet", subject: `/O=system:nodes/CN=system:node:${nodeName}`, usage: "clientAuth" },
];

const inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"];
const others: readonly Certificate[] = [
  {
    name: "apiserver",
    subject: "/CN=kube-apiserver",
    usage: "serverAuth",
    names: [...inside.map((host) => `DNS:${host}`), ...["127.0.0.1", nodeAddress, services.api].map((ip) => `IP:${ip}`)].join(","),
  },
  { name: "apiserver-kubelet-client", subject: "/O=system:masters/CN=kube-apiserver-kubelet-client", usage: "clientAuth" },
  { name: "front-proxy-client", subject: "/CN=front-proxy-client", usage: "clientAuth", authority: "front-proxy-ca" },
  {
    name: "kubelet-serving",
    subject: `/O=system:nodes/CN=system:node:${nodeName}`,
    usage: "serverAuth",
    names: `DNS:${nodeName},IP:${nodeAddress},IP:127.0.0.1`,
  },
];

const days = "3650";

/** Returns whether it had to make them. */
export async function makePki(): Promise<boolean> {
  const folder = at("pki");
  if (existsSync(folder)) return false;
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { mode: 0o700 });
  const openssl = (...args: readonly string[]) => call("openssl", args, { cwd: draft });
  const key = (name: string) => openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", `${name}.key`);
  for (const name of ["ca", "front-proxy-ca"]) {
    await key(name);
    const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign"];
    const added = extensions.flatMap((each) => ["-addext", each]);
    await openssl("req", "-x509", "-new", "-key", `${name}.key`, "-days", days, "-subj", `/CN=${name}`, "-out", `${name}.crt`, ...added);
  }
  await openssl("genrsa", "-out", "sa.key", "2048");
  await openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub");
  for (const { name, subject, usage, names, authority = "ca" } of [...users, ...others]) {
    await key(name);
    await openssl("req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", `${name}.csr`);
    const alternative = names === undefined ? "" : `subjectAltName=${names}\n`;
    writeFileSync(
      join(draft, `${name}.ext`),
      `basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=${usage}\n${alternative}`,
    );
    const signer = ["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-CAcreateserial"];
    await openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-days", days, "-extfile", `${name}.ext`, "-out", `${name}.crt`);
    for (const kind of ["csr", "ext"]) rmSync(join(draft, `${name}.${kind}`));
  }
  for (const { name } of users) writeFileSync(join(draft, `${name}.kubeconfig`), kubeconfigOf(draft, name), { mode: 0o600 });
  renameSync(draft, folder);
  return true;
}

/** Everything is in it: it may be copied elsewhere. JSON is YAML too. */
function kubeconfigOf(folder: string, user: string): string {
  const data = (file: string): string => readFileSync(join(folder, file)).toString("base64");
  const name = "berth-cluster";
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server: api, "certificate-authority-data": data("ca.crt") } }],
    users: [{ name: user, user: { "client-certificate-data": data(`${user}.crt`), "client-key-data": data(`${user}.key`) } }],
    contexts: [{ name, context: { cluster: name, user } }],
    "current-context": name,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
