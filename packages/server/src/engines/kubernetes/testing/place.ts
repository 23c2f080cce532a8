// A Kubernetes engine on the test cluster, with an installation of its own: what it made goes with it.
import { randomBytes } from "node:crypto";
import { readKubeconfig } from "../../../core/kubeconfig.ts";
import type { RegistryAsker } from "../../../docker/standing.ts";
import { KubeApi } from "../../../kubernetes/api.ts";
import { listAll } from "../../../kubernetes/list.ts";
import { plainWorkload } from "../../conformance/workload.ts";
import type { Does, Place } from "../../conformance/lab.ts";
import type { Workload } from "../../engine.ts";
import { KubernetesEngine } from "../engine.ts";
import { mark, selector } from "../names.ts";

const programs: Readonly<Record<Does, Partial<Workload>>> = {
  serve: {
    kind: "web",
    command: { shell: "mkdir -p /tmp/www; echo hello | tee /tmp/www/index.html; exec httpd -f -p $PORT -h /tmp/www" },
    ports: [{ name: "http", protocol: "http" }],
  },
  run: { kind: "worker", command: { shell: "echo hello; exec sleep 300" } },
  crash: { kind: "worker", command: { shell: "echo no; exit 3" } },
  end: { kind: "worker", command: { shell: "exit 0" } },
  stubborn: { kind: "worker", command: { shell: "trap '' TERM; while :; do sleep 0.05; done" } },
};

/** In the node's containerd; never pulled. */
export const nobodyImage = "localhost/berth-nobody:1";

/** Registries are asked as nobody in particular. */
export const nobody: RegistryAsker = { find: () => Promise.resolve(undefined), proxies: {} };

/** As many volumes as the tests have at a time, and some. */
const volumes = 12;

export class KubernetesPlace implements Place {
  readonly owners = "kept" as const;
  readonly api: KubeApi;
  readonly engine: KubernetesEngine;
  readonly installation: string;
  readonly #image: string;

  private constructor(api: KubeApi, image: string, installation: string, registries: RegistryAsker) {
    this.api = api;
    this.#image = image;
    this.installation = installation;
    this.engine = new KubernetesEngine({ api, cluster: "test", installation, registries });
  }

  /** `image`: has a shell and httpd, and runs as nobody. */
  static async open(
    kubeconfig: string,
    { image = nobodyImage, registries = nobody }: { readonly image?: string; readonly registries?: RegistryAsker } = {},
  ): Promise<KubernetesPlace> {
    const read = readKubeconfig(kubeconfig);
    if ("refusal" in read) throw new Error(JSON.stringify(read.refusal));
    const place = new KubernetesPlace(new KubeApi(read.config.access), image, randomBytes(8).toString("hex"), registries);
    await place.#offerVolumes();
    return place;
  }

  workload(does: Does, over: Partial<Workload> & Pick<Workload, "ref">): Promise<Workload> {
    const base = { kind: "worker", command: { shell: "true" }, artifact: { kind: "image", reference: this.#image } } as const;
    return Promise.resolve(plainWorkload(`kubernetes ${does}`, { ...base, ...programs[does] }, over));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const labels = selector({ [mark.installation]: this.installation });
    for await (const { metadata } of listAll(this.api, "Namespace", { labels }))
      await this.api.delete({ kind: "Namespace", name: metadata.name });
    await this.api.request("DELETE", "/api/v1/persistentvolumes", { query: { labelSelector: labels } });
    await this.engine[Symbol.asyncDispose]();
    await this.api.close();
  }

  /** Folders of the node, which a claim without a class takes. */
  async #offerVolumes(): Promise<void> {
    for (let number = 0; number < volumes; number++) {
      const name = `conformance-${this.installation}-${String(number)}`;
      await this.api.request("POST", "/api/v1/persistentvolumes", {
        body: {
          apiVersion: "v1",
          kind: "PersistentVolume",
          metadata: { name, labels: { [mark.installation]: this.installation } },
          spec: {
            capacity: { storage: "1Gi" },
            accessModes: ["ReadWriteOnce"],
            persistentVolumeReclaimPolicy: "Retain",
            hostPath: { path: `/tmp/berth-conformance/${name}`, type: "DirectoryOrCreate" },
          },
        },
      });
    }
  }
}
