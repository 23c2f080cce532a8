// The pods of this installation in one cluster, as they are watched: one list and one watch, and nothing else asks for them. Watched from the first question on: the thread that
// answers people may never have one.
import type { KubeApi } from "../../kubernetes/api.ts";
import { Watched } from "../../kubernetes/watch.ts";
import type { Ref } from "../engine.ts";
import { failureOf, unreachable } from "./failures.ts";
import { viewOf, type PodView } from "./instances.ts";
import { mark, selector } from "./names.ts";
import type { Pod } from "./objects.ts";

/** ms after which what is known counts as unknown when the cluster tells no changes. */
const defaultPatience = 20_000;

export class Pods implements AsyncDisposable {
  readonly #watch: () => Watched<PodView, Pod>;
  #opened: Watched<PodView, Pod> | undefined;
  readonly #cluster: string;
  readonly #patience: number;
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
    readonly patience?: number;
  }) {
    this.#cluster = deps.cluster;
    this.#patience = deps.patience ?? defaultPatience;
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
  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { since, lists } = this.#watched;
    if (since === undefined) return;
    const left = since.getTime() + this.#patience - Date.now();
    // A watch that broke just now knows what it knew.
    if (lists > 0 && left > 0) return;
    if (lists > 0) throw this.#failure(since);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(this.#failure(since)), Math.max(0, Math.min(left, this.#patience)));
    const given = Promise.withResolvers<never>();
    const giveUp = (): void => given.reject(signal.reason as Error);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      await Promise.race([this.#watched.synced, late.promise, given.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    }
  }

  #failure(since: Date): Error {
    const told = this.#watched.trouble ?? new Error(`it has told nothing since ${since.toISOString()}`);
    return failureOf(this.#cluster, told) ?? unreachable(this.#cluster, told);
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
    for (const listener of this.#listeners) listener(view.ref);
  }
}

const keyOf = ({ stack, component }: Ref): string => `${stack}/${component}`;
