// Whole objects of the API for tests, each with what a test cares about given and the rest plausible.
import type { Build } from "@berth/contract/resources/builds.ts";
import type { Component } from "@berth/contract/resources/components.ts";
import type { Event } from "@berth/contract/resources/events.ts";
import type { StackPlan } from "@berth/contract/resources/plans.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import type { Source } from "@berth/contract/resources/sources.ts";
import type { Stack } from "@berth/contract/resources/stacks.ts";
import type { Task } from "@berth/contract/resources/tasks.ts";
import { defaultSpec } from "@berth/contract/spec.ts";

/** The moment at which tests happen. */
export const now = new Date("2026-03-01T12:00:00.000Z");
const before = (seconds: number): string => new Date(now.getTime() - seconds * 1000).toISOString();
export const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

export const aStack = (over: Partial<Stack> = {}): Stack => ({
  name: "shop",
  team: "default",
  cluster: "local",
  runEnv: "production",
  drift: "repair",
  state: "healthy",
  components: 1,
  version: 3,
  urls: ["http://web.shop.localhost:8080/"],
  createdAt: before(90_000),
  updatedAt: before(200),
  allowed: {},
  ...over,
});
export const aComponent = (over: Partial<Component> = {}): Component => ({
  stack: "shop",
  name: "web",
  kind: "web",
  state: "healthy",
  replicas: 1,
  ready: 1,
  stopped: false,
  release: { number: 4, hash: "h", createdAt: before(3700) },
  urls: [`http://${over.name ?? "web"}.shop.localhost:8080/`],
  internal: {},
  createdAt: before(9000),
  updatedAt: before(200),
  spec: defaultSpec(over.kind ?? "web"),
  allowed: {},
  ...over,
});
export const aRollout = (over: Partial<Rollout> = {}): Rollout => ({
  stack: "shop",
  component: "web",
  number: 1,
  phase: "rolling",
  reason: "up",
  strategy: "rolling",
  release: 5,
  wanted: 1,
  updated: 0,
  ready: 0,
  waitsFor: [],
  createdAt: before(5),
  createdBy: "admin",
  allowed: {},
  ...over,
});
/** As it is in the end. */
export const ended = (over: Partial<Rollout> = {}): Rollout =>
  aRollout({
    phase: "succeeded",
    updated: 1,
    ready: 1,
    endedAt: before(1),
    verified: [{ url: "http://web.shop.localhost:8080/", status: 200, took: 12 }],
    ...over,
  });
export const aBuild = (over: Partial<Build> = {}): Build => ({
  stack: "shop",
  number: 1,
  phase: "running",
  context: ".",
  source: digest("a"),
  steps: [{ name: "install", state: "running" }],
  queuedAt: before(6),
  startedAt: before(5),
  createdBy: "admin",
  allowed: {},
  ...over,
});
export const aSource = (over: Partial<Source> = {}): Source => ({
  id: "00000000-0000-4000-8000-000000000000",
  kind: "upload",
  digest: digest("a"),
  size: 10,
  files: 1,
  createdAt: before(1),
  createdBy: "admin",
  allowed: {},
  ...over,
});
export const aTask = (over: Partial<Task> = {}): Task => ({
  stack: "shop",
  component: "web",
  number: 1,
  phase: "running",
  command: { exec: ["env"] },
  trigger: "user",
  createdAt: before(1),
  startedAt: before(1),
  createdBy: "admin",
  allowed: {},
  ...over,
});
export const aPlan = (over: Partial<StackPlan> = {}): StackPlan => ({
  status: "ready",
  id: "plan-1",
  stack: "shop",
  createsStack: false,
  cluster: "local",
  changes: [
    {
      component: "web",
      action: "create",
      kind: "web",
      fields: [],
      config: [],
      secrets: [],
      urls: ["http://web.shop.localhost:8080/"],
      build: { context: ".", source: digest("a"), known: false, summary: ["Project: Node.js"] },
    },
  ],
  volumes: { create: [], keep: [] },
  secrets: { create: [], change: [], generate: [] },
  notes: [],
  warnings: [],
  expiresAt: before(-1800),
  allowed: {},
  ...over,
});
export const anEvent = (over: Partial<Event> = {}): Event => ({
  id: "1",
  at: before(1),
  code: "rollout_progress",
  params: { rollout: 1, component: "web", ready: 0, wanted: 1 },
  topics: ["stack:shop"],
  stack: "shop",
  component: "web",
  ...over,
});
