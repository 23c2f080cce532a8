// A Kubernetes engine on the test cluster, with an installation of its own: what it made goes with it.
import { randomBytes } from "node:crypto";
import { readKubeconfig, type ClusterAccess } from "../../../core/kubeconfig.ts";
import type { RegistryAsker } from "../../../docker/standing.ts";
import { KubeApi } from "../../../kubernetes/api.ts";
import { listAll } from "../../../kubernetes/list.ts";
import { plainWorkload } from "../../conformance/workload.ts";
import { until, type Does, type Place } from "../../conformance/lab.ts";
import type { Workload } from "../../engine.ts";
import { KubernetesEngine } from "../engine.ts";
import { GatewayTraffic } from "../gateway-traffic.ts";
import { mark, selector } from "../names.ts";
import { levelKey } from "../surroundings.ts";

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

/** The same; has GNU tar. */
export const tarImage = "localhost/berth-tar:1";

/** Registries are asked as nobody in particular. */
export const nobody: RegistryAsker = { find: () => Promise.resolve(undefined), proxies: {} };

/** As many volumes as the tests have at a time, and some. */
const volumes = 12;

export interface PlaceOptions {
  /** Has a shell and httpd, and runs as nobody. */
  readonly image?: string;
  readonly registries?: RegistryAsker;
  /** Whom the engine asks, as somebody else than the administrator; closed with the place. */
  readonly engineApi?: KubeApi;
  readonly archiveImage?: string;
}

export class KubernetesPlace implements Place {
  readonly owners = "kept" as const;
  readonly grace = "workload" as const;
  /** An administrator's. */
  readonly api: KubeApi;
  /** The engine's own. */
  readonly engineApi: KubeApi;
  readonly engine: KubernetesEngine;
  readonly installation: string;
  readonly #image: string;

  private constructor(api: KubeApi, { image = nobodyImage, registries = nobody, engineApi = api, archiveImage = tarImage }: PlaceOptions) {
    this.api = api;
    this.engineApi = engineApi;
    this.#image = image;
    this.installation = randomBytes(8).toString("hex");
    this.engine = new KubernetesEngine({ api: engineApi, cluster: "test", installation: this.installation, registries, archiveImage });
  }

  static async open(kubeconfig: string, options: PlaceOptions = {}): Promise<KubernetesPlace> {
    const place = new KubernetesPlace(new KubeApi(accessOf(kubeconfig)), options);
    await place.#offerVolumes();
    return place;
  }

  /** Traffic by the test cluster's gateway, which answers at this URL; the caller ends it. */
  openTraffic(gateway: string): GatewayTraffic {
    const { hostname, port } = new URL(gateway);
    return new GatewayTraffic({
      api: this.engineApi,
      cluster: "test",
      installation: this.installation,
      pods: this.engine.pods,
      gateway: { namespace: "default", name: "public" },
      door: { host: hostname, port: Number(port) },
      probeKey: randomBytes(32),
    });
  }

  /** As somebody sets the strictest level of security on a namespace; resolves when the API server holds pods to it. */
  async restrict(namespace: string): Promise<void> {
    await this.api.merge({ kind: "Namespace", name: namespace }, { metadata: { labels: { [levelKey]: "restricted" } } });
    const spec = { containers: [{ name: "as-root", image: this.#image }] };
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { namespace, name: "as-root" }, spec };
    await until(
      () =>
        this.api.create(pod, { dryRun: true }).then(
          () => false,
          (error: Error) => error.message.includes('violates PodSecurity "restricted'),
        ),
      "the level is heard of",
    );
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
    await this.engineApi.close();
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

/** Of the file's current context. Throws when it gives none. */
export function accessOf(kubeconfig: string): ClusterAccess {
  const read = readKubeconfig(kubeconfig);
  if ("refusal" in read) throw new Error(JSON.stringify(read.refusal));
  return read.config.access;
}
