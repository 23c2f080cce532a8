// What a router knows about one component: its ports, tracks and endpoints, with their counts. It is changed in place, so that requests on their way keep their target.
import type { Ref } from "../../engines/engine.ts";
import type { TrafficEntry, TrafficPort, TrafficTrack } from "../../engines/traffic.ts";
import { HostTable } from "../hosts.ts";
import { compileRules, type CompiledRule } from "../routing.ts";
import { originText } from "./accesslog.ts";
import { TrackStats } from "./stats.ts";
import { StreamPool } from "./h2/upstream.ts";
import { UpstreamPool } from "./upstream.ts";

/** ms that an endpoint is left alone after it refused a connection. */
const suspectFor = 200;

/** Counts of one instance over all of its ports, in this router. */
export class InstanceCounters {
  inFlight = 0;
  requests = 0;
  errors = 0;
}

export class Endpoint {
  readonly instance: string;
  readonly releaseHash: string;
  readonly host: string;
  readonly port: number;
  readonly counters: InstanceCounters;
  readonly pool: UpstreamPool;
  /** Present: it speaks HTTP/2, without TLS. */
  readonly streams: StreamPool | undefined;
  active = true;
  ready = false;
  /** Its part of a line in the access log. */
  origin = "";
  /** ms clock until which it is left alone because it refused a connection. */
  suspectUntil = 0;

  constructor(
    instance: string,
    releaseHash: string,
    host: string,
    port: number,
    counters: InstanceCounters,
    deps: Pick<ComponentDeps, "responseTimeout" | "now">,
    speaksHttp2 = false,
  ) {
    this.instance = instance;
    this.releaseHash = releaseHash;
    this.host = host;
    this.port = port;
    this.counters = counters;
    this.pool = new UpstreamPool({ host, port, responseTimeout: deps.responseTimeout, now: deps.now });
    this.streams = speaksHttp2 ? new StreamPool({ host, port, responseTimeout: deps.responseTimeout, now: deps.now }) : undefined;
  }

  /** Ends its connections as soon as nothing is on them. */
  close(): void {
    this.pool.close();
    this.streams?.close();
  }

  get inFlight(): number {
    return this.counters.inFlight;
  }
}

export interface Track {
  readonly name: string;
  weight: number;
  endpoints: Endpoint[];
  /** Active, ready and not suspect: kept up to date, so that a request only reads it. */
  usable: Endpoint[];
  readonly stats: TrackStats;
}

/** Someone who waits for an endpoint. `retry` is called when one may be there; it asks again or waits on. */
export interface Waiter {
  retry(): void;
}

export class PortTarget {
  readonly component: Component;
  readonly name: string;
  tracks: Track[] = [];
  readonly waiters = new Set<Waiter>();
  spec: TrafficPort;
  /** Hosts and paths whose plain requests are sent to HTTPS; undefined for most. */
  redirects: HostTable<boolean> | undefined;

  constructor(component: Component, spec: TrafficPort) {
    this.component = component;
    this.name = spec.name;
    this.spec = spec;
  }

  /** Leaves an endpoint alone for a moment because it refused a connection; others take over, or its next readiness report ends it. */
  suspect(endpoint: Endpoint, now: number): void {
    endpoint.suspectUntil = now + suspectFor;
    this.refresh(now);
    setTimeout(() => {
      this.refresh(endpoint.suspectUntil);
    }, suspectFor + 1).unref();
  }

  /** Recomputes who can be used; wakes the waiters when someone can. */
  refresh(now: number): void {
    let usable = 0;
    for (const track of this.tracks) {
      track.usable = track.endpoints.filter((endpoint) => endpoint.active && endpoint.ready && endpoint.suspectUntil <= now);
      usable += track.usable.length;
    }
    if (usable > 0 && this.waiters.size > 0) this.wake();
  }

  wake(): void {
    const waiting = [...this.waiters];
    this.waiters.clear();
    for (const waiter of waiting) waiter.retry();
  }
}

export interface ComponentDeps {
  readonly responseTimeout: number;
  isReady(instance: string): boolean;
  now(): number;
}

export class Component {
  readonly ref: Ref;
  /** Its part of a line in the access log. */
  readonly origin: string;
  readonly #deps: ComponentDeps;
  readonly ports = new Map<string, PortTarget>();
  readonly counters = new Map<string, InstanceCounters>();
  readonly stats = new Map<string, TrackStats>();
  /** Requests that reached the component but no track. */
  readonly noTrack: TrackStats;
  /** Bytes of a request's body, and requests and connections at the same time; Infinity: no limit. */
  maxBody = Infinity;
  maxConnections = Infinity;
  /** What other routers serve of it, as they last told. */
  elsewhere = 0;
  rules: readonly CompiledRule[] = [];
  entry: TrafficEntry;
  generation: number;

  constructor(entry: TrafficEntry, generation: number, deps: ComponentDeps) {
    this.ref = entry.ref;
    this.origin = originText(entry.ref);
    this.#deps = deps;
    this.entry = entry;
    this.generation = generation;
    this.noTrack = this.trackStats("none");
    this.update(entry, generation);
  }

  update(entry: TrafficEntry, generation: number): void {
    this.entry = entry;
    this.generation = generation;
    this.maxBody = entry.limits?.maxBody ?? Infinity;
    this.maxConnections = entry.limits?.maxConnections ?? Infinity;
    this.rules = compileRules(entry.rules);
    const names = new Set(entry.ports.map((port) => port.name));
    for (const [name, target] of this.ports) if (!names.has(name)) this.#dropPort(name, target);
    for (const spec of entry.ports) {
      let target = this.ports.get(spec.name);
      if (target === undefined) {
        target = new PortTarget(this, spec);
        this.ports.set(spec.name, target);
      }
      this.#updatePort(target, spec);
    }
    this.#forgetCounters();
    for (const target of this.ports.values()) if (entry.stopped) target.wake();
  }

  /** Ends everything: waiters are told, idle connections closed. */
  close(): void {
    for (const [name, target] of this.ports) this.#dropPort(name, target);
  }

  /** Takes over what is known about these instances. */
  setReady(instances: ReadonlySet<string>): void {
    const now = this.#deps.now();
    for (const target of this.ports.values()) {
      let changed = false;
      for (const track of target.tracks)
        for (const endpoint of track.endpoints)
          if (instances.has(endpoint.instance)) {
            endpoint.ready = this.#deps.isReady(endpoint.instance);
            // A fresh report outweighs an old refused connection.
            endpoint.suspectUntil = 0;
            changed = true;
          }
      if (changed) target.refresh(now);
    }
  }

  trackStats(name: string): TrackStats {
    let stats = this.stats.get(name);
    if (stats === undefined) {
      stats = new TrackStats();
      this.stats.set(name, stats);
    }
    return stats;
  }

  /** Whether one more would be too many. Those that wait for an instance count too. */
  get isFull(): boolean {
    if (this.maxConnections === Infinity) return false;
    let open = this.elsewhere;
    for (const { inFlight } of this.counters.values()) open += inFlight;
    for (const { waiters } of this.ports.values()) open += waiters.size;
    return open >= this.maxConnections;
  }

  /** An instance with several ports counts once. */
  inFlightByTrack(): Map<string, number> {
    const seen = new Set<InstanceCounters>();
    const sums = new Map<string, number>();
    for (const target of this.ports.values())
      for (const track of target.tracks)
        for (const endpoint of track.endpoints) {
          if (seen.has(endpoint.counters)) continue;
          seen.add(endpoint.counters);
          sums.set(track.name, (sums.get(track.name) ?? 0) + endpoint.inFlight);
        }
    return sums;
  }

  #dropPort(name: string, target: PortTarget): void {
    for (const track of target.tracks) for (const endpoint of track.endpoints) endpoint.close();
    target.tracks = [];
    this.ports.delete(name);
    target.wake();
  }

  #updatePort(target: PortTarget, spec: TrafficPort): void {
    const known = new Map<string, Endpoint>();
    for (const track of target.tracks)
      for (const endpoint of track.endpoints) known.set(endpointKey(endpoint, endpoint.streams !== undefined), endpoint);
    target.spec = spec;
    const redirects = spec.hosts.map(({ host, path, https }) => ({ host, path, target: https === "redirect" }));
    target.redirects = redirects.some((route) => route.target) ? new HostTable(redirects) : undefined;
    target.tracks = spec.tracks.map((track) => this.#track(track, known));
    for (const gone of known.values()) {
      gone.active = false;
      gone.close();
    }
    target.refresh(this.#deps.now());
  }

  #track(spec: TrafficTrack, known: Map<string, Endpoint>): Track {
    const endpoints = spec.endpoints.map((wanted) => {
      const key = endpointKey(wanted, wanted.http2 === true);
      let endpoint = known.get(key);
      known.delete(key);
      endpoint ??= new Endpoint(
        wanted.instance,
        wanted.releaseHash,
        wanted.host,
        wanted.port,
        this.#instance(wanted.instance),
        this.#deps,
        wanted.http2 === true,
      );
      endpoint.origin = originText(this.ref, spec.name, endpoint);
      endpoint.active = wanted.state === "active";
      endpoint.ready = this.#deps.isReady(wanted.instance);
      return endpoint;
    });
    return { name: spec.name, weight: spec.weight, endpoints, usable: [], stats: this.trackStats(spec.name) };
  }

  #instance(id: string): InstanceCounters {
    let counters = this.counters.get(id);
    if (counters === undefined) {
      counters = new InstanceCounters();
      this.counters.set(id, counters);
    }
    return counters;
  }

  #forgetCounters(): void {
    const named = new Set<string>();
    for (const target of this.ports.values())
      for (const track of target.tracks) for (const endpoint of track.endpoints) named.add(endpoint.instance);
    for (const [id, counters] of this.counters) if (!named.has(id) && counters.inFlight === 0) this.counters.delete(id);
  }
}

function endpointKey(endpoint: Pick<Endpoint, "instance" | "releaseHash" | "host" | "port">, speaksHttp2: boolean): string {
  return `${endpoint.instance} ${endpoint.releaseHash} ${endpoint.host} ${String(endpoint.port)}${speaksHttp2 ? " http2" : ""}`;
}
