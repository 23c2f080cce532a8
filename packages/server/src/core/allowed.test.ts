import { describe, expect, it } from "vitest";
import { reasonsEn } from "@berth/contract/route.ts";
import { allowedVerbs, buildVerbs, componentVerbs, rolloutVerbs, stackVerbs, taskVerbs, type ComponentFacts } from "./allowed.ts";

type Allowed = ReturnType<typeof allowedVerbs>;
const everything = (): boolean => true;
const nothing = (): boolean => false;
/** `ok`, or the code of the reason. */
const told = (allowed: Allowed): Record<string, string> => Object.fromEntries(Object.entries(allowed).map(([verb, { ok, reason }]) => [verb, ok ? "ok" : (reason?.code ?? "no reason")]));
const running: ComponentFacts = { kind: "web", stopped: false, deleting: false, released: true, releases: 3 };

describe("verbs", () => {
  it("name the permission that is missing before anything about the object, which the caller may not know", () => {
    expect(allowedVerbs((permission) => permission === "a", { one: { permission: "a", against: undefined }, two: { permission: "b", against: { code: "being_deleted" } } })).toEqual({
      one: { ok: true }, two: { ok: false, reason: { code: "no_permission", params: { permission: "b" } } },
    });
  });
  it("hand on what the reason is filled with", () => {
    expect(allowedVerbs(everything, { one: { permission: "a", against: { code: "x", params: { name: "db" } } } })).toEqual({ one: { ok: false, reason: { code: "x", params: { name: "db" } } } });
  });
  it("are all refused to those who may do nothing", () => {
    const all = [stackVerbs(nothing, { deleting: false }), componentVerbs(nothing, running), rolloutVerbs(nothing, { phase: "rolling", newest: true }), buildVerbs(nothing, { phase: "running" }), taskVerbs(nothing, { phase: "running" })];
    for (const allowed of all) for (const { ok, reason } of Object.values(allowed)) expect({ ok, code: reason?.code }).toEqual({ ok: false, code: "no_permission" });
  });
});

describe("a stack's verbs", () => {
  it("are open, until it is being deleted", () => {
    expect(told(stackVerbs(everything, { deleting: false }))).toEqual({ update: "ok", deploy: "ok", delete: "ok" });
    expect(told(stackVerbs(everything, { deleting: true }))).toEqual({ update: "being_deleted", deploy: "being_deleted", delete: "being_deleted" });
  });
});

describe("a component's verbs", () => {
  it.each<[string, Partial<ComponentFacts>, Record<string, string>]>([
    ["running", {}, { deploy: "ok", rollback: "ok", scale: "ok", restart: "ok", stop: "ok", start: "not_stopped", exec: "ok", delete: "ok" }],
    ["stopped", { stopped: true }, { scale: "ok", restart: "already_stopped", stop: "already_stopped", start: "ok", rollback: "ok", exec: "already_stopped" }],
    ["never released", { released: false, releases: 0 }, { deploy: "ok", rollback: "never_released", restart: "never_released", exec: "never_released", scale: "ok", delete: "ok" }],
    ["released once", { releases: 1 }, { rollback: "no_older_release" }],
    ["a schedule", { kind: "cron" }, { scale: "is_cron", restart: "is_cron", exec: "is_cron", stop: "ok", deploy: "ok" }],
    ["being deleted", { deleting: true, stopped: true, kind: "cron", released: false }, { deploy: "being_deleted", rollback: "being_deleted", scale: "being_deleted", restart: "being_deleted", stop: "being_deleted", start: "being_deleted", exec: "being_deleted", delete: "being_deleted" }],
  ])("when it is %s", (_, over, verbs) => {
    expect(told(componentVerbs(everything, { ...running, ...over }))).toMatchObject(verbs);
  });
  it("ask for different permissions: who may run it may not change it", () => {
    const operator = told(componentVerbs((permission) => permission === "runtime.operate", running));
    expect(operator).toEqual({ deploy: "no_permission", rollback: "no_permission", scale: "ok", restart: "ok", stop: "ok", start: "not_stopped", exec: "no_permission", delete: "no_permission" });
  });
});

describe("a rollout's verbs", () => {
  it.each<[string, boolean, string, string]>([
    ["building", true, "ok", "rollout_running"], ["rolling", true, "ok", "rollout_running"], ["verifying", true, "ok", "rollout_running"], ["reverting", true, "rollout_ended", "rollout_running"],
    ["succeeded", true, "rollout_ended", "rollout_succeeded"], ["failed", true, "rollout_ended", "ok"], ["aborted", true, "rollout_ended", "ok"], ["failed", false, "rollout_ended", "rollout_superseded"], ["superseded", false, "rollout_ended", "rollout_superseded"],
  ])("in %s (newest: %s): abort %s, retry %s", (phase, newest, abort, retry) => {
    expect(told(rolloutVerbs(everything, { phase, newest }))).toEqual({ abort, retry });
  });
});

describe("verbs of builds and tasks", () => {
  it.each([["queued", "ok", "build_not_ended"], ["running", "ok", "build_not_ended"], ["succeeded", "build_ended", "build_succeeded"], ["failed", "build_ended", "ok"], ["cancelled", "build_ended", "ok"]])("a %s build: cancel %s, retry %s", (phase, cancel, retry) => {
    expect(told(buildVerbs(everything, { phase }))).toEqual({ cancel, retry });
  });
  it.each([["queued", "ok"], ["running", "ok"], ["succeeded", "task_ended"], ["failed", "task_ended"], ["cancelled", "task_ended"], ["missed", "task_ended"]])("a %s task: cancel %s", (phase, cancel) => {
    expect(told(taskVerbs(everything, { phase }))).toEqual({ cancel });
  });
});

it("every reason that is given has its sentence", () => {
  const facts = [true, false].flatMap((stopped) => [true, false].flatMap((deleting) => [true, false].flatMap((released) => [0, 1, 2].flatMap((releases) => ["web", "cron"].map((kind) => ({ stopped, deleting, released, releases, kind }))))));
  const phases = ["building", "rolling", "reverting", "succeeded", "failed", "aborted", "superseded", "queued", "running", "cancelled", "missed"];
  const all = [
    ...facts.map((one) => componentVerbs(everything, one)), stackVerbs(everything, { deleting: true }), stackVerbs(nothing, { deleting: true }),
    ...phases.flatMap((phase) => [rolloutVerbs(everything, { phase, newest: true }), rolloutVerbs(everything, { phase, newest: false }), buildVerbs(everything, { phase }), taskVerbs(everything, { phase })]),
  ];
  const codes = new Set(all.flatMap((allowed) => Object.values(allowed).flatMap(({ reason }) => (reason === undefined ? [] : [reason.code]))));
  expect(codes.size).toBeGreaterThan(10);
  expect([...codes].filter((code) => reasonsEn[code] === undefined)).toEqual([]);
});
