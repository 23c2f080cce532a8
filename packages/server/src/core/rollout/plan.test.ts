// Named situations of a change, each with the one step that is right. `simulate.test.ts` looks for the situations that nobody thought of.
import { describe, expect, it } from "vitest";
import {
  emptyMemory,
  plan,
  surgeOf,
  unavailableOf,
  type Action,
  type Desired,
  type Memory,
  type PlannedEndpoint,
  type Progress,
  type Seen,
  type SeenInstance,
} from "./plan.ts";

const now = Date.parse("2026-03-01T12:00:00Z");
const at = (ms: number): string => new Date(now + ms).toISOString();
const oldRevision = { releaseHash: "sha256:old", restart: 0 };
const newRevision = { releaseHash: "sha256:new", restart: 0 };
const rolling = (over: Partial<Desired["strategy"]> = {}): Desired["strategy"] => ({ type: "rolling", ...over });
const wants = (over: Partial<Desired> = {}): Desired => ({
  revision: newRevision,
  replicas: 3,
  strategy: rolling(),
  hasTraffic: true,
  ...over,
});

/** o1, o2, ... are of the old revision, n1, n2, ... of the new one; the higher the number, the younger. */
function instance(id: string, over: Partial<SeenInstance> = {}): SeenInstance {
  const startedAt = at(-3_600_000 + Number(id.slice(1)) * 1_000);
  const up = over.phase === undefined && over.ready !== false;
  return {
    id,
    revision: id.startsWith("o") ? oldRevision : newRevision,
    phase: "running",
    ready: up,
    startedAt,
    ...(up ? { readySince: startedAt } : {}),
    exposed: true,
    drainTimeout: 30_000,
    ...over,
  };
}
const starting = (id: string): SeenInstance => instance(id, { phase: "starting", ready: false });
const all = (...ids: string[]): SeenInstance[] => ids.map((id) => instance(id));

/** `o1` is active, `o1-` is draining. */
const route = (...texts: string[]): PlannedEndpoint[] =>
  texts.map((text) => ({ instance: text.replace("-", ""), state: text.endsWith("-") ? "draining" : "active" }));
interface Edge {
  readonly generation?: number;
  readonly inFlight?: Record<string, number>;
  readonly unready?: readonly string[];
  readonly listed?: readonly string[];
}
function sees(
  instances: readonly SeenInstance[],
  inForce: readonly PlannedEndpoint[] | "no entry",
  { generation = 5, inFlight = {}, unready = [], listed = [] }: Edge = {},
): Seen {
  const entry = inForce === "no entry" ? [] : inForce;
  return {
    instances,
    traffic: {
      generation: inForce === "no entry" ? 0 : generation,
      endpoints: entry.map(({ instance: id }) => ({
        instance: id,
        inFlight: inFlight[id] ?? 0,
        ...(listed.includes(id) ? { listed: true } : {}),
        ready: !unready.includes(id) && instances.some((one) => one.id === id && one.ready),
      })),
      carries: (endpoints) => inForce !== "no entry" && JSON.stringify(endpoints) === JSON.stringify(entry),
    },
  };
}
const blind = (instances: readonly SeenInstance[]): Seen => ({ instances, traffic: undefined });
const remembers = (draining: Memory["draining"] = {}, generation = 5): Memory => ({ draining, entry: { generation } });

const setRoutes = (...texts: string[]): Action => ({ type: "setRoutes", endpoints: route(...texts) });
const ensure = (replicas: number, ...leaving: string[]): Action => ({ type: "ensure", replicas, leaving });
const stop = (...instances: string[]): Action => ({ type: "stop", instances });

interface Row {
  readonly name: string;
  readonly desired?: Desired;
  readonly seen: Seen;
  readonly memory?: Memory;
  readonly actions: readonly Action[];
  readonly draining?: Memory["draining"];
  readonly progress?: Partial<Progress>;
}
const table = (rows: readonly Row[]): void => {
  it.each(rows.map((row) => [row.name, row] as const))(
    "%s",
    (_, { desired = wants(), seen, memory = remembers(), actions, draining, progress }) => {
      const decided = plan(desired, seen, memory, now);
      expect(decided.actions).toEqual(actions);
      if (draining !== undefined) expect(decided.draining).toEqual(draining);
      if (progress !== undefined) expect(decided.progress).toMatchObject(progress);
    },
  );
};

describe("a first release", () =>
  table([
    {
      name: "makes its route, which holds requests, and starts all instances at once",
      seen: sees([], "no entry"),
      memory: emptyMemory,
      actions: [setRoutes(), ensure(3)],
      progress: { updated: 0, settled: false },
    },
    {
      name: "routes to instances from their start, since the routers know who is ready",
      seen: sees([starting("n1"), starting("n2"), starting("n3")], []),
      actions: [setRoutes("n1", "n2", "n3")],
    },
    {
      name: "waits while they come up",
      seen: sees([instance("n1"), starting("n2"), starting("n3")], route("n1", "n2", "n3")),
      actions: [],
      progress: { updated: 3, available: 1, settled: false },
    },
    {
      name: "is not done while the routers do not know that an instance is ready",
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3"), { unready: ["n2"] }),
      actions: [],
      progress: { available: 2, settled: false },
    },
    {
      name: "is done when all are ready for the routers too",
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3")),
      actions: [],
      progress: { updated: 3, available: 3, old: 0, settled: true },
    },
    {
      name: "is not done before minReady has passed",
      desired: wants({ replicas: 1, strategy: rolling({ minReady: 5_000 }) }),
      seen: sees([instance("n1", { readySince: at(-4_999) })], route("n1")),
      actions: [],
      progress: { available: 0, settled: false },
    },
    {
      name: "is done when minReady has passed",
      desired: wants({ replicas: 1, strategy: rolling({ minReady: 5_000 }) }),
      seen: sees([instance("n1", { readySince: at(-5_000) })], route("n1")),
      actions: [],
      progress: { settled: true },
    },
  ]));

describe("a rolling change of 3 with a surge of 1", () =>
  table([
    { name: "begins with one new instance", seen: sees(all("o1", "o2", "o3"), route("o1", "o2", "o3")), actions: [ensure(1)] },
    {
      name: "takes no old one away while the new one is not ready",
      seen: sees([...all("o1", "o2", "o3"), starting("n4")], route("n4", "o1", "o2", "o3")),
      actions: [],
      progress: { updated: 1, available: 0, old: 3 },
    },
    {
      name: "drains one old instance when the new one is available, and starts the next",
      seen: sees(all("o1", "o2", "o3", "n4"), route("n4", "o1", "o2", "o3")),
      actions: [setRoutes("n4", "o1", "o2", "o3-"), ensure(2)],
      draining: { o3: {} },
    },
    {
      name: "waits for its requests",
      seen: sees([...all("o1", "o2", "o3", "n4"), starting("n5")], route("n4", "n5", "o1", "o2", "o3-"), { inFlight: { o3: 1 } }),
      memory: remembers({ o3: {} }),
      actions: [],
      draining: { o3: { since: now } },
    },
    {
      name: "stops it when the last one is done",
      seen: sees([...all("o1", "o2", "o3", "n4"), starting("n5")], route("n4", "n5", "o1", "o2", "o3-")),
      memory: remembers({ o3: {} }),
      actions: [stop("o3")],
    },
    {
      name: "stops it when its drain time is over",
      seen: sees([...all("o1", "o2", "o3", "n4"), starting("n5")], route("n4", "n5", "o1", "o2", "o3-"), { inFlight: { o3: 2 } }),
      memory: remembers({ o3: { since: now - 30_000 } }),
      actions: [stop("o3")],
    },
    {
      name: "does not stop it a moment before",
      seen: sees([...all("o1", "o2", "o3", "n4"), starting("n5")], route("n4", "n5", "o1", "o2", "o3-"), { inFlight: { o3: 2 } }),
      memory: remembers({ o3: { since: now - 29_999 } }),
      actions: [],
    },
    {
      name: "goes on while a stopped one still ends",
      seen: sees(
        [...all("o1", "o2", "n4", "n5"), instance("o3", { phase: "stopping", ready: false })],
        route("n4", "n5", "o1", "o2", "o3-"),
      ),
      memory: remembers({ o3: { since: now - 5 } }),
      actions: [setRoutes("n4", "n5", "o1", "o2-", "o3-"), ensure(3)],
    },
    {
      name: "takes the last old one when all new ones are available",
      seen: sees(all("o1", "n4", "n5", "n6"), route("n4", "n5", "n6", "o1")),
      actions: [setRoutes("n4", "n5", "n6", "o1-")],
      progress: { serving: false, settled: false },
    },
    {
      name: "is not live before the routers know that the old one leaves",
      seen: sees(all("o1", "n4", "n5", "n6"), route("n4", "n5", "n6", "o1")),
      memory: remembers({ o1: {} }),
      actions: [setRoutes("n4", "n5", "n6", "o1-")],
      progress: { serving: false, settled: false },
    },
    {
      name: "is not live while a gateway may still be told of the old one",
      seen: sees(all("o1", "n4", "n5", "n6"), route("n4", "n5", "n6", "o1-"), { inFlight: { o1: 1 }, listed: ["o1"] }),
      memory: remembers({ o1: {} }),
      actions: [],
      progress: { available: 3, old: 1, serving: false, settled: false },
    },
    {
      name: "is live when the old one gets no request any more, and only finishes those that it has",
      seen: sees(all("o1", "n4", "n5", "n6"), route("n4", "n5", "n6", "o1-"), { inFlight: { o1: 1 } }),
      memory: remembers({ o1: {} }),
      actions: [],
      draining: { o1: { since: now } },
      progress: { available: 3, old: 1, serving: true, settled: false },
    },
    {
      name: "is not live while an old one that no request comes to was not told to stop: it works on",
      desired: wants({ hasTraffic: false }),
      seen: sees(
        [...all("n4", "n5", "n6"), instance("o1")].map((one) => ({ ...one, exposed: false })),
        "no entry",
      ),
      memory: emptyMemory,
      actions: [{ type: "stop", instances: ["o1"] }],
      progress: { available: 3, old: 1, serving: false, settled: false },
    },
    {
      name: "is live when that was told",
      desired: wants({ hasTraffic: false }),
      seen: sees(
        [...all("n4", "n5", "n6"), instance("o1", { phase: "stopping", ready: false })].map((one) => ({ ...one, exposed: false })),
        "no entry",
      ),
      memory: { draining: { o1: {} } },
      actions: [],
      progress: { available: 3, old: 1, serving: true, settled: false },
    },
    {
      name: "is live but not done while an old one is not gone",
      seen: sees([...all("n4", "n5", "n6"), instance("o1", { phase: "stopping", ready: false })], route("n4", "n5", "n6", "o1-")),
      memory: remembers({ o1: { since: now } }),
      actions: [],
      progress: { available: 3, old: 1, serving: true, settled: false },
    },
  ]));

describe("a new release that does not come up", () =>
  table([
    {
      name: "keeps the old one serving, however long it takes",
      seen: sees([...all("o1", "o2", "o3"), instance("n4", { phase: "backoff", ready: false })], route("n4", "o1", "o2", "o3")),
      actions: [],
    },
    {
      name: "keeps the old one even when that is unready or restarting at this moment",
      desired: wants({ replicas: 1 }),
      seen: sees([instance("o1", { phase: "backoff", ready: false }), starting("n2")], route("n2", "o1")),
      actions: [],
    },
    {
      name: "leaves when the change is aborted, and what it replaced is started again",
      desired: wants({ revision: oldRevision }),
      seen: sees([...all("o1", "o2"), starting("n4"), starting("n5")], route("n4", "n5", "o1", "o2")),
      actions: [setRoutes("n4", "n5-", "o1", "o2"), ensure(3)],
    },
    {
      name: "does not block the next one",
      desired: wants({ revision: { releaseHash: "sha256:next", restart: 0 } }),
      seen: sees([...all("o1", "o2", "o3"), starting("n4")], route("n4", "o1", "o2", "o3")),
      actions: [setRoutes("n4-", "o1", "o2", "o3"), ensure(1)],
    },
  ]));

describe("an old release that is down", () =>
  table([
    {
      name: "stays until a new instance stands in for it",
      seen: sees([starting("o1"), starting("o2"), starting("o3"), starting("n4")], route("n4", "o1", "o2", "o3")),
      actions: [],
    },
    {
      name: "goes one by one as new instances become available",
      seen: sees([starting("o1"), starting("o2"), starting("o3"), instance("n4")], route("n4", "o1", "o2", "o3")),
      actions: [setRoutes("n4", "o1", "o2", "o3-"), ensure(2)],
    },
    {
      name: "gives the worst away first",
      seen: sees([...all("o2", "o3"), starting("o1"), instance("n4")], route("n4", "o1", "o2", "o3")),
      actions: [setRoutes("n4", "o1-", "o2", "o3"), ensure(2)],
    },
  ]));

describe("no surge, one unavailable", () => {
  const desired = wants({ strategy: rolling({ maxSurge: 0, maxUnavailable: 1 }) });
  table([
    {
      name: "takes one old away first, and starts the new one in its place",
      desired,
      seen: sees(all("o1", "o2", "o3"), route("o1", "o2", "o3")),
      actions: [setRoutes("o1", "o2", "o3-"), ensure(1)],
    },
    {
      name: "takes no second one before the new one is available",
      desired,
      seen: sees([...all("o1", "o2"), starting("n4")], route("n4", "o1", "o2")),
      actions: [],
    },
    {
      name: "takes only one when the routers know of none that is ready",
      desired,
      seen: sees(all("o1", "o2", "o3"), route("o1", "o2", "o3"), { unready: ["o1", "o2", "o3"] }),
      actions: [setRoutes("o1", "o2", "o3-"), ensure(1)],
    },
  ]);
});

describe("scaling and restarting", () =>
  table([
    {
      name: "up starts what is missing",
      desired: wants({ replicas: 4 }),
      seen: sees(all("n1", "n2"), route("n1", "n2")),
      actions: [ensure(4)],
    },
    {
      name: "down drains the youngest before it stops any",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3"), { inFlight: { n2: 1 } }),
      actions: [setRoutes("n1", "n2-", "n3-")],
      draining: { n2: {}, n3: {} },
    },
    {
      name: "down stops those without requests and waits for the others",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2-", "n3-"), { inFlight: { n2: 1 } }),
      memory: remembers({ n2: {}, n3: {} }),
      actions: [stop("n3")],
    },
    {
      name: "down takes an unready one rather than a younger ready one",
      desired: wants({ replicas: 2 }),
      seen: sees([starting("n1"), ...all("n2", "n3")], route("n1", "n2", "n3")),
      actions: [setRoutes("n1-", "n2", "n3")],
    },
    {
      name: "down takes one that the routers do not know as ready rather than an available one",
      desired: wants({ replicas: 2 }),
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3"), { unready: ["n1"] }),
      actions: [setRoutes("n1-", "n2", "n3")],
    },
    {
      name: "down and up again does not count what still drains",
      desired: wants({ replicas: 2 }),
      seen: sees(all("n1", "n2"), route("n1", "n2-"), { inFlight: { n2: 1 } }),
      memory: remembers({ n2: { since: now - 5 } }),
      actions: [ensure(2, "n2")],
    },
    {
      name: "to nothing stops all and keeps an empty route",
      desired: wants({ replicas: 0, revision: undefined }),
      seen: sees(all("n1"), route("n1-")),
      memory: remembers({ n1: {} }),
      actions: [stop("n1")],
      progress: { updated: 0, old: 1 },
    },
    {
      name: "to nothing is done when all are gone",
      desired: wants({ replicas: 0, revision: undefined }),
      seen: sees([], []),
      actions: [],
      progress: { settled: true },
    },
    {
      name: "a restart replaces instances of the same release like a change",
      desired: wants({ revision: { ...newRevision, restart: 1 } }),
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3")),
      actions: [ensure(1)],
    },
  ]));

describe("recreate", () => {
  const desired = wants({ replicas: 1, strategy: { type: "recreate" } });
  table([
    {
      name: "takes the old one out before anything new is started",
      desired,
      seen: sees(all("o1"), route("o1")),
      actions: [setRoutes("o1-")],
    },
    {
      name: "does not start the new one while the old one ends",
      desired,
      seen: sees([instance("o1", { phase: "stopping", ready: false })], route("o1-")),
      memory: remembers({ o1: { since: now } }),
      actions: [],
    },
    {
      name: "starts the new one when the old one is gone",
      desired,
      seen: sees([], route("o1-")),
      memory: remembers({ o1: { since: now } }),
      actions: [setRoutes(), ensure(1)],
    },
    {
      name: "does not start a second one beside one of the same release that still ends",
      desired,
      seen: sees([instance("n1", { phase: "stopping", ready: false })], route("n1-")),
      memory: remembers({ n1: { since: now } }),
      actions: [],
    },
    {
      name: "goes back the same way",
      desired: { ...desired, revision: oldRevision },
      seen: sees([starting("n2")], route("n2")),
      actions: [setRoutes("n2-")],
    },
    {
      name: "may start beside one that has ended for good",
      desired,
      seen: sees([instance("o1", { phase: "exited", ready: false })], []),
      actions: [ensure(1), stop("o1")],
    },
  ]);
});

describe("a worker without traffic", () => {
  const desired = wants({ hasTraffic: false, replicas: 2 });
  const worker = (...ids: string[]): SeenInstance[] => ids.map((id) => instance(id, { exposed: false }));
  table([
    { name: "asks nothing of the edge", desired, seen: blind(worker("o1", "o2")), memory: emptyMemory, actions: [ensure(1)] },
    {
      name: "makes no entry where there is none",
      desired,
      seen: sees(worker("o1", "o2"), "no entry"),
      memory: emptyMemory,
      actions: [ensure(1)],
    },
    {
      name: "stops an old one as soon as a new one is up",
      desired,
      seen: blind(worker("o1", "o2", "n3")),
      memory: emptyMemory,
      actions: [ensure(2), stop("o2")],
    },
    {
      name: "is done when all new ones are up",
      desired,
      seen: blind(worker("n3", "n4")),
      memory: emptyMemory,
      actions: [],
      progress: { settled: true },
    },
  ]);
});

describe("a release without ports after one that had some", () => {
  const desired = wants({ hasTraffic: false, replicas: 2 });
  const hidden = (id: string, over: Partial<SeenInstance> = {}): SeenInstance => instance(id, { exposed: false, ...over });
  table([
    {
      name: "leaves the old ones in the router while the new one comes up",
      desired,
      seen: sees([...all("o1", "o2"), hidden("n3", { phase: "starting", ready: false })], route("o1", "o2")),
      actions: [],
    },
    {
      name: "takes an old one out of the router when a new one is up, and does not stop it yet",
      desired,
      seen: sees([...all("o1", "o2"), hidden("n3")], route("o1", "o2"), { inFlight: { o2: 1 } }),
      actions: [setRoutes("o1", "o2-"), ensure(2)],
      draining: { o2: {} },
    },
    {
      name: "waits for its requests",
      desired,
      seen: sees([...all("o1", "o2"), hidden("n3"), hidden("n4", { phase: "starting", ready: false })], route("o1", "o2-"), {
        inFlight: { o2: 1 },
      }),
      memory: remembers({ o2: {} }),
      actions: [],
      draining: { o2: { since: now } },
    },
    {
      name: "waits no longer than the release of that instance says, not the new one",
      desired,
      seen: sees([instance("o1", { drainTimeout: 1_000 }), hidden("n3"), hidden("n4")], route("o1-"), { inFlight: { o1: 1 } }),
      memory: remembers({ o1: { since: now - 1_000 } }),
      actions: [stop("o1")],
    },
    {
      name: "keeps the entry while one still drains",
      desired,
      seen: sees([...all("o1"), hidden("n3"), hidden("n4")], route("o1-"), { inFlight: { o1: 1 } }),
      memory: remembers({ o1: { since: now } }),
      actions: [],
      progress: { settled: false },
    },
    {
      name: "removes the entry when the last one is gone, and is not done before",
      desired,
      seen: sees([hidden("n3"), hidden("n4")], route()),
      actions: [{ type: "dropRoutes" }],
      progress: { available: 2, old: 0, settled: false },
    },
    {
      name: "removes it again when nobody remembers that it was removed",
      desired,
      seen: sees([hidden("n3"), hidden("n4")], "no entry"),
      actions: [{ type: "dropRoutes" }],
    },
    {
      name: "is done when the entry is gone",
      desired,
      seen: sees([hidden("n3"), hidden("n4")], "no entry"),
      memory: emptyMemory,
      actions: [],
      progress: { settled: true },
    },
    {
      name: "removes an entry of which nothing was remembered",
      desired,
      seen: sees([hidden("n3"), hidden("n4")], route()),
      memory: emptyMemory,
      actions: [{ type: "dropRoutes" }],
    },
  ]);
});

describe("a release with ports after one without", () => {
  const hidden = (id: string): SeenInstance => instance(id, { exposed: false });
  table([
    {
      name: "makes the entry first",
      desired: wants({ replicas: 2 }),
      seen: sees([hidden("o1"), hidden("o2")], "no entry"),
      memory: emptyMemory,
      actions: [setRoutes(), ensure(1)],
    },
    {
      name: "takes no old one away before the routers know that a new one is ready",
      desired: wants({ replicas: 2 }),
      seen: sees([hidden("o1"), hidden("o2"), instance("n3")], route("n3"), { unready: ["n3"] }),
      actions: [],
      progress: { available: 0 },
    },
    {
      name: "stops an old one then, to which no request could come",
      desired: wants({ replicas: 2 }),
      seen: sees([hidden("o1"), hidden("o2"), instance("n3")], route("n3")),
      actions: [ensure(2), stop("o2")],
    },
  ]);
});

describe("what goes wrong around it", () =>
  table([
    {
      name: "an edge that lost its entry gets it again, and nobody leaves meanwhile",
      seen: sees(all("o1", "o2", "o3", "n4"), "no entry"),
      actions: [setRoutes("n4", "o1", "o2", "o3")],
    },
    {
      name: "an edge that was not told of a scale-down keeps the requests of the others",
      desired: wants({ replicas: 1 }),
      seen: sees([starting("n1"), ...all("n2")], "no entry"),
      actions: [setRoutes("n1-", "n2")],
    },
    {
      name: "routes that were set but not remembered are set right",
      seen: sees(all("n1", "n2", "n3"), route("n1-", "n2-", "n3-")),
      actions: [setRoutes("n1", "n2", "n3")],
      progress: { settled: false },
    },
    {
      name: "an instance that drains by a decision not remembered is not stopped at once",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2"), route("n1", "n2-")),
      actions: [],
      draining: { n2: { since: now } },
    },
    {
      name: "an answer of the edge that is older than its last entry stops nobody",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2"), route("n1", "n2-"), { generation: 4 }),
      memory: remembers({ n2: { since: now - 60_000 } }),
      actions: [setRoutes("n1", "n2-")],
    },
    {
      name: "an entry that nobody remembers is put in force again though it carries the same: an order of a holder that died may still be on its way",
      seen: sees(all("n1", "n2", "n3"), route("n1", "n2", "n3"), { generation: 6 }),
      actions: [setRoutes("n1", "n2", "n3")],
    },
    {
      name: "a change of other routes waits for the edge before it stops anybody",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2"), route("n2-")),
      memory: remembers({ n2: { since: now - 60_000 } }),
      actions: [setRoutes("n1", "n2-")],
    },
    {
      name: "a mark is not taken back when the wish changes",
      desired: wants({ replicas: 2 }),
      seen: sees(all("n1", "n2"), route("n1", "n2-"), { inFlight: { n2: 3 } }),
      memory: remembers({ n2: { since: now } }),
      actions: [ensure(2, "n2")],
    },
    {
      name: "a mark outlives an observation that misses its instance",
      desired: wants({ replicas: 2 }),
      seen: sees(all("n1"), route("n1")),
      memory: remembers({ n2: { since: now - 1_000 } }),
      actions: [ensure(2)],
      draining: { n2: { since: now - 1_000 } },
    },
    {
      name: "a mark of an instance long gone is forgotten",
      desired: wants({ replicas: 2 }),
      seen: sees(all("n1"), route("n1")),
      memory: remembers({ n2: { since: now - 3_600_000 } }),
      actions: [ensure(2)],
      draining: {},
    },
    {
      name: "marks of gone instances are forgotten when all is done",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1"), route("n1")),
      memory: remembers({ n2: { since: now - 1_000 } }),
      actions: [],
      draining: {},
      progress: { settled: true },
    },
    {
      name: "a clock that was set back does not lengthen a drain",
      desired: wants({ replicas: 1 }),
      seen: sees(all("n1", "n2"), route("n1", "n2-"), { inFlight: { n2: 1 } }),
      memory: remembers({ n2: { since: now + 86_400_000 } }),
      actions: [],
      draining: { n2: { since: now } },
    },
    {
      name: "an instance that somebody else stops gets no more requests and is replaced",
      desired: wants({ replicas: 2 }),
      seen: sees([instance("n1"), instance("n2", { phase: "stopping", ready: false })], route("n1", "n2")),
      actions: [setRoutes("n1", "n2-"), ensure(2, "n2")],
    },
    {
      name: "an instance that ended for good keeps its place: nobody starts it again",
      desired: wants({ replicas: 1 }),
      seen: sees([instance("n1", { phase: "exited", ready: false })], []),
      actions: [],
      progress: { updated: 1, available: 0, settled: false },
    },
    {
      name: "an old instance that ended for good is cleared away without draining",
      seen: sees([...all("n1", "n2", "n3"), instance("o4", { phase: "exited", ready: false })], route("n1", "n2", "n3")),
      actions: [stop("o4")],
      progress: { settled: false },
    },
    {
      name: "an old instance that ended for good keeps no other in service",
      seen: sees([...all("n1", "n2", "n3", "o4"), instance("o5", { phase: "exited", ready: false })], route("n1", "n2", "n3", "o4")),
      actions: [setRoutes("n1", "n2", "n3", "o4-"), stop("o5")],
    },
  ]));

describe("numbers of a strategy", () => {
  it.each([
    [{}, 1, 1, 0],
    [{}, 8, 2, 0],
    [{}, 9, 3, 0],
    [{ maxSurge: 3 }, 1, 3, 0],
    [{ maxSurge: 0 }, 4, 1, 0],
    [{ maxSurge: 0, maxUnavailable: 2 }, 4, 0, 2],
    [{ maxUnavailable: 9 }, 4, 1, 4],
  ])("%j with %i instances: surge %i, unavailable %i", (strategy, replicas, surge, unavailable) => {
    const desired = wants({ replicas, strategy: rolling(strategy) });
    expect([surgeOf(desired), unavailableOf(desired)]).toEqual([surge, unavailable]);
  });
  it("recreate has no surge and may have none available", () => {
    const desired = wants({ strategy: { type: "recreate", maxSurge: 2 } });
    expect([surgeOf(desired), unavailableOf(desired)]).toEqual([0, 3]);
  });
});
