// A client of a Kubernetes API from what is known of a cluster: its kubeconfig's access, or the service account of the pod that this server is.
import type { Config } from "../../config.ts";
import type { KubeAccess } from "../../core/kube-clusters.ts";
import { KubeApi } from "../../kubernetes/api.ts";
import { inClusterAccess } from "../../kubernetes/in-cluster.ts";

/** undefined: this is no pod with a service account. */
export function kubeApi(access: KubeAccess, { kubernetesService: { host, port } }: Pick<Config, "kubernetesService">): KubeApi | undefined {
  if (access !== "in-cluster") return new KubeApi(access);
  const own = inClusterAccess(host, port);
  return own === undefined ? undefined : new KubeApi(own.access, { token: own.token });
}
