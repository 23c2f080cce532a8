// All components of a router and the host table over them. Changes come from the primary, one entry at a time.
import type { Ref } from "../../engines/engine.ts";
import { HostTable, type HostRoute } from "../hosts.ts";
import type { InFlight, InstanceCounts, StoredEntry, TrackMetrics } from "../ipc.ts";
import { Component, type ComponentDeps, type PortTarget } from "./component.ts";

export function refKey(ref: Ref): string {
  return `${ref.stack}/${ref.component}`;
}

export class RouteTable {
  readonly components = new Map<string, Component>();
  readonly #ready = new Map<string, boolean>();
  readonly #byInstance = new Map<string, Set<Component>>();
  readonly #deps: ComponentDeps;
  #hosts = new HostTable<PortTarget>([]);

  constructor(deps: { readonly responseTimeout: number; now(): number }) {
    this.#deps = { responseTimeout: deps.responseTimeout, now: deps.now, isReady: (instance) => this.#ready.get(instance) === true };
  }

  find(host: string, path: string): PortTarget | undefined {
    return this.#hosts.find(host, path);
  }

  /** Puts an entry, or a tombstone, in force. */
  apply(stored: StoredEntry): void {
    const before = hostsOf(this.components.get(refKey(stored.ref)));
    this.#put(stored);
    // Most changes are of endpoints only, and compiling 1,000 components for each would delay requests.
    if (hostsOf(this.components.get(refKey(stored.ref))) !== before) this.#compile();
  }

  applyAll(all: readonly StoredEntry[]): void {
    for (const stored of all) this.#put(stored);
    this.#compile();
  }

  /** Everything there is, in place of what was known. */
  replaceAll(entries: readonly StoredEntry[], readiness: readonly (readonly [string, boolean])[]): void {
    const ready = new Map(readiness);
    this.setReady([
      ...[...this.#ready.keys()].filter((instance) => ready.get(instance) !== true).map((instance) => [instance, false] as const),
      ...readiness,
    ]);
    const there = new Set(entries.map((stored) => refKey(stored.ref)));
    for (const { ref, generation } of [...this.components.values()])
      if (!there.has(refKey(ref))) this.#put({ ref, fence: { installation: "", epoch: 0, generation }, entry: null });
    this.applyAll(entries);
  }

  readyInstances(): string[] {
    return [...this.#ready].filter(([, ready]) => ready).map(([instance]) => instance);
  }

  /** What is being served, of the tracks that serve. */
  inFlight(): InFlight[] {
    const all: InFlight[] = [];
    for (const component of this.components.values())
      for (const [track, inFlight] of component.inFlightByTrack()) if (inFlight > 0) all.push({ ...component.ref, track, inFlight });
    return all;
  }

  /** What other routers serve; a component that is not named is served nowhere else. */
  setElsewhere(inFlight: readonly (Ref & { readonly inFlight: number })[]): void {
    for (const component of this.components.values()) component.elsewhere = 0;
    for (const one of inFlight) {
      const component = this.components.get(refKey(one));
      if (component !== undefined) component.elsewhere += one.inFlight;
    }
  }

  setReady(changes: readonly (readonly [string, boolean])[]): void {
    const touched = new Map<Component, Set<string>>();
    for (const [instance, ready] of changes) {
      if (ready) this.#ready.set(instance, true);
      else this.#ready.delete(instance);
      for (const component of this.#byInstance.get(instance) ?? []) {
        const instances = touched.get(component);
        if (instances === undefined) touched.set(component, new Set([instance]));
        else instances.add(instance);
      }
    }
    for (const [component, instances] of touched) component.setReady(instances);
  }

  counts(ref: Ref): InstanceCounts[] {
    const component = this.components.get(refKey(ref));
    return component === undefined
      ? []
      : [...component.counters].map(([instance, { inFlight, requests, errors }]) => ({ instance, inFlight, requests, errors }));
  }

  metrics(): TrackMetrics[] {
    const all: TrackMetrics[] = [];
    for (const component of this.components.values()) {
      const inFlight = component.inFlightByTrack();
      for (const [name, stats] of component.stats)
        if (stats !== component.noTrack || stats.touched) all.push(stats.snapshot(component.ref, name, inFlight.get(name) ?? 0));
    }
    return all;
  }

  #put(stored: StoredEntry): void {
    const key = refKey(stored.ref);
    const known = this.components.get(key);
    if (stored.entry === null) {
      known?.close();
      this.components.delete(key);
      if (known !== undefined) this.#index(known, []);
      return;
    }
    const component = known ?? new Component(stored.entry, stored.fence.generation, this.#deps);
    if (known === undefined) this.components.set(key, component);
    else known.update(stored.entry, stored.fence.generation);
    this.#index(
      component,
      stored.entry.ports.flatMap((port) => port.tracks.flatMap((track) => track.endpoints.map((endpoint) => endpoint.instance))),
    );
  }

  #index(component: Component, instances: readonly string[]): void {
    const named = new Set(instances);
    for (const [instance, components] of this.#byInstance) {
      if (!components.has(component) || named.has(instance)) continue;
      components.delete(component);
      if (components.size === 0) this.#byInstance.delete(instance);
    }
    for (const instance of named) {
      const components = this.#byInstance.get(instance);
      if (components === undefined) this.#byInstance.set(instance, new Set([component]));
      else components.add(component);
    }
  }

  #compile(): void {
    const routes: HostRoute<PortTarget>[] = [];
    for (const component of this.components.values())
      for (const target of component.ports.values()) {
        if (target.spec.protocol === "http") for (const { host, path } of target.spec.hosts) routes.push({ host, path, target });
      }
    this.#hosts = new HostTable(routes);
  }
}

function hostsOf(component: Component | undefined): string {
  return component === undefined
    ? ""
    : JSON.stringify([...component.ports.values()].map((target) => [target.name, target.spec.protocol, target.spec.hosts]));
}
