// Load through everything that may happen to a component on an ordinary day: releases, restarts, scaling, rollbacks, upgrades of Berth itself.
// Nothing is killed here, so nothing may fail: no fault is explained away, and clients that stay are left only by the programs themselves, in good order.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestBerth, Files } from "../harness.ts";
import { until } from "../harness.ts";
import { anotherBuild } from "../sources.ts";
import { edgePids, type EdgePids } from "./machine.ts";
import { startLoad, type Load } from "./load.ts";
import type { Report } from "./generator.ts";
import { behaving, deaf, early, rude, streaming } from "./programs.ts";
import { startStreams, type EndedStream, type Streams } from "./streams.ts";
import { told } from "./verdict.ts";

export interface ZeroLossOptions {
  readonly requests: number;
  readonly seed: string;
  readonly connections: number;
  readonly processes: number;
  /** Longest pause between two requests of one connection, ms. */
  readonly pause: number;
  /** Told what happens. */
  readonly say: (line: string) => void;
}

export interface ZeroLossResult {
  readonly report: Report;
  /** WebSockets and event streams that ended, and what was wrong with some of them, as sentences. */
  readonly streams: number;
  readonly faults: readonly string[];
}

interface Subject {
  readonly stack: string;
  readonly program: (version: string) => Files;
  readonly service: Readonly<Record<string, unknown>>;
}

/** ms that the streaming component's clients may stay on an instance that was taken out. */
const drainTimeout = 3_000;
const readiness = { readiness: { check: { type: "http", path: "/ready" }, period: "200ms", timeout: "5s" } };
const subjects: readonly Subject[] = [
  { stack: "behaving", program: behaving, service: { deploy: { replicas: 2 }, "x-berth": { kind: "web" } } },
  { stack: "deaf", program: deaf, service: { deploy: { replicas: 2 }, "x-berth": { kind: "web", gracePeriod: "1s" } } },
  { stack: "rude", program: rude, service: { deploy: { replicas: 2 }, "x-berth": { kind: "web" } } },
  { stack: "early", program: early, service: { deploy: { replicas: 2 }, "x-berth": { kind: "web", probes: readiness } } },
  { stack: "streaming", program: streaming, service: { deploy: { replicas: 2 }, "x-berth": { kind: "web", drainTimeout: "3s" } } },
  // One instance at a time may hold the volume: it is recreated, and requests wait meanwhile.
  { stack: "exclusive", program: behaving, service: { volumes: ["data:/data"], "x-berth": { kind: "web" } } },
];
const hostOf = (stack: string): string => `web.${stack}.localhost`;

function project({ program, service }: Subject, version: string): Files {
  const volumes = "volumes" in service ? { volumes: { data: {} } } : {};
  return {
    ...program(version),
    "compose.yaml": JSON.stringify({
      services: { web: { build: ".", command: "node server.js", ports: ["3000"], ...service } },
      ...volumes,
    }),
  };
}

/** Runs rounds of everything until so many requests were sent. Throws when a step itself fails; the result tells about requests and streams. */
export async function loadThroughChanges(berth: TestBerth, options: ZeroLossOptions): Promise<ZeroLossResult> {
  const folder = mkdtempSync(join(tmpdir(), "be-another-"));
  try {
    const place: Place = { berth, version: 1, another: anotherBuild(folder) };
    await each((subject) => released(berth, subject, "v1"));
    const load = startLoad({
      seed: options.seed,
      ...berth.router,
      targets: subjects.map(({ stack }) => hostOf(stack)),
      connections: options.connections,
      processes: options.processes,
      pause: options.pause,
    });
    const streams = startStreams({ ...berth.router, target: hostOf("streaming"), count: 3 });
    let faults: readonly string[] = [];
    let report: Report | undefined;
    try {
      faults = await rounds(place, load, streams, options);
    } finally {
      await streams.stop();
      report = await load.stop();
    }
    options.say(
      `${String(report.requests)} requests over ${String(report.connections)} connections (${JSON.stringify(report.byKind)}), slowest ${String(Math.round(report.slowest))} ms, ${String(report.faults.length)} failed; ${String(streams.ended.length)} streams ended, ${String(faults.length)} of them wrongly\n${told(report.faults)}`,
    );
    return { report, streams: streams.ended.length, faults };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Until enough was asked, or anything went wrong. Answers what was wrong with streams. */
async function rounds(place: Place, load: Load, streams: Streams, { requests, say }: ZeroLossOptions): Promise<string[]> {
  for (let round = 1; round === 1 || load.requests < requests; round += 1)
    for (const step of steps) {
      const before = { requests: load.requests, ended: streams.ended.length, at: Date.now() };
      await step.run(place);
      // A step during which nothing was asked would prove nothing.
      await until(() => Promise.resolve(load.requests > before.requests + 50 || undefined), "requests to go on", 60_000);
      await onInstancesThatServe(place.berth, streams);
      const ended = streams.ended.slice(before.ended);
      say(
        `round ${String(round)}: ${step.name}: ${String(load.requests - before.requests)} requests, ${String(load.faults)} failed so far; ${String(ended.length)} streams ended`,
      );
      const faults = ended.flatMap((one) => faultOf(one, step, before.at));
      if (load.faults > 0 || faults.length > 0) return faults;
    }
  return [];
}

/** Clients of instances that were taken out stay until these end, also after the release that replaced them is live; the next step is not to be blamed for that. */
async function onInstancesThatServe(berth: TestBerth, streams: Streams): Promise<void> {
  await until(
    async () => {
      const { replicas } = await berth.client.showComponent({ params: { stack: "streaming", component: "web" } });
      const { items } = await berth.client.listInstances({ params: { stack: "streaming", component: "web" } });
      return (items.length === replicas && streams.instances.every((instance) => items.some(({ id }) => id === instance))) || undefined;
    },
    "every stream to be on an instance that serves",
    120_000,
    () => JSON.stringify(streams.ended.slice(-3)),
  );
}

function faultOf(stream: EndedStream, step: Step, begun: number): string[] {
  const what = `${step.name}: ${stream.kind} of ${stream.instance} after ${String(stream.messages)} messages`;
  const lasted = stream.ended - begun;
  if (stream.fault !== undefined) return [`${what} ${stream.fault}`];
  if (!step.replaces) return [`${what} ended, although no instance was to go`];
  return lasted < drainTimeout
    ? [`${what} ended ${String(lasted)} ms after the order, before the drain timeout of ${String(drainTimeout)} ms`]
    : [];
}

interface Place {
  readonly berth: TestBerth;
  /** Of the programs. */
  version: number;
  /** The server of another build. */
  readonly another: string;
}
interface Step {
  readonly name: string;
  /** Instances go, and with them the streams of their clients. */
  readonly replaces: boolean;
  readonly run: (place: Place) => Promise<unknown>;
}

const each = (act: (subject: Subject) => Promise<void>): Promise<unknown> => Promise.all(subjects.map(act));
const severally = subjects.filter(({ stack }) => stack !== "exclusive");

const steps: readonly Step[] = [
  {
    name: "rolling release",
    replaces: true,
    run: (place) => {
      place.version += 1;
      return each((subject) => released(place.berth, subject, `v${String(place.version)}`));
    },
  },
  {
    name: "restart",
    replaces: true,
    run: ({ berth }) =>
      each(async ({ stack }) => {
        await ended(berth, stack, (await berth.client.restartComponent({ params: { stack, component: "web" } })).rollout);
      }),
  },
  { name: "scale up", replaces: false, run: ({ berth }) => scaled(berth, 4) },
  { name: "scale down", replaces: true, run: ({ berth }) => scaled(berth, 1) },
  {
    name: "rollback",
    replaces: true,
    run: ({ berth }) =>
      each(async ({ stack }) => {
        const { rollouts } = await berth.client.rollbackComponent({ params: { stack, component: "web" }, body: {} });
        await ended(berth, stack, rollouts[0]?.number);
      }),
  },
  {
    name: "control plane stopped and started",
    replaces: false,
    run: async ({ berth }) => {
      await berth.server("stop");
      await berth.startServer();
    },
  },
  { name: "edge upgrade", replaces: false, run: ({ berth }) => replacingEdge(berth, () => berth.edge("upgrade")) },
  { name: "routers replaced", replaces: false, run: ({ berth }) => berth.edge("reload") },
  {
    name: "upgrade of control plane and edge to another build",
    replaces: false,
    run: ({ berth, another }) => replacingEdge(berth, () => upgraded(berth, another)),
  },
  { name: "and back", replaces: false, run: ({ berth }) => replacingEdge(berth, () => upgraded(berth)) },
  { name: "scale back", replaces: false, run: ({ berth }) => scaled(berth, 2) },
];

async function released(berth: TestBerth, subject: Subject, version: string): Promise<void> {
  const { rollouts } = await berth.up(subject.stack, project(subject, version));
  for (const { number } of rollouts) await ended(berth, subject.stack, number);
}

async function ended(berth: TestBerth, stack: string, rollout: number | undefined): Promise<void> {
  const { phase, cause } = await berth.ended(stack, "web", rollout ?? 0, 180_000);
  if (phase !== "succeeded") throw new Error(`a rollout in ${stack} ${phase}: ${JSON.stringify(cause)}`);
}

async function scaled(berth: TestBerth, replicas: number): Promise<void> {
  await Promise.all(
    severally.map(async ({ stack }) => {
      await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas } });
      await until(
        async () => {
          const { items } = await berth.client.listInstances({ params: { stack, component: "web" } });
          return (items.length === replicas && items.every((one) => one.ready)) || undefined;
        },
        `${stack} to have ${String(replicas)} instances`,
        120_000,
        () => berth.log(),
      );
    }),
  );
}

/** A server of another build brings its own edge. */
async function upgraded(berth: TestBerth, program?: string): Promise<void> {
  await berth.server("stop");
  await berth.startServer(program);
}

async function replacingEdge(berth: TestBerth, act: () => Promise<unknown>): Promise<void> {
  const pids = (): Promise<EdgePids> => until(() => edgePids(berth.home), "the edge to answer", 60_000);
  const before = await pids();
  await act();
  const after = await pids();
  if (after.primary === before.primary || after.agent === before.agent || after.collector === before.collector)
    throw new Error(`the edge was not replaced whole: ${JSON.stringify([before, after])}`);
}
