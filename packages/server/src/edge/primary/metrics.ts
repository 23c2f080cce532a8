// Adds up what the routers counted and writes it as Prometheus text. Series exist only for known components and tracks, so their number is bounded.
import {
  latencyBounds,
  type ClassMetrics,
  type ConnectionKind,
  type InFlight,
  type InstanceCounts,
  type MetricsSnapshot,
  type TrackMetrics,
} from "../ipc.ts";

const kinds: readonly ConnectionKind[] = ["public", "secure", "internal", "tcp", "upgraded"];

/** The sum of several routers' counts. */
export function mergeSnapshots(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const tracks = new Map<string, TrackMetrics>();
  for (const snapshot of snapshots)
    for (const track of snapshot.tracks) {
      const key = `${track.stack}/${track.component}/${track.track}`;
      const known = tracks.get(key);
      tracks.set(key, known === undefined ? track : addTracks(known, track));
    }
  const sum = (pick: (snapshot: MetricsSnapshot) => number): number => snapshots.reduce((total, snapshot) => total + pick(snapshot), 0);
  return {
    tracks: [...tracks.values()],
    unrouted: [0, 1, 2, 3, 4, 5].map((index) => sum((snapshot) => snapshot.unrouted[index] ?? 0)),
    connections: Object.fromEntries(
      kinds.map((kind) => [
        kind,
        { open: sum((one) => one.connections[kind]?.open ?? 0), total: sum((one) => one.connections[kind]?.total ?? 0) },
      ]),
    ) as Record<ConnectionKind, { open: number; total: number }>,
    refusedConnections: sum((snapshot) => snapshot.refusedConnections ?? 0),
    logDropped: sum((snapshot) => snapshot.logDropped),
    residentBytes: sum((snapshot) => snapshot.residentBytes),
  };
}

/** The sum for each instance of what several routers counted of it. */
export function addCounts(all: readonly InstanceCounts[]): InstanceCounts[] {
  const sums = new Map<string, InstanceCounts>();
  for (const one of all) {
    const known = sums.get(one.instance) ?? { instance: one.instance, inFlight: 0, requests: 0, errors: 0 };
    sums.set(one.instance, {
      instance: one.instance,
      inFlight: known.inFlight + one.inFlight,
      requests: known.requests + one.requests,
      errors: known.errors + one.errors,
    });
  }
  return [...sums.values()];
}

/** What stays of a router that ended: its counters, not its gauges; only of components that `keep`. */
export function retired(snapshot: MetricsSnapshot, keep: (track: TrackMetrics) => boolean): MetricsSnapshot {
  return {
    ...snapshot,
    residentBytes: 0,
    tracks: snapshot.tracks.filter(keep).map((track) => ({ ...track, inFlight: 0 })),
    connections: Object.fromEntries(kinds.map((kind) => [kind, { open: 0, total: snapshot.connections[kind]?.total ?? 0 }])) as Record<
      ConnectionKind,
      { open: number; total: number }
    >,
  };
}

/** What a router that was killed took with it, as it last told: counted as interrupted, never hidden. */
export function interruptedBy(tracks: readonly InFlight[]): MetricsSnapshot {
  return {
    ...mergeSnapshots([]),
    tracks: tracks.map(({ stack, component, track, inFlight }) => ({
      stack,
      component,
      track,
      classes: [null, null, null, null, null, null],
      inFlight: 0,
      retries: 0,
      holds: 0,
      holdTimeouts: 0,
      interrupted: inFlight,
      bytesIn: 0,
      bytesOut: 0,
    })),
  };
}

function addTracks(a: TrackMetrics, b: TrackMetrics): TrackMetrics {
  return {
    stack: a.stack,
    component: a.component,
    track: a.track,
    classes: [0, 1, 2, 3, 4, 5].map((index) => addClasses(a.classes[index] ?? null, b.classes[index] ?? null)),
    inFlight: a.inFlight + b.inFlight,
    retries: a.retries + b.retries,
    holds: a.holds + b.holds,
    holdTimeouts: a.holdTimeouts + b.holdTimeouts,
    interrupted: a.interrupted + b.interrupted,
    overLimit: (a.overLimit ?? 0) + (b.overLimit ?? 0),
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
  };
}

function addClasses(a: ClassMetrics | null, b: ClassMetrics | null): ClassMetrics | null {
  if (a === null || b === null) return a ?? b;
  return {
    count: a.count + b.count,
    seconds: a.seconds + b.seconds,
    buckets: a.buckets.map((value, index) => value + (b.buckets[index] ?? 0)),
  };
}

export interface Gauges {
  readonly routers: number;
  readonly routerRestarts: number;
  readonly agentUp: boolean;
  readonly collectorUp: boolean;
  readonly entries: number;
}

/** Prometheus text exposition format 0.0.4. */
export function prometheusText(snapshot: MetricsSnapshot, gauges: Gauges): string {
  const out: string[] = [];
  const family = (name: string, type: "counter" | "gauge" | "histogram", help: string): void => {
    out.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  };
  const perTrack = (name: string, type: "counter" | "gauge", help: string, pick: (track: TrackMetrics) => number): void => {
    family(name, type, help);
    for (const track of snapshot.tracks) out.push(`${name}{${labels(track)}} ${String(pick(track))}`);
  };
  family("berth_edge_requests_total", "counter", "Finished requests by status class.");
  eachClass(snapshot, (track, status, counts) => {
    out.push(`berth_edge_requests_total{${labels(track)},status="${status}"} ${String(counts.count)}`);
  });
  family("berth_edge_request_duration_seconds", "histogram", "Time from a request's head to the end of its answer.");
  eachClass(snapshot, (track, status, counts) => {
    pushHistogram(out, `${labels(track)},status="${status}"`, counts);
  });
  perTrack(
    "berth_edge_requests_in_flight",
    "gauge",
    "Requests, upgraded connections and TCP connections that endpoints are serving.",
    (track) => track.inFlight,
  );
  perTrack(
    "berth_edge_retries_total",
    "counter",
    "Requests sent again because the first endpoint cannot have acted on them.",
    (track) => track.retries,
  );
  perTrack("berth_edge_holds_total", "counter", "Requests that waited for a ready endpoint.", (track) => track.holds);
  perTrack(
    "berth_edge_hold_timeouts_total",
    "counter",
    "Requests for which no endpoint became ready in time.",
    (track) => track.holdTimeouts,
  );
  perTrack("berth_edge_interrupted_total", "counter", "Answers that did not reach their end.", (track) => track.interrupted);
  perTrack(
    "berth_edge_over_limit_total",
    "counter",
    "Requests and connections refused because of the component's maxConnections.",
    (track) => track.overLimit ?? 0,
  );
  perTrack("berth_edge_request_bytes_total", "counter", "Bytes of request bodies.", (track) => track.bytesIn);
  perTrack("berth_edge_response_bytes_total", "counter", "Bytes of response bodies.", (track) => track.bytesOut);
  family("berth_edge_unrouted_requests_total", "counter", "Requests that no component took, by status class.");
  for (let index = 1; index <= 5; index += 1)
    if ((snapshot.unrouted[index] ?? 0) > 0)
      out.push(`berth_edge_unrouted_requests_total{status="${String(index)}xx"} ${String(snapshot.unrouted[index])}`);
  family("berth_edge_connections", "gauge", "Open client connections by listener.");
  for (const kind of kinds) out.push(`berth_edge_connections{listener="${kind}"} ${String(snapshot.connections[kind]?.open ?? 0)}`);
  family("berth_edge_connections_total", "counter", "Accepted client connections by listener.");
  for (const kind of kinds) out.push(`berth_edge_connections_total{listener="${kind}"} ${String(snapshot.connections[kind]?.total ?? 0)}`);
  const single = (name: string, type: "counter" | "gauge", help: string, value: number): void => {
    family(name, type, help);
    out.push(`${name} ${String(value)}`);
  };
  single(
    "berth_edge_refused_connections_total",
    "counter",
    "Connections refused because too many were open.",
    snapshot.refusedConnections ?? 0,
  );
  single("berth_edge_access_log_dropped_total", "counter", "Access log lines dropped because the disk was too slow.", snapshot.logDropped);
  single("berth_edge_routers", "gauge", "Running router processes.", gauges.routers);
  single("berth_edge_router_restarts_total", "counter", "Router processes that ended without being told to.", gauges.routerRestarts);
  single("berth_edge_router_resident_bytes", "gauge", "Resident memory of all routers.", snapshot.residentBytes);
  single("berth_edge_entries", "gauge", "Components with an entry.", gauges.entries);
  single("berth_edge_agent_up", "gauge", "1 when the agent runs.", gauges.agentUp ? 1 : 0);
  single("berth_edge_collector_up", "gauge", "1 when the collector runs.", gauges.collectorUp ? 1 : 0);
  return `${out.join("\n")}\n`;
}

function eachClass(snapshot: MetricsSnapshot, use: (track: TrackMetrics, status: string, counts: ClassMetrics) => void): void {
  for (const track of snapshot.tracks)
    for (const [index, counts] of track.classes.entries()) if (counts !== null) use(track, `${String(index)}xx`, counts);
}

function pushHistogram(out: string[], labelText: string, counts: ClassMetrics): void {
  let total = 0;
  for (const [index, bound] of [...latencyBounds, Infinity].entries()) {
    total += counts.buckets[index] ?? 0;
    out.push(
      `berth_edge_request_duration_seconds_bucket{${labelText},le="${bound === Infinity ? "+Inf" : String(bound)}"} ${String(total)}`,
    );
  }
  out.push(
    `berth_edge_request_duration_seconds_sum{${labelText}} ${String(counts.seconds)}`,
    `berth_edge_request_duration_seconds_count{${labelText}} ${String(counts.count)}`,
  );
}

/** Stack and component names are DNS labels; a track's name comes from an entry and is escaped. */
function labels(track: TrackMetrics): string {
  return `stack="${track.stack}",component="${track.component}",track="${track.track.replace(/[\\"\n]/g, "_")}"`;
}
