// Keeps what matters of a collection in memory: one LIST, then one WATCH that is resumed where it broke. What it tells is a hint; since when it cannot know is part of it.
// Must never hold whole objects, and never keep the event loop for long.
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { KubeApi } from "./api.ts";
import { isExpired, KubeError, KubeProtocolError, KubeTimeout, KubeUnreachable, statusIn, unreachable } from "./errors.ts";
import { readLines } from "./lines.ts";
import { listPages, type Selection } from "./list.ts";
import { keyOf, type KubeObject, type Listed } from "./objects.ts";
import { pathOf, type Kind } from "./paths.ts";

export interface WatchOptions<T, O extends Listed> extends Selection {
  /** What is kept of an object; undefined: nothing, as if it were not there. */
  readonly project: (object: O) => T | undefined;
  /** `now` is undefined when it is gone, `before` when it is new. Called at once for each change, the first list included; must be quick, and must not throw. */
  readonly onChange?: ((key: string, now: T | undefined, before: T | undefined) => void) | undefined;
  /** Each failure, before it is tried again; for the log. */
  readonly onTrouble?: ((error: Error) => void) | undefined;
  readonly pageSize?: number | undefined;
  /** ms; for tests. */
  readonly patience?: Partial<Patience> | undefined;
}

export interface Patience {
  /** The first wait after a failure; doubles with each one. */
  readonly first: number;
  readonly longest: number;
  /** Without a byte for so long a watch counts as cut. Bookmarks come about once a minute. */
  readonly silence: number;
}

interface WatchEvent<O> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: O;
}

/** Once a cluster is back it is not to be waited for: a question each few seconds is nothing to it. */
const defaultPatience: Patience = { first: 500, longest: 5_000, silence: 150_000 };
/** Seconds that a watch lasts at least; twice that at most, so that not all of them come back at once. */
const shortestWatch = 240;
/** A page of pods is some 2 MB of JSON then, which is parsed in one go. */
const pageOfWatches = 250;
/** ms of work after which other work gets its turn. */
const slice = 10;
/** etcd takes objects of up to 1.5 MiB, and as JSON they may grow. */
const maxEventBytes = 16 * 1024 * 1024;
/** A watch that ends within this without a word was no watch, ms. */
const shortestUseful = 1_000;
/** Refusals in a row after which the version to resume from is doubted. */
const doubtAfter = 5;

export class Watched<T, O extends Listed = KubeObject> {
  readonly #api: KubeApi;
  readonly #kind: Kind;
  readonly #options: WatchOptions<T, O>;
  readonly #patience: Patience;
  readonly #items = new Map<string, T>();
  /** key -> resourceVersion, for all that are kept. */
  readonly #versions = new Map<string, string | undefined>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** Where to resume; undefined: by a new list. */
  #version: string | undefined;
  #heard = Date.now();
  #since: Date | undefined = new Date();
  #lostAt: Date | undefined = new Date();
  /** The watch of now was answered, ms of this process. */
  #opened: number | undefined;
  #trouble: Error | undefined;
  #lists = 0;
  #sliceBegan = 0;

  /** Begins at once. */
  constructor(api: KubeApi, kind: Kind, options: WatchOptions<T, O>) {
    this.#api = api;
    this.#kind = kind;
    this.#options = options;
    this.#patience = { ...defaultPatience, ...options.patience };
    // Whoever does not wait for it is not to blame for it.
    this.#synced.promise.catch(() => undefined);
    this.#running = this.#run();
  }

  /** What is kept, by `namespace/name`. */
  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  /** The first list is in `items`. Rejects when it is closed before. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Since when changes may be unknown; undefined while they are told as they happen. */
  get since(): Date | undefined {
    return this.#since;
  }

  /** When that was found out: a watch that is quiet has long heard nothing when it is cut. undefined with `since`. */
  get lostAt(): Date | undefined {
    return this.#lostAt;
  }

  /** Why it cannot know; undefined with `since`. */
  get trouble(): Error | undefined {
    return this.#trouble;
  }

  /** When the server last said anything, if only that nothing changed; unix ms. */
  get heard(): number {
    return this.#heard;
  }

  /** How often the whole collection was read. */
  get lists(): number {
    return this.#lists;
  }

  /** Ends it; afterwards nothing is told any more. `items` stays as it was. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the watch was closed"));
    this.#synced.reject(new Error(`the watch of ${this.#kind} was closed before its first list`));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      const began = performance.now();
      let told = 0;
      this.#opened = undefined;
      try {
        if (this.#version === undefined) await this.#list();
        for await (const events of this.#watch()) told += await this.#take(events);
        const wasUseful = told > 0 || performance.now() - began >= shortestUseful;
        failures = wasUseful ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) return;
        // One that was well for a while, and quiet, did not fail.
        if (told > 0 || (this.#opened !== undefined && performance.now() - this.#opened >= shortestUseful)) failures = 0;
        if (this.#isToBeginAnew(error, failures)) this.#version = undefined;
        this.#lost(error instanceof Error ? error : new Error(String(error)));
        failures++;
      }
      if (failures > 0) await sleep(this.#waitAfter(failures), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Whether the version to resume from is not to be trusted any more. */
  #isToBeginAnew(error: unknown, failures: number): boolean {
    if (error instanceof KubeError) return isExpired(error) || failures >= doubtAfter;
    return !(error instanceof KubeUnreachable);
  }

  #waitAfter(failures: number): number {
    const { first, longest } = this.#patience;
    return Math.min(longest, first * 2 ** Math.min(failures - 1, 16)) * (0.5 + Math.random() / 2);
  }

  #lost(error: Error): void {
    this.#since ??= new Date(this.#heard);
    this.#lostAt ??= new Date();
    this.#trouble = error;
    this.#options.onTrouble?.(error);
  }

  #found(): void {
    this.#since = undefined;
    this.#lostAt = undefined;
    this.#trouble = undefined;
  }

  async #list(): Promise<void> {
    const { namespace, labels, fields, pageSize = pageOfWatches } = this.#options;
    let seen = new Set<string>();
    let version: string | undefined;
    const pages = listPages<O>(this.#api, this.#kind, { namespace, labels, fields, pageSize, signal: this.#closing.signal });
    for await (const page of pages) {
      if (page.anew) seen = new Set();
      version = page.resourceVersion;
      this.#sliceBegan = performance.now();
      for (const object of page.items) {
        const key = keyOf(object);
        seen.add(key);
        if (!this.#versions.has(key) || this.#versions.get(key) !== object.metadata.resourceVersion) this.#put(key, object);
        if (this.#hasWorkedLong()) await this.#breathe();
      }
    }
    for (const key of [...this.#items.keys()]) if (!seen.has(key)) this.#drop(key);
    this.#version = version;
    this.#lists++;
    this.#heard = Date.now();
    this.#found();
    this.#synced.resolve();
  }

  /** Lines of events until the server ends the watch. */
  async *#watch(): AsyncGenerator<readonly string[]> {
    const { namespace, labels, fields } = this.#options;
    const silent = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, silent.signal]);
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: this.#version,
      timeoutSeconds: Math.round(shortestWatch * (1 + Math.random())),
      labelSelector: labels,
      fieldSelector: fields,
    };
    const chunks = await this.#api.stream(pathOf(this.#kind, namespace), { query, signal, timeout: 30_000 });
    // Only what is heard proves that nothing was missed: a version that is too old is refused in the first event.
    this.#found();
    this.#opened = performance.now();
    const { silence } = this.#patience;
    const timer = setTimeout(() => {
      silent.abort(unreachable(this.#api.name, new KubeTimeout(`a watch was silent for ${String(silence / 1_000)} s`)));
    }, silence);
    try {
      for await (const lines of readLines(chunks, maxEventBytes, "throw")) {
        this.#heard = Date.now();
        timer.refresh();
        yield lines.map((line) => line.text);
      }
      this.#heard = Date.now();
    } finally {
      clearTimeout(timer);
    }
  }

  /** How many events they were. */
  async #take(lines: readonly string[]): Promise<number> {
    let told = 0;
    this.#sliceBegan = performance.now();
    for (const line of lines) {
      if (line.trim() === "") continue;
      const { type, object } = parseEvent<O>(line);
      if (type === "ERROR") {
        const status = statusIn(JSON.stringify(object));
        throw new KubeError(status.code ?? 500, status);
      }
      told++;
      this.#version = object.metadata.resourceVersion ?? this.#version;
      if (type === "BOOKMARK") continue;
      const key = keyOf(object);
      if (type === "DELETED") this.#drop(key);
      else this.#put(key, object);
      if (this.#hasWorkedLong()) await this.#breathe();
    }
    return told;
  }

  #put(key: string, object: O): void {
    const now = this.#options.project(object);
    if (now === undefined) {
      this.#drop(key);
      return;
    }
    const before = this.#items.get(key);
    this.#items.set(key, now);
    this.#versions.set(key, object.metadata.resourceVersion);
    this.#options.onChange?.(key, now, before);
  }

  #drop(key: string): void {
    const before = this.#items.get(key);
    if (!this.#items.delete(key)) return;
    this.#versions.delete(key);
    this.#options.onChange?.(key, undefined, before);
  }

  #hasWorkedLong(): boolean {
    return performance.now() - this.#sliceBegan >= slice;
  }

  async #breathe(): Promise<void> {
    await turn(undefined, { signal: this.#closing.signal });
    this.#sliceBegan = performance.now();
  }
}

function parseEvent<O>(line: string): WatchEvent<O> {
  let event: Partial<WatchEvent<{ metadata?: unknown }>> | null;
  try {
    event = JSON.parse(line) as typeof event;
  } catch (error) {
    throw new KubeProtocolError(`a watch gave no JSON: ${line.slice(0, 200)}`, { cause: error });
  }
  const { type, object } = event ?? {};
  const isWhole =
    typeof object === "object" &&
    object !== null &&
    (type === "ERROR" || (typeof object.metadata === "object" && object.metadata !== null));
  if (type === undefined || !isWhole) throw new KubeProtocolError(`a watch gave no event: ${line.slice(0, 200)}`);
  return event as WatchEvent<O>;
}
