// Instances with what they were started from: the order on their Deployment or Job, and the variables of their pod, secrets read from where they stand.
import type { KubeApi } from "../../kubernetes/api.ts";
import type { InstanceRecord } from "../engine.ts";
import { readWorkload, type WrittenWorkload } from "../written.ts";
import type { PodView } from "./instances.ts";
import { mark, slotName } from "./names.ts";
import type { Deployment, EnvVar, Job, Secret } from "./objects.ts";

type Owner = Deployment | Job;

export class Recorder {
  readonly #api: KubeApi;
  readonly #installation: string;
  readonly #signal: AbortSignal;
  /** Each is asked for once. */
  readonly #owners = new Map<string, Promise<Owner | undefined>>();
  readonly #secrets = new Map<string, Promise<Secret | undefined>>();

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
    const environment = await this.#environment(pod.namespace, owner.spec.template.spec.containers[0].env ?? []);
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

  #ownerOf({ namespace, slot, ref, owner }: PodView): Promise<Owner | undefined> {
    const place =
      slot === undefined
        ? ({ kind: "Job", namespace, name: owner ?? "none" } as const)
        : ({ kind: "Deployment", namespace, name: slotName(ref.component, slot) } as const);
    return once(this.#owners, `${namespace}/${place.kind}/${place.name}`, () => this.#api.find<Owner>(place, { signal: this.#signal }));
  }

  async #environment(namespace: string, env: readonly EnvVar[]): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const { name, value, valueFrom } of env) {
      const { secretKeyRef } = valueFrom ?? {};
      if (secretKeyRef === undefined)
        found.set(
          name,
          (value ?? "").replaceAll("$$(", () => "$("),
        );
      else {
        const secret = await once(this.#secrets, `${namespace}/${secretKeyRef.name}`, () =>
          this.#api.find<Secret>({ kind: "Secret", namespace, name: secretKeyRef.name }, { signal: this.#signal }),
        );
        const encoded = secret?.data?.[secretKeyRef.key];
        if (encoded !== undefined) found.set(name, Buffer.from(encoded, "base64").toString());
      }
    }
    return found;
  }
}

function once<T>(kept: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = kept.get(key) ?? make();
  kept.set(key, found);
  return found;
}
