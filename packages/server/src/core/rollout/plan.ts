// Decides the next actions that bring one track of a component to one revision. Pure: it sees observations and the time, and remembers only what it returns.
// It never takes a request away from the last available instance (promise 3) and never calls something done that it did not see (promise 1).
//
// What it relies on: instances are seen as of the last engine order that was answered, or later; traffic as of the last entry that was put in force, or later.
// Everything else may be late, repeated or lost: actions may have happened without being remembered, instances and clocks do as they please.

/** What the planner needs to know of one instance: what the engine sees of it, and two things of its release. */
export interface SeenInstance {
  readonly id: string;
  readonly revision: { readonly releaseHash: string; readonly restart: number };
  /** `exited`: ended for good, nobody starts it again. */
  readonly phase: "starting" | "running" | "stopping" | "backoff" | "exited";
  readonly ready: boolean;
  readonly readySince?: string;
  readonly startedAt?: string;
  /** Its release has ports: requests come to it through the edge. */
  readonly exposed: boolean;
  /** ms that its requests in flight may last once it leaves, as its own release has it. */
  readonly drainTimeout: number;
}

export interface Desired {
  /** undefined: nothing should run. */
  readonly revision: { readonly releaseHash: string; readonly restart: number } | undefined;
  readonly replicas: number;
  readonly strategy: {
    readonly type: "rolling" | "recreate";
    readonly maxSurge?: number;
    readonly maxUnavailable?: number;
    readonly minReady?: number;
  };
  /** Whether what is wanted is reached through the edge. Where only the release before was, what served is drained first, and the entry goes last. */
  readonly hasTraffic: boolean;
}

export interface SeenTraffic {
  /** Of the entry that every router worker has in force; 0 = none. */
  readonly generation: number;
  /** `listed`: it may still be led to, although the entry in force says not to. */
  readonly endpoints: readonly {
    readonly instance: string;
    readonly ready: boolean;
    readonly inFlight: number;
    readonly listed?: boolean;
  }[];
  /** Whether the entry in force is the one that these endpoints make now, addresses and hosts included. */
  readonly carries: (endpoints: readonly PlannedEndpoint[]) => boolean;
}

export interface Seen {
  readonly instances: readonly SeenInstance[];
  /** undefined when the edge was not asked. */
  readonly traffic: SeenTraffic | undefined;
}

/** Kept between calls in the component's row, written after the actions of a call were done. */
export interface Memory {
  /**
   * Instances that leave, by id, and when (Unix ms) each was first seen out of every router. None that may get requests is told to stop before its mark was saved,
   * and a mark is never taken back: a stop may be on its way when its sender dies, and what may be stopping must not get requests again.
   */
  readonly draining: Readonly<Record<string, { readonly since?: number }>>;
  /**
   * The traffic entry last put in force, as far as that was written down. Any other one that is found in force, an older or a newer, is put in force again even
   * where it carries the same: an order of a holder that died may still be on its way, and only a newer number keeps it out.
   */
  readonly entry?: { readonly generation: number };
  /** The revision of which as many as are wanted were there at the last look: what is missing of it since then was lost, and not just never started. */
  readonly whole?: string;
}
export const emptyMemory: Memory = { draining: {} };

export interface PlannedEndpoint {
  readonly instance: string;
  readonly state: "active" | "draining";
}
export type Action =
  | { readonly type: "setRoutes"; readonly endpoints: readonly PlannedEndpoint[] }
  /** Nobody is reached through the edge any more: its entry goes. */
  | { readonly type: "dropRoutes" }
  /** At least so many of the wanted revision exist afterwards, those that are `leaving` not counted. */
  | { readonly type: "ensure"; readonly replicas: number; readonly leaving: readonly string[] }
  | { readonly type: "stop"; readonly instances: readonly string[] };

export interface Progress {
  /** Instances of the wanted revision that stay. */
  readonly updated: number;
  /** Of those, available: ready, ready for the routers too, for at least minReady. */
  readonly available: number;
  /** All other instances that are not yet gone. */
  readonly old: number;
  /** The wanted revision serves alone: as many as wanted are available, and every other one is out of every router or was told to stop. What is left only ends. */
  readonly serving: boolean;
  /** Nothing is left to do and nothing is on its way. */
  readonly settled: boolean;
}
/** `draining` is what to remember; `actions` are done in their order. */
export interface Plan {
  readonly actions: readonly Action[];
  readonly draining: Memory["draining"];
  readonly progress: Progress;
}

/** ms that a mark outlives the sight of its instance: an observation that comes late must not bring it back into service. */
const markLife = 3_600_000;

/** The most instances above the wanted number while a release goes out; a quarter, at least one, unless told. */
export function surgeOf(desired: Desired): number {
  if (desired.strategy.type === "recreate") return 0;
  const surge = desired.strategy.maxSurge ?? Math.max(1, Math.ceil(desired.replicas / 4));
  return surge === 0 && unavailableOf(desired) === 0 ? 1 : surge;
}

/** How many of the wanted number may be unavailable meanwhile; none unless told. */
export function unavailableOf(desired: Desired): number {
  return desired.strategy.type === "recreate" ? desired.replicas : Math.min(desired.strategy.maxUnavailable ?? 0, desired.replicas);
}

/** From `over` (ended for good) through `down` and `up` (may be serving, but not known to) to `available`. */
const standings = ["over", "down", "up", "available"] as const;
interface Member {
  readonly seen: SeenInstance;
  readonly current: boolean;
  readonly standing: (typeof standings)[number];
}

/** The next step from what is seen. Called again after it was done, until `progress.settled`; a settled plan has no actions. */
export function plan(desired: Desired, seen: Seen, memory: Memory, now: number): Plan {
  const members = seen.instances.map((instance): Member => ({
    seen: instance,
    current: isCurrent(desired, instance),
    standing: standingOf(instance, desired, seen, now),
  }));
  const marks = new Map(Object.entries(memory.draining));
  const isLeaving = ({ seen: { id, phase } }: Member): boolean => phase === "stopping" || marks.has(id);
  for (const {
    seen: { id },
  } of leavers(
    members.filter((member) => !isLeaving(member)),
    desired,
  ))
    marks.set(id, {});

  const actions: Action[] = [];
  const endpoints = members
    .filter((member) => member.standing !== "over" && mayGetRequests(member.seen, seen.traffic))
    .map((member): PlannedEndpoint => ({ instance: member.seen.id, state: isLeaving(member) ? "draining" : "active" }))
    .sort((a, b) => compare(a.instance, b.instance));
  const hasEntry = desired.hasTraffic || endpoints.length > 0;
  const routed = hasEntry ? inForce(endpoints, seen.traffic, memory) : isGone(seen.traffic, memory);
  if (!routed) actions.push(hasEntry ? { type: "setRoutes", endpoints } : { type: "dropRoutes" });
  // A clock that was set back must not make a drain longer than its time-out.
  for (const [id, { since }] of marks) if (routed || since !== undefined) marks.set(id, { since: Math.min(since ?? now, now) });

  const current = members.filter((member) => member.current && !isLeaving(member));
  const replicas = wantedCurrent(desired, members, current.length, isLeaving);
  if (replicas > current.length)
    actions.push({
      type: "ensure",
      replicas,
      leaving: members.filter((member) => member.current && isLeaving(member)).map(({ seen: { id } }) => id),
    });

  const isDone = (member: Member): boolean =>
    member.standing === "over" ||
    !mayGetRequests(member.seen, seen.traffic) ||
    (routed &&
      Object.hasOwn(memory.draining, member.seen.id) &&
      isDrained(member.seen, marks.get(member.seen.id)?.since ?? now, seen.traffic, now));
  const done = members.filter((member) => isLeaving(member) && member.seen.phase !== "stopping" && isDone(member));
  if (done.length > 0) actions.push({ type: "stop", instances: done.map(({ seen: { id } }) => id) });

  const available = current.filter(({ standing }) => standing === "available").length;
  const old = members.length - current.length;
  const isWhole = current.length === wantedOf(desired) && available === current.length;
  const settled = actions.length === 0 && old === 0 && isWhole;
  // Marks that were not there before this call are not saved yet, and the entry in force may be changed by this call's own action.
  const isOut = (member: Member): boolean =>
    member.seen.phase === "stopping" ||
    (routed &&
      Object.hasOwn(memory.draining, member.seen.id) &&
      mayGetRequests(member.seen, seen.traffic) &&
      !isListed(member.seen, seen.traffic));
  const serving = isWhole && routed && members.every((member) => (member.current && !isLeaving(member)) || isOut(member));
  const present = new Set(seen.instances.map(({ id }) => id));
  const kept = [...marks].filter(([id, { since }]) => present.has(id) || (!settled && now - (since ?? now) < markLife));
  return { actions, draining: Object.fromEntries(kept), progress: { updated: current.length, available, old, serving, settled } };
}

function wantedOf(desired: Desired): number {
  return desired.revision === undefined ? 0 : desired.replicas;
}

function isCurrent({ revision }: Desired, instance: SeenInstance): boolean {
  return revision !== undefined && instance.revision.releaseHash === revision.releaseHash && instance.revision.restart === revision.restart;
}

function standingOf(instance: SeenInstance, desired: Desired, seen: Seen, now: number): Member["standing"] {
  if (instance.phase === "exited") return "over";
  const isReady = instance.phase === "running" && instance.ready;
  const routersSay = seen.traffic?.endpoints.some((endpoint) => endpoint.instance === instance.id && endpoint.ready) === true;
  if (isReady && (routersSay || !instance.exposed) && isSteady(instance, desired.strategy.minReady ?? 0, now)) return "available";
  // One of the two may be behind the other, and an edge that lost its entry says nothing at all.
  return isReady || routersSay ? "up" : "down";
}

/** Ready for `minReady` ms. A clock that was set back makes this wait longer, never shorter. */
function isSteady(instance: SeenInstance, minReady: number, now: number): boolean {
  return minReady === 0 || (instance.readySince !== undefined && now - Date.parse(instance.readySince) >= minReady);
}

/**
 * Those that may leave now. Of the old ones as many stay as the new ones cannot yet stand in for, the best of them, available or not: what is unready at this
 * moment may be ready the next, and a release that has nothing to show must not cost the one before it (promise 3).
 */
function leavers(staying: readonly Member[], desired: Desired): Member[] {
  const wanted = wantedOf(desired);
  if (wanted === 0) return [...staying];
  const current = worstFirst(staying.filter((member) => member.current));
  const old = worstFirst(staying.filter((member) => !member.current));
  const surplus = current.splice(0, Math.max(0, current.length - wanted));
  if (desired.strategy.type === "recreate") return [...surplus, ...old];
  const missing = wanted - unavailableOf(desired) - current.filter(({ standing }) => standing === "available").length;
  const over = old.filter(({ standing }) => standing === "over").length;
  return [...surplus, ...old.slice(0, Math.max(over, old.length - Math.max(0, missing)))];
}

/** Of two alike the younger first: it has served less. */
function worstFirst(members: readonly Member[]): Member[] {
  return members.toSorted(
    (a, b) =>
      standings.indexOf(a.standing) - standings.indexOf(b.standing) ||
      compare(b.seen.startedAt ?? "~", a.seen.startedAt ?? "~") ||
      compare(a.seen.id, b.seen.id),
  );
}

/** How many of the wanted revision may exist now: within the surge; with `recreate` none beside one that leaves, and there all old ones do. */
function wantedCurrent(desired: Desired, members: readonly Member[], current: number, isLeaving: (member: Member) => boolean): number {
  if (desired.revision === undefined) return 0;
  const living = members.filter(({ standing }) => standing !== "over");
  if (desired.strategy.type === "recreate") return living.some(isLeaving) ? current : desired.replicas;
  const old = living.filter((member) => !member.current && !isLeaving(member)).length;
  return Math.max(0, Math.min(desired.replicas, desired.replicas + surgeOf(desired) - old));
}

/** What the edge knows may get requests, whatever its release says. */
function mayGetRequests({ id, exposed }: SeenInstance, traffic: SeenTraffic | undefined): boolean {
  return exposed || traffic?.endpoints.some((endpoint) => endpoint.instance === id) === true;
}

const isListed = ({ id }: SeenInstance, traffic: SeenTraffic | undefined): boolean =>
  traffic?.endpoints.some((endpoint) => endpoint.instance === id && endpoint.listed === true) === true;

function isGone(traffic: SeenTraffic | undefined, memory: Memory): boolean {
  return memory.entry === undefined && (traffic?.generation ?? 0) === 0;
}

function inForce(endpoints: readonly PlannedEndpoint[], traffic: SeenTraffic | undefined, memory: Memory): boolean {
  return traffic !== undefined && traffic.generation === memory.entry?.generation && traffic.carries(endpoints);
}

/** Asked when the entry that drains it is in force in every router: without a request in flight, or past its time. */
function isDrained({ id, drainTimeout }: SeenInstance, since: number, traffic: SeenTraffic | undefined, now: number): boolean {
  const inFlight = traffic?.endpoints.find((endpoint) => endpoint.instance === id)?.inFlight ?? 0;
  return inFlight === 0 || now - since >= drainTimeout;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
