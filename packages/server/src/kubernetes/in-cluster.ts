// How Berth reaches the cluster that it runs in itself: the service account that the kubelet mounts into its pod.
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import type { ClusterAccess } from "../core/kubeconfig.ts";
import type { TokenSource } from "./transport.ts";

export const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** ms for which a token is taken as it was read. The kubelet renews it long before it ends. */
const tokenKeptFor = 60_000;

export interface InCluster {
  readonly access: ClusterAccess;
  /** For KubeApi: the token as it is in the folder by now. */
  readonly token: TokenSource;
  /** The pod's own. */
  readonly namespace: string;
}

/** `host` and `port`: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. undefined when this is no pod with a service account. */
export function inClusterAccess(host: string | undefined, port: string | undefined, folder = serviceAccountFolder): InCluster | undefined {
  if (host === undefined || port === undefined || host === "" || !/^\d{1,5}$/.test(port)) return undefined;
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  let texts: [string, string, string];
  try {
    texts = [read("ca.crt"), read("token"), read("namespace")];
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  const [ca, first, namespace] = texts;
  let token = first.trim();
  let readAt = performance.now();
  return {
    namespace: namespace.trim(),
    access: { server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`, ca, auth: { kind: "token", token } },
    token: async () => {
      if (performance.now() - readAt < tokenKeptFor) return token;
      token = (await readFile(join(folder, "token"), "utf8")).trim();
      readAt = performance.now();
      return token;
    },
  };
}
