// The Services and HTTPRoutes of this installation in one cluster, as they are watched: who takes one away or changes it by hand takes users away from a component, and nothing
// else would tell. Watched from the first question on.
import { contentHash } from "../../core/canonical.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import type { KubeObject, Listed } from "../../kubernetes/objects.ts";
import { Watched } from "../../kubernetes/watch.ts";
import type { Ref } from "../engine.ts";
import { mark, selector } from "./names.ts";
import { roleOfRoutes, type Print, type Prints } from "./routes.ts";

const kinds = ["Service", "HTTPRoute"] as const;
type RoutedKind = (typeof kinds)[number];

interface Stood {
  readonly ref: Ref;
  readonly print: Print;
}

export function printOf(object: Listed & { readonly spec?: unknown }): Print {
  return `${object.metadata.uid ?? ""} ${contentHash(object.spec ?? null)}`;
}

export class Standing implements AsyncDisposable {
  readonly #watch: () => readonly Watched<Stood, KubeObject>[];
  #opened: readonly Watched<Stood, KubeObject>[] | undefined;
  readonly #listeners = new Set<(ref: Ref) => void>();
  /** What this process made of each, by `kind/namespace/name`: hearing of that is no news. */
  readonly #made = new Map<string, Print>();

  constructor(deps: { readonly api: KubeApi; readonly installation: string; readonly onTrouble?: ((error: Error) => void) | undefined }) {
    this.#watch = () =>
      kinds.map(
        (kind) =>
          new Watched<Stood, KubeObject>(deps.api, kind, {
            labels: selector({ [mark.installation]: deps.installation, [mark.role]: roleOfRoutes }),
            project: stoodOf,
            onChange: (key, now, before) => this.#changed(`${kind}/${key}`, now, before),
            onTrouble: deps.onTrouble,
          }),
      );
  }

  /** Whether all of them stand as they were put; undefined: that is not known now. `prints`: by `kind/name`. */
  has(namespace: string, prints: Prints): boolean | undefined {
    const watched = this.#open();
    if (watched.some(({ since }) => since !== undefined)) return undefined;
    return Object.entries(prints).every(([name, print]) => {
      const [kind = "", own = ""] = name.split("/");
      return watched[kinds.indexOf(kind as RoutedKind)]?.items.get(`${namespace}/${own}`)?.print === print;
    });
  }

  /** They were put so by this process. */
  made(namespace: string, prints: Prints): void {
    for (const [name, print] of Object.entries(prints)) this.#made.set(keyOf(namespace, name), print);
  }

  /** This process takes it away; `name`: `kind/name`. */
  removing(namespace: string, name: string): void {
    this.#made.delete(keyOf(namespace, name));
  }

  /** Told of what somebody else did to them. */
  listen(listener: (ref: Ref) => void): () => void {
    this.#open();
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all((this.#opened ?? []).map((one) => one.close()));
  }

  #open(): readonly Watched<Stood, KubeObject>[] {
    return (this.#opened ??= this.#watch());
  }

  #changed(key: string, now: Stood | undefined, before: Stood | undefined): void {
    const { ref } = now ?? before ?? {};
    const made = this.#made.get(key);
    // What is found at the first look is the resync's to compare.
    if (ref === undefined || made === undefined || now?.print === made || now?.print === before?.print) return;
    for (const listener of this.#listeners) listener(ref);
  }
}

const keyOf = (namespace: string, name: string): string => {
  const [kind = "", own = ""] = name.split("/");
  return `${kind}/${namespace}/${own}`;
};

function stoodOf(object: KubeObject): Stood | undefined {
  const { [mark.stack]: stack, [mark.component]: component } = object.metadata.labels ?? {};
  if (stack === undefined || component === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
  return { ref: { stack, component }, print: printOf(object) };
}
