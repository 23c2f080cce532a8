// The cluster's authorities, its programs' certificates, and a kubeconfig for each of them. Each is made once; they stay as long as the cluster's folder, so that a
// kubeconfig that was copied goes on working after the cluster was stopped and started.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { call } from "./failed.ts";
import { api, at, clusterNodes, nodeAddress, services } from "./settings.ts";

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
  ...clusterNodes.map(
    ({ name, user }) => ({ name: user, subject: `/O=system:nodes/CN=system:node:${name}`, usage: "clientAuth" }) as const,
  ),
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
  ...clusterNodes.map(
    ({ name, user, address }) =>
      ({
        name: `${user}-serving`,
        subject: `/O=system:nodes/CN=system:node:${name}`,
        usage: "serverAuth",
        names: `DNS:${name},IP:${address},IP:127.0.0.1`,
      }) as const,
  ),
];

const days = "3650";

/** Makes those that are not there. */
export async function makePki(): Promise<void> {
  const folder = at("pki");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: readonly string[]) => call("openssl", args, { cwd: folder });
  const key = (name: string) => openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", `${name}.key`);
  // The certificate comes last, by a new name: what is there is whole.
  const once = async (last: string, make: (draft: string) => Promise<unknown>): Promise<void> => {
    if (existsSync(file(last))) return;
    await make(`${last}.draft`);
    renameSync(file(`${last}.draft`), file(last));
  };
  for (const name of ["ca", "front-proxy-ca"])
    await once(`${name}.crt`, async (draft) => {
      await key(name);
      const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign"];
      const added = extensions.flatMap((each) => ["-addext", each]);
      await openssl("req", "-x509", "-new", "-key", `${name}.key`, "-days", days, "-subj", `/CN=${name}`, "-out", draft, ...added);
    });
  await once("sa.pub", async (draft) => {
    await openssl("genrsa", "-out", "sa.key", "2048");
    await openssl("rsa", "-in", "sa.key", "-pubout", "-out", draft);
  });
  for (const { name, subject, usage, names, authority = "ca" } of [...users, ...others])
    await once(`${name}.crt`, async (draft) => {
      await key(name);
      await openssl("req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", `${name}.csr`);
      const alternative = names === undefined ? "" : `subjectAltName=${names}\n`;
      const extensions = `basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=${usage}\n${alternative}`;
      writeFileSync(file(`${name}.ext`), extensions);
      const signer = ["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-CAcreateserial"];
      await openssl("x509", "-req", "-in", `${name}.csr`, ...signer, "-days", days, "-extfile", `${name}.ext`, "-out", draft);
      for (const kind of ["csr", "ext"]) rmSync(file(`${name}.${kind}`));
    });
  for (const { name } of users)
    await once(`${name}.kubeconfig`, (draft) => {
      writeFileSync(file(draft), kubeconfigOf(folder, name), { mode: 0o600 });
      return Promise.resolve();
    });
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
