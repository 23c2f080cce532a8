// What somebody else made of the Deployments of components: seen by a watch, confirmed by a dry run of what Berth put, and taken back where that is asked for. Nothing is
// asked of the cluster as long as nobody changes anything.
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Difference, Drift, Ref } from "../engine.ts";
import { asPut } from "./as-put.ts";
import type { Autoscaler } from "./autoscaler.ts";
import { changesOf, differenceOf, ofOthers, ownersOf, patchOf, type Change } from "./differences.ts";
import { Mirror, type Mirrored } from "./mirror.ts";
import { mark, selector } from "./names.ts";
import type { Deployment } from "./objects.ts";

type Applied = Pick<Deployment, "spec"> & { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } };

interface Seen {
  readonly uid: string;
  readonly generation: number;
  /** It may be: quantities, for instance, are written in many ways. */
  readonly suspected: boolean;
  /** Its pods are being replaced: by somebody, since Berth never does that in place. */
  readonly turning: boolean;
  /** Its controller has not taken up its newest state. */
  readonly unseen: boolean;
  readonly scaled: Scaled | undefined;
}

interface Scaled {
  readonly replicas: number;
  /** As an autoscaler does it. */
  readonly others: boolean;
  readonly difference: Difference;
}

interface Confirmed {
  readonly uid: string;
  readonly generation: number;
  readonly differences: readonly Difference[];
}

/** ms for which a Deployment that replaces its pods is waited for when it is to be as Berth wants it. */
const patience = 60_000;
const mostTries = 5;
/** Who writes the replicas for a HorizontalPodAutoscaler. */
const autoscaler = "kube-controller-manager";

export class Drifts implements AsyncDisposable {
  readonly #api: KubeApi;
  readonly #mirror: Mirror<Seen, Deployment>;
  readonly #autoscaled: (ref: Ref) => string | undefined;
  readonly #confirmed = new Map<string, Confirmed>();
  /** Name -> since when it replaces its pods, ms of this process. */
  readonly #turning = new Map<string, number>();

  constructor(deps: {
    readonly api: KubeApi;
    readonly cluster: string;
    readonly installation: string;
    /** The name of the Deployment whose number Berth has left to an autoscaler. */
    readonly autoscaled: (ref: Ref) => string | undefined;
    readonly onChange: (ref: Ref) => void;
    readonly onTrouble?: ((error: Error) => void) | undefined;
  }) {
    this.#api = deps.api;
    this.#autoscaled = deps.autoscaled;
    this.#mirror = new Mirror<Seen, Deployment>("Deployment", {
      ...deps,
      labels: selector({ [mark.installation]: deps.installation, [mark.slot]: undefined }),
      project: seenOf,
      isNews: (now, before) => newsOf(now) !== newsOf(before),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mirror[Symbol.asyncDispose]();
  }

  /** Errors: as of `known`, and of KubeApi.request. */
  async of(ref: Ref, signal: AbortSignal): Promise<Drift> {
    await this.#mirror.ready(signal);
    const slots = this.#mirror.of(ref);
    const confirmed = await Promise.all(slots.map((slot) => this.#differencesOf(slot, signal)));
    const scaled = (await Promise.all(slots.map((slot) => this.#scaledOf(ref, slot, signal)))).filter((one) => one !== undefined);
    const [only] = scaled;
    return {
      differences: [...confirmed.flat(), ...scaled.flatMap(({ others, difference }) => (others ? [] : [difference]))],
      turning: slots.some((slot) => this.#turns(slot)),
      // Of several slots each is on its way somewhere.
      ...(only === undefined || slots.length > 1 ? {} : { scaled: { replicas: only.replicas, others: only.others } }),
    };
  }

  /** Takes back what was changed of them. Errors: as of `of`. */
  async repair(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#mirror.ready(signal);
    for (const slot of this.#mirror.of(ref)) {
      if (!slot.value.suspected) continue;
      for (let attempt = 1; ; attempt++) {
        const found = await this.#look(slot, signal);
        if (found === undefined || found.changes.length === 0) break;
        const place = { kind: "Deployment", namespace: slot.namespace, name: slot.name } as const;
        try {
          const patch = patchOf(found.changes, found.live.metadata.resourceVersion ?? "");
          this.#mirror.wrote(await this.#api.jsonPatch<Deployment>(place, patch, { signal }));
          break;
        } catch (error) {
          // Somebody changed it meanwhile, if only its status.
          if (!(error instanceof KubeError) || (error.status !== 422 && error.status !== 409) || attempt === mostTries) throw error;
        }
      }
    }
  }

  /** By somebody else than Berth, or than who does it for Berth. */
  async #scaledOf(ref: Ref, { namespace, name, value }: Mirrored<Seen>, signal: AbortSignal): Promise<Scaled | undefined> {
    const { scaled } = value;
    if (scaled === undefined || this.#autoscaled(ref) === name) return undefined;
    if (!scaled.others) return scaled;
    // The number stays its when an autoscaler has gone.
    const targets = (await listed<Autoscaler>(this.#api, "HorizontalPodAutoscaler", { namespace, signal })).map(
      ({ spec }) => spec.scaleTargetRef,
    );
    return { ...scaled, others: targets.some((target) => target.kind === "Deployment" && target.name === name) };
  }

  async #differencesOf(slot: Mirrored<Seen>, signal: AbortSignal): Promise<readonly Difference[]> {
    const { uid, generation, suspected } = slot.value;
    const key = `${slot.namespace}/${slot.name}`;
    if (!suspected) {
      this.#confirmed.delete(key);
      return [];
    }
    const known = this.#confirmed.get(key);
    if (known?.uid === uid && known.generation === generation) return known.differences;
    const found = await this.#look(slot, signal);
    if (found === undefined) return [];
    const { live, changes } = found;
    const { managedFields = [] } = live.metadata;
    const differences = changes.map((change) => differenceOf(`Deployment ${slot.name}`, change, managedFields));
    this.#confirmed.set(key, { uid: live.metadata.uid ?? "", generation: live.metadata.generation ?? 0, differences });
    return differences;
  }

  /** What a dry run of what Berth put would change. undefined: it is gone, or nothing says what was put. */
  async #look(
    { namespace, name }: Mirrored<Seen>,
    signal: AbortSignal,
  ): Promise<{ readonly live: Deployment; readonly changes: readonly Change[] } | undefined> {
    const live = await this.#api.find<Deployment>({ kind: "Deployment", namespace, name }, { signal });
    const applied = live === undefined ? undefined : appliedOf(live);
    if (live === undefined || applied === undefined || live.metadata.deletionTimestamp !== undefined) return undefined;
    const { managedFields = [] } = live.metadata;
    const told = changesOf(applied, live);
    const object = {
      ...applied,
      apiVersion: apiVersionOf("Deployment"),
      kind: "Deployment",
      metadata: { ...applied.metadata, namespace, name },
    };
    const would = await asPut<Deployment>(this.#api, object, signal);
    // Then the texts are all there is to compare.
    if (would === undefined) return { live, changes: ofOthers(told, managedFields) };
    const { replicas: _replicas, ...spec } = would.spec;
    const changed = changesOf({ metadata: { labels: would.metadata.labels }, spec }, live);
    // An apply takes nothing away that it does not speak of.
    const added = told.filter(({ wanted }) => wanted === undefined);
    const isAdded = new Set(added.map((change) => differenceOf("", change, []).path));
    const others = changed.filter((change) => !isAdded.has(differenceOf("", change, []).path));
    return { live, changes: ofOthers([...others, ...added], managedFields) };
  }

  #turns({ namespace, name, value }: Mirrored<Seen>): boolean {
    const key = `${namespace}/${name}`;
    if (!value.turning && !value.unseen) {
      this.#turning.delete(key);
      return false;
    }
    const since = this.#turning.get(key) ?? performance.now();
    this.#turning.set(key, since);
    return value.suspected || performance.now() - since < patience;
  }
}

function appliedOf({ metadata }: Deployment): Applied | undefined {
  const text = metadata.annotations?.[mark.applied];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Applied;
  } catch {
    // Somebody wrote into it: nothing says any more what was put.
    return undefined;
  }
}

function seenOf(live: Deployment): Seen {
  const { uid = "", generation = 0, managedFields = [], annotations = {}, name } = live.metadata;
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0 } = live.status ?? {};
  const applied = appliedOf(live);
  const said = annotations[mark.replicas];
  const there = live.spec.replicas ?? 1;
  const change: Change = { steps: ["spec", "replicas"], wanted: Number(said), found: there };
  const [owner] = ownersOf(change.steps, managedFields);
  return {
    uid,
    generation,
    suspected: applied !== undefined && ofOthers(changesOf(applied, live), managedFields).length > 0,
    turning: replicas > updatedReplicas,
    unseen: observedGeneration < generation && there > 0,
    scaled:
      said === undefined || Number(said) === there
        ? undefined
        : { replicas: there, others: owner?.manager === autoscaler, difference: differenceOf(`Deployment ${name}`, change, managedFields) },
  };
}

const newsOf = (seen: Seen | undefined): string =>
  seen === undefined ? "" : JSON.stringify([seen.suspected ? seen.generation : 0, seen.turning, seen.scaled?.replicas]);
