// The pods of this installation in one cluster, as they are watched: one list and one watch, and nothing else asks for them. Watched from the first question on: the thread that
// answers people may never have one.
import type { KubeApi } from "../../kubernetes/api.ts";
import { Watched } from "../../kubernetes/watch.ts";
import type { Ref } from "../engine.ts";
import { viewOf, type PodView } from "./instances.ts";
import { known } from "./known.ts";
import { mark, selector } from "./names.ts";
import type { Pod } from "./objects.ts";

export class Pods implements AsyncDisposable {
  readonly #watch: () => Watched<PodView, Pod>;
  #opened: Watched<PodView, Pod> | undefined;
  readonly #cluster: string;
  readonly #patience: number | undefined;
  readonly #byRef = new Map<string, Map<string, PodView>>();
  readonly #listeners = new Set<(ref: Ref) => void>();
  /** Of those that are gone: how the last run ended, as far as that was told. */
  readonly #onGone: (view: PodView) => void;

  constructor(deps: {
    readonly api: KubeApi;
    readonly cluster: string;
    readonly installation: string;
    readonly onGone: (view: PodView) => void;
    readonly onTrouble?: (error: Error) => void;
    /** ms; for tests. */
    readonly patience?: number | undefined;
  }) {
    this.#cluster = deps.cluster;
    this.#patience = deps.patience;
    this.#onGone = deps.onGone;
    this.#watch = () =>
      new Watched<PodView, Pod>(deps.api, "Pod", {
        labels: selector({ [mark.installation]: deps.installation, [mark.role]: undefined }),
        project: viewOf,
        onChange: (key, now, before) => this.#changed(key, now, before),
        onTrouble: deps.onTrouble,
      });
  }

  get #watched(): Watched<PodView, Pod> {
    return (this.#opened ??= this.#watch());
  }

  /** Resolves when the pods are known. Errors: EngineFailure (`cluster_unreachable`, `cluster_rights_missing`) when they are not, or not any more; the signal's reason. */
  ready(signal: AbortSignal): Promise<void> {
    return known(this.#cluster, this.#watched, signal, this.#patience);
  }

  of(ref: Ref): PodView[] {
    return [...(this.#byRef.get(keyOf(ref))?.values() ?? [])].toSorted((one, other) =>
      one.createdAt === other.createdAt ? (one.name < other.name ? -1 : 1) : one.createdAt < other.createdAt ? -1 : 1,
    );
  }

  instances(ref: Ref): PodView[] {
    return this.of(ref).filter(({ role }) => role === "instance");
  }

  all(): IterableIterator<PodView> {
    return this.#watched.items.values();
  }

  listen(listener: (ref: Ref) => void): () => void {
    this.#opened ??= this.#watch();
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Something else of it changed that whoever listens wants to look at. */
  stir(ref: Ref): void {
    for (const listener of this.#listeners) listener(ref);
  }

  /** Whether it held within so many ms; looked at again at each change of the ref. */
  async until(ref: Ref, holds: () => boolean, ms: number, signal: AbortSignal): Promise<boolean> {
    if (holds()) return true;
    const done = Promise.withResolvers<boolean>();
    const look = (changed: Ref): void => {
      if (keyOf(changed) === keyOf(ref) && holds()) done.resolve(true);
    };
    const giveUp = (): void => done.reject(signal.reason as Error);
    const timer = setTimeout(() => done.resolve(holds()), ms);
    const deafen = this.listen(look);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await done.promise;
    } finally {
      clearTimeout(timer);
      deafen();
      signal.removeEventListener("abort", giveUp);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened?.close();
  }

  #changed(key: string, now: PodView | undefined, before: PodView | undefined): void {
    const view = now ?? before;
    if (view === undefined) return;
    const place = keyOf(view.ref);
    const ours = this.#byRef.get(place) ?? new Map<string, PodView>();
    if (now === undefined) ours.delete(key);
    else ours.set(key, now);
    if (ours.size === 0) this.#byRef.delete(place);
    else this.#byRef.set(place, ours);
    if (now === undefined) this.#onGone(view);
    this.stir(view.ref);
  }
}

const keyOf = ({ stack, component }: Ref): string => `${stack}/${component}`;
