// Instances with what they were started from: the order on their Deployment or Job, and the variables of their pod, secrets read from where they stand.
import type { KubeApi } from "../../kubernetes/api.ts";
import type { InstanceRecord } from "../engine.ts";
import { readWorkload, type WrittenWorkload } from "../written.ts";
import type { PodView } from "./instances.ts";
import { mark } from "./names.ts";
import type { ConfigMap, Deployment, EnvSource, EnvVar, Job, Secret } from "./objects.ts";

type Owner = Deployment | Job;

export class Recorder {
  readonly #api: KubeApi;
  readonly #installation: string;
  readonly #signal: AbortSignal;
  /** Each is asked for once. */
  readonly #owners = new Map<string, Promise<Owner | undefined>>();
  readonly #secrets = new Map<string, Promise<Secret | undefined>>();
  readonly #configs = new Map<string, Promise<ConfigMap | undefined>>();

  constructor(api: KubeApi, installation: string, signal: AbortSignal) {
    this.#api = api;
    this.#installation = installation;
    this.#signal = signal;
  }

  /** undefined: nothing says any more what it was started from. */
  async recordOf(pod: PodView): Promise<InstanceRecord | undefined> {
    const owner = await this.#ownerOf(pod);
    const text = owner?.metadata.annotations?.[mark.order];
    if (owner === undefined || text === undefined || owner.metadata.labels?.[mark.installation] !== this.#installation) return undefined;
    const written = JSON.parse(text) as WrittenWorkload & { readonly version: number };
    if (written.version !== 1) return undefined;
    const { containers } = owner.spec.template.spec;
    const { env = [], envFrom = [] } = containers.find(({ name }) => name === pod.main) ?? containers[0];
    const environment = await this.#environment(pod.namespace, env, envFrom);
    return {
      id: pod.name,
      ref: pod.ref,
      track: pod.track,
      restart: pod.restart,
      createdAt: pod.createdAt,
      stopping: pod.stopping,
      workload: readWorkload(written, environment),
    };
  }

  #ownerOf({ namespace, deployment, owner }: PodView): Promise<Owner | undefined> {
    const place =
      deployment === undefined
        ? ({ kind: "Job", namespace, name: owner ?? "none" } as const)
        : ({ kind: "Deployment", namespace, name: deployment } as const);
    return once(this.#owners, `${namespace}/${place.kind}/${place.name}`, () => this.#api.find<Owner>(place, { signal: this.#signal }));
  }

  /** What was imported takes variables from where others keep them; what Berth started, from its own Secret alone. */
  async #environment(namespace: string, env: readonly EnvVar[], all: readonly EnvSource[]): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const { prefix = "", configMapRef, secretRef } of all) {
      const data =
        configMapRef === undefined ? await this.#secret(namespace, secretRef?.name) : await this.#config(namespace, configMapRef.name);
      for (const [key, value] of Object.entries(data ?? {})) found.set(`${prefix}${key}`, value);
    }
    for (const { name, value, valueFrom } of env) {
      const { secretKeyRef, configMapKeyRef } = valueFrom ?? {};
      const ref = secretKeyRef ?? configMapKeyRef;
      if (ref === undefined)
        found.set(
          name,
          (value ?? "").replaceAll("$$(", () => "$("),
        );
      else {
        const data = secretKeyRef === undefined ? await this.#config(namespace, ref.name) : await this.#secret(namespace, ref.name);
        const text = data?.[ref.key];
        if (text !== undefined) found.set(name, text);
      }
    }
    return found;
  }

  async #secret(namespace: string, name: string | undefined): Promise<Readonly<Record<string, string>> | undefined> {
    if (name === undefined) return undefined;
    const secret = await once(this.#secrets, `${namespace}/${name}`, () =>
      this.#api.find<Secret>({ kind: "Secret", namespace, name }, { signal: this.#signal }),
    );
    return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
  }

  async #config(namespace: string, name: string): Promise<Readonly<Record<string, string>> | undefined> {
    const found = await once(this.#configs, `${namespace}/${name}`, () =>
      this.#api.find<ConfigMap>({ kind: "ConfigMap", namespace, name }, { signal: this.#signal }),
    );
    return found?.data;
  }
}

function once<T>(kept: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = kept.get(key) ?? make();
  kept.set(key, found);
  return found;
}
