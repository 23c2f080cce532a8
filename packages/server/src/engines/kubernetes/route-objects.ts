// What of the traffic of components is in a cluster: the records of what was applied, the Services and HTTPRoutes that were made of them, and the pods behind these. All of it is
// watched, so that looking at it asks nothing; and what is there as it was applied is not applied again.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { contentHash } from "../../core/canonical.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import type { Listed } from "../../kubernetes/objects.ts";
import type { Ref } from "../engine.ts";
import type { TrafficEntry } from "../traffic.ts";
import { Mirror, type Mirrored } from "./mirror.ts";
import { mark, namespaceOf, selector } from "./names.ts";
import type { ConfigMap } from "./objects.ts";
import { roleOfRoutes, type HTTPRoute, type Print, type Prints, type Service } from "./routes.ts";

/** An entry that is in force. */
export interface AppliedRecord {
  readonly entry: TrafficEntry;
  readonly generation: number;
  readonly digest: string;
  /** Of what was put for it; none of an entry that was put before they were written down. */
  readonly prints: Prints;
}

interface Slice extends Listed {
  readonly endpoints?: readonly { readonly targetRef?: { readonly name?: string } }[] | null;
}
interface Written {
  readonly print: Print;
}
interface Route extends Written {
  readonly problems: readonly Cause[];
}

export interface RouteObjectsDeps {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly installation: string;
  /** Something changed of what people are led by. */
  readonly onChange?: ((ref: Ref) => void) | undefined;
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

export class RouteObjects implements AsyncDisposable {
  readonly #api: KubeApi;
  readonly #records: Mirror<AppliedRecord | undefined, ConfigMap>;
  readonly #services: Mirror<Written, Service>;
  readonly #routes: Mirror<Route, HTTPRoute>;
  readonly #slices: Mirror<readonly string[], Slice>;
  /** Kind and key -> what was applied, and what the cluster made of it. */
  readonly #applied = new Map<string, { readonly content: string; readonly print: Print }>();

  constructor(deps: RouteObjectsDeps) {
    this.#api = deps.api;
    const labels = selector({ [mark.installation]: deps.installation, [mark.role]: roleOfRoutes });
    this.#records = new Mirror("ConfigMap", { ...deps, labels, project: recordIn });
    // Who takes one away or changes it by hand takes users away from a component, and nothing else would tell.
    this.#services = new Mirror("Service", { ...deps, labels, project: (service: Service): Written => ({ print: printOf(service) }) });
    this.#routes = new Mirror("HTTPRoute", {
      ...deps,
      labels,
      project: (route: HTTPRoute): Route => ({ print: printOf(route), problems: problemsOf(route) }),
    });
    this.#slices = new Mirror("EndpointSlice", { ...deps, labels, project: podsIn });
  }

  /** Resolves when all of it is known. Errors: as of `known`. */
  async ready(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#records, this.#services, this.#routes, this.#slices].map((mirror) => mirror.ready(signal)));
  }

  record(ref: Ref): AppliedRecord | undefined {
    return this.#records.of(ref).at(0)?.value;
  }

  *records(): Generator<{ readonly ref: Ref; readonly generation: number }> {
    for (const { ref, value } of this.#records.all()) yield { ref, generation: this.stands(ref) ? (value?.generation ?? 0) : 0 };
  }

  /** Whether all Services and routes of the entry in force are there as they were put. */
  stands(ref: Ref): boolean {
    const found = this.#found(ref);
    return Object.entries(this.record(ref)?.prints ?? {}).every(([name, print]) => found.get(name) === print);
  }

  /** Whether all of them are there, and some otherwise than they were put. */
  isChanged(ref: Ref): boolean {
    const found = this.#found(ref);
    const isThere = (name: string): boolean => found.get(name)?.includes(" going ") === false;
    return !this.stands(ref) && Object.keys(this.record(ref)?.prints ?? {}).every(isThere);
  }

  /** `kind/name` of those that are there otherwise than they were put. */
  changed(ref: Ref): ReadonlySet<string> {
    const found = this.#found(ref);
    return new Set(
      Object.entries(this.record(ref)?.prints ?? {}).flatMap(([name, print]) => {
        const now = found.get(name);
        // Another one of its name is there, too.
        return now === undefined || now === print || now.includes(" going ") ? [] : [name];
      }),
    );
  }

  /** What the gateway says of routes that it does not serve as they are. */
  problems(ref: Ref): Cause[] {
    return this.#routes.of(ref).flatMap(({ value }) => value.problems);
  }

  /** Names of pods that some Service of the component leads to. */
  podsBehind(ref: Ref): ReadonlySet<string> {
    return new Set(this.#slices.of(ref).flatMap(({ value }) => value));
  }

  /**
   * Makes it so, unless it is so as it was applied; with `leaves`, also unless somebody changed it since and it is to be as before. Answers how it was put. Errors: as of
   * KubeApi.request.
   */
  async apply(object: Service | HTTPRoute, signal: AbortSignal, { leaves = false }: { readonly leaves?: boolean } = {}): Promise<Print> {
    const { kind, metadata } = object;
    const key = `${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
    const content = contentHash(object);
    const before = this.#applied.get(key);
    const now = this.#printOf(object);
    if (before?.content === content && (now === before.print || (leaves && now?.includes(" going ") === false))) return before.print;
    const stored = await this.#api.apply<Service | HTTPRoute>(object, { force: true, signal }).catch((error: unknown) => {
      // Beside a port that somebody changed, ours would be a second one of its name: an apply only adds.
      if (!(error instanceof KubeError) || error.status !== 422 || kind !== "Service") throw error;
      const patch = [{ op: "replace", path: "/spec/ports", value: object.spec.ports }] as const;
      return this.#api.jsonPatch<Service>({ kind, namespace: metadata.namespace, name: metadata.name }, patch, { signal });
    });
    const print = printOf(stored);
    this.#applied.set(key, { content, print });
    if (kind === "Service") this.#services.wrote(stored as Service);
    else this.#routes.wrote(stored as HTTPRoute);
    return print;
  }

  /** Errors: as of KubeApi.request. */
  async writeRecord(record: ConfigMap, signal: AbortSignal): Promise<void> {
    this.#records.wrote(await this.#api.apply<ConfigMap>(record, { force: true, signal }));
  }

  /** Removes Services and routes of a component but those that are to be kept (`kind/name`). Errors: as of KubeApi.request. */
  async removeOthers(ref: Ref, keep: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    await this.#remove("HTTPRoute", this.#routes, ref, keep, signal);
    await this.#remove("Service", this.#services, ref, keep, signal);
  }

  /** Errors: as of KubeApi.request. */
  async removeRecord(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#remove("ConfigMap", this.#records, ref, new Set(), signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#records, this.#services, this.#routes, this.#slices].map((mirror) => mirror[Symbol.asyncDispose]()));
  }

  #found(ref: Ref): ReadonlyMap<string, Print> {
    return new Map<string, Print>(
      [["Service", this.#services.of(ref)] as const, ["HTTPRoute", this.#routes.of(ref)] as const].flatMap(([kind, all]) =>
        all.map(({ name, value }) => [`${kind}/${name}`, value.print] as const),
      ),
    );
  }

  #printOf({ kind, metadata }: Service | HTTPRoute): Print | undefined {
    const { [mark.stack]: stack = "", [mark.component]: component = "" } = metadata.labels ?? {};
    const known: readonly Mirrored<Written>[] = (kind === "Service" ? this.#services : this.#routes).of({ stack, component });
    return known.find(({ name }) => name === metadata.name)?.value.print;
  }

  async #remove<T, O extends Listed>(
    kind: "HTTPRoute" | "Service" | "ConfigMap",
    mirror: Mirror<T, O>,
    ref: Ref,
    keep: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<void> {
    const namespace = namespaceOf(ref);
    for (const { name } of mirror.of(ref)) {
      if (keep.has(`${kind}/${name}`)) continue;
      await this.#api.delete({ kind, namespace, name }, { signal });
      this.#applied.delete(`${kind} ${namespace}/${name}`);
      mirror.removed(ref, namespace, name);
    }
  }
}

/** Changes when somebody changes what was applied, or puts another one in its place. */
const printOf = ({ metadata, spec }: Service | HTTPRoute): Print =>
  `${metadata.uid ?? ""} ${metadata.deletionTimestamp === undefined ? "" : "going "}${contentHash(spec)}`;

function recordIn({ data }: ConfigMap): AppliedRecord | undefined {
  const text = data?.["entry"];
  if (text === undefined) return undefined;
  const entry = JSON.parse(text) as TrafficEntry;
  const prints = JSON.parse(data?.["objects"] ?? "{}") as Prints;
  return { entry, generation: Number(data?.["generation"] ?? 0), digest: contentHash(entry), prints };
}

function problemsOf({ metadata, status }: HTTPRoute): Cause[] {
  return (status?.parents ?? []).flatMap(({ conditions = [] }) =>
    conditions.flatMap(({ type, status: holds, reason = "", message = "", observedGeneration }) =>
      holds === "False" && (type === "Accepted" || type === "ResolvedRefs") && observedGeneration === metadata.generation
        ? [cause("route_refused", { route: metadata.name, reason: message === "" ? reason : message })]
        : [],
    ),
  );
}

const podsIn = ({ endpoints }: Slice): readonly string[] =>
  (endpoints ?? []).flatMap(({ targetRef }) => (targetRef?.name === undefined ? [] : [targetRef.name]));
