// The objects of one kind that belong to components, as they are watched: one list and one watch for the whole cluster, so that a look costs no request. What this process
// wrote or removed itself is known at once: a watch that is behind does not take it back.
import type { KubeApi } from "../../kubernetes/api.ts";
import { keyOf, type Listed } from "../../kubernetes/objects.ts";
import type { Kind } from "../../kubernetes/paths.ts";
import { Watched } from "../../kubernetes/watch.ts";
import type { Ref } from "../engine.ts";
import { known } from "./known.ts";
import { mark, refIn } from "./names.ts";

export interface Mirrored<T> {
  readonly ref: Ref;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Of the object's state: the cluster counts it up with each change of any. */
  readonly version: string;
  readonly value: T;
}

export interface MirrorDeps<T, O extends Listed> {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  /** A label selector. */
  readonly labels: string;
  /** What is kept of an object. */
  readonly project: (object: O) => T;
  /** Whether a change is one to call for; absent: each is. */
  readonly isNews?: ((now: T | undefined, before: T | undefined) => boolean) | undefined;
  /** Called for each change that the cluster tells, and that is not of this process. */
  readonly onChange?: ((ref: Ref) => void) | undefined;
  /** For the log. */
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

export class Mirror<T, O extends Listed> implements AsyncDisposable {
  readonly #kind: Kind;
  readonly #deps: MirrorDeps<T, O>;
  readonly #byRef = new Map<string, Map<string, Mirrored<T>>>();
  /** Key -> version of what this process wrote and the watch has not told yet. */
  readonly #ahead = new Map<string, string>();
  /** Key -> uid of what this process removed and the watch has not told yet. */
  readonly #gone = new Map<string, string>();
  #opened: Watched<Mirrored<T>, O> | undefined;

  constructor(kind: Kind, deps: MirrorDeps<T, O>) {
    this.#kind = kind;
    this.#deps = deps;
  }

  /** Watched from the first call on. Errors: as of `known`. */
  ready(signal: AbortSignal): Promise<void> {
    return known(this.#deps.cluster, this.#watched, signal);
  }

  of(ref: Ref): readonly Mirrored<T>[] {
    return [...(this.#byRef.get(placeOf(ref))?.values() ?? [])];
  }

  *all(): Generator<Mirrored<T>> {
    for (const ours of this.#byRef.values()) yield* ours.values();
  }

  /** What the cluster answered to a write of this process. */
  wrote(object: O): void {
    const now = this.#mirrored(object);
    if (now === undefined) return;
    const key = keyOf(object);
    const before = this.#byRef.get(placeOf(now.ref))?.get(key);
    if (before !== undefined && !isNewer(now.version, before.version)) return;
    this.#gone.delete(key);
    this.#ahead.set(key, now.version);
    this.#put(key, now);
  }

  /** This process removed it. */
  removed(ref: Ref, namespace: string, name: string): void {
    const key = `${namespace}/${name}`;
    const uid = this.#byRef.get(placeOf(ref))?.get(key)?.uid;
    this.#ahead.delete(key);
    if (uid !== undefined) this.#gone.set(key, uid);
    this.#drop(placeOf(ref), key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened?.close();
  }

  get #watched(): Watched<Mirrored<T>, O> {
    const { api, labels, onTrouble } = this.#deps;
    this.#opened ??= new Watched<Mirrored<T>, O>(api, this.#kind, {
      labels,
      project: (object) => this.#mirrored(object),
      onChange: (key, now, before) => this.#changed(key, now, before),
      onTrouble,
    });
    return this.#opened;
  }

  #mirrored(object: O): Mirrored<T> | undefined {
    const { namespace, name, uid = "", labels, resourceVersion = "" } = object.metadata;
    const { [mark.stack]: stack, [mark.component]: component } = labels ?? {};
    if (stack === undefined || component === undefined || namespace === undefined) return undefined;
    const value = this.#deps.project(object);
    return { ref: refIn(namespace, { stack, component }), namespace, name, uid, version: resourceVersion, value };
  }

  #changed(key: string, now: Mirrored<T> | undefined, before: Mirrored<T> | undefined): void {
    const told = now ?? before;
    if (told === undefined) return;
    if (now !== undefined && this.#gone.get(key) === now.uid) return;
    this.#gone.delete(key);
    const ahead = this.#ahead.get(key);
    if (ahead !== undefined && isNewer(ahead, told.version)) return;
    this.#ahead.delete(key);
    if (now === undefined) this.#drop(placeOf(told.ref), key);
    else this.#put(key, now);
    // Hearing of what was written here is no news.
    if (ahead !== told.version && this.#deps.isNews?.(now?.value, before?.value) !== false) this.#deps.onChange?.(told.ref);
  }

  #put(key: string, now: Mirrored<T>): void {
    const place = placeOf(now.ref);
    const ours = this.#byRef.get(place) ?? new Map<string, Mirrored<T>>();
    this.#byRef.set(place, ours.set(key, now));
  }

  #drop(place: string, key: string): void {
    const ours = this.#byRef.get(place);
    if (ours?.delete(key) === true && ours.size === 0) this.#byRef.delete(place);
  }
}

const placeOf = ({ stack, component }: Ref): string => `${stack}/${component}`;

/** Versions of one kind are whole numbers that only grow. https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions */
export function isNewer(one: string, other: string): boolean {
  return one.length === other.length ? one > other : one.length > other.length;
}
