// The test cluster, and a namespace in it that goes with the test that made it.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { readKubeconfig, type ClusterAccess } from "../../core/kubeconfig.ts";
import { KubeApi } from "../api.ts";
import type { KubeObject } from "../objects.ts";

const path = process.env["BERTH_TEST_KUBECONFIG"];

/** There is one. */
export const hasCluster = path !== undefined;
/** busybox, on the node already; its entry point is replaced. */
const image = "localhost/berth-shell:1";
const kept = { name: "kept", mountPath: "/kept" } as const;

export interface Pod extends KubeObject {
  readonly spec: unknown;
  readonly status: {
    readonly phase: string;
    readonly containerStatuses?: readonly { readonly name: string; readonly ready: boolean; readonly restartCount: number }[];
  };
}

export function clusterAccess(): ClusterAccess {
  const read = readKubeconfig(readFileSync(path ?? "", "utf8"));
  if ("refusal" in read) throw new Error(read.refusal.reason);
  return read.config.access;
}

export class TestNamespace implements AsyncDisposable {
  readonly api: KubeApi;
  readonly name = `kube-client-${randomBytes(4).toString("hex")}`;

  private constructor(api: KubeApi) {
    this.api = api;
  }

  static async make(): Promise<TestNamespace> {
    const made = new TestNamespace(new KubeApi(clusterAccess()));
    await made.api.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: made.name } });
    // Without it no pod is admitted, and a controller makes it after the namespace.
    while ((await made.api.find({ kind: "ServiceAccount", namespace: made.name, name: "default" })) === undefined) await pause(100);
    return made;
  }

  /** A pod of one container `main` that runs a shell's script; when it is ready. What is in its folder /kept stays when the container is started again. */
  async pod(name: string, script: string): Promise<void> {
    const container = { name: "main", image, imagePullPolicy: "IfNotPresent", command: ["/bin/sh", "-c", script], volumeMounts: [kept] };
    await this.api.create({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: this.name },
      spec: {
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        containers: [container],
        volumes: [{ name: kept.name, emptyDir: {} }],
      },
    } as KubeObject);
    await this.until(name, (pod) => pod.status.containerStatuses?.[0]?.ready === true);
  }

  /** Until the pod is so. */
  async until(name: string, holds: (pod: Pod) => boolean): Promise<Pod> {
    for (;;) {
      const pod = await this.api.get<Pod>({ kind: "Pod", namespace: this.name, name });
      if (holds(pod)) return pod;
      await pause(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.delete({ kind: "Namespace", name: this.name });
    await this.api.close();
  }
}
