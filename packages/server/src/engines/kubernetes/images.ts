// Images of a cluster's pods: what a name stands for is asked of its registry, since nodes fetch by themselves; and the credentials by which they may.
// https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#add-imagepullsecrets-to-a-service-account
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import { defaultRegistry, digestOf, registryOf, repositoryOf } from "../../core/image/reference.ts";
import { authFileOf } from "../../docker/registry-auth.ts";
import { askStanding, type RegistryAsker } from "../../docker/standing.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { EngineFailure, type ResolvedImage } from "../engine.ts";
import { digest, mark } from "./names.ts";
import type { Secret } from "./objects.ts";

export interface ImagesDeps {
  readonly api: KubeApi;
  readonly installation: string;
  readonly registries: RegistryAsker;
}

/** The account that pods have which name none. */
const account = "default";
/** ms that a new namespace may take to get it. */
const patience = 10_000;

interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name: string }[];
}

export class Images {
  readonly #deps: ImagesDeps;

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
  }

  /** A name that is pinned already stands for itself. Errors: EngineFailure with what the registry said. */
  async resolve(name: string, signal: AbortSignal): Promise<ResolvedImage> {
    const pinned = digestOf(name);
    if (pinned !== undefined) return { reference: name, digest: pinned, size: 0 };
    const found = await askStanding(this.#deps.registries, name, signal);
    if ("cause" in found) throw new EngineFailure(found.cause, { retryable: found.retryable });
    return { reference: `${repositoryOf(name)}@${found.digest}`, digest: found.digest, size: 0 };
  }

  /** Whether its registry still has it. Errors: EngineFailure when that cannot be said. */
  async holds(reference: string, signal: AbortSignal): Promise<boolean> {
    const found = await askStanding(this.#deps.registries, reference, signal);
    if (!("cause" in found)) return true;
    if (found.cause.code === "image_not_found") return false;
    throw new EngineFailure(found.cause, { retryable: found.retryable });
  }

  /** Lets the pods of a namespace fetch this image, when there are credentials for its registry. Errors: EngineFailure (`registry_unreadable`), KubeError. */
  async allow(namespace: string, image: string, signal: AbortSignal): Promise<void> {
    const registry = registryOf(image);
    const login = await this.#deps.registries.find(registry);
    if (login === undefined) return;
    if (!login.readable) throw new EngineFailure(cause("registry_unreadable", { registry, image }), { retryable: false });
    const name = `berth-registry-${digest(registry).slice(0, 8)}`;
    const data = { ".dockerconfigjson": Buffer.from(authFileOf([login])).toString("base64") };
    const labels = { "app.kubernetes.io/managed-by": "berth", [mark.installation]: this.#deps.installation };
    const annotations = { "berth.registry": registry === defaultRegistry ? "default" : registry };
    const secret: Secret & { readonly type: string } = {
      apiVersion: apiVersionOf("Secret"),
      kind: "Secret",
      metadata: { namespace, name, labels, annotations },
      type: "kubernetes.io/dockerconfigjson",
      data,
    };
    await this.#deps.api.apply(secret, { force: true, signal });
    const given = await this.#account(namespace, signal);
    const names = new Set([...(given.imagePullSecrets ?? []).map((one) => one.name), name]);
    if (names.size === (given.imagePullSecrets ?? []).length) return;
    const { resourceVersion } = given.metadata;
    const patch = { metadata: { resourceVersion }, imagePullSecrets: [...names].map((one) => ({ name: one })) };
    await this.#deps.api.merge({ kind: "ServiceAccount", namespace, name: account }, patch, { signal });
  }

  async #account(namespace: string, signal: AbortSignal): Promise<ServiceAccount> {
    const place = { kind: "ServiceAccount", namespace, name: account } as const;
    for (const end = performance.now() + patience; performance.now() < end; await sleep(50, undefined, { signal })) {
      const found = await this.#deps.api.find<ServiceAccount>(place, { signal });
      if (found !== undefined) return found;
    }
    return this.#deps.api.get<ServiceAccount>(place, { signal });
  }
}
