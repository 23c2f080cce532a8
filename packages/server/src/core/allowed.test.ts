// What each verb needs, state by state. Whether the routes then do what is said here is held against them in test/verbs.test.ts.
import { describe, expect, it } from "vitest";
import { reasonsEn } from "@berth/contract/route.ts";
import {
  allowedVerbs,
  buildVerbs,
  clusterVerbs,
  componentVerbs,
  configVerbs,
  credentialVerbs,
  instanceVerbs,
  meVerbs,
  planVerbs,
  releaseVerbs,
  rolloutVerbs,
  secretVerbs,
  sourceVerbs,
  stackVerbs,
  taskVerbs,
  tokenVerbs,
  volumeVerbs,
  type ComponentFacts,
  type May,
  type RolloutFacts,
} from "./allowed.ts";

type Allowed = ReturnType<typeof allowedVerbs>;
const everything = (): boolean => true;
const nothing = (): boolean => false;
/** `ok`, or the code of the reason. */
const told = (allowed: Allowed): Record<string, string> =>
  Object.fromEntries(Object.entries(allowed).map(([verb, { ok, reason }]) => [verb, ok ? "ok" : (reason?.code ?? "no reason")]));
const running: ComponentFacts = {
  kind: "web",
  stopped: false,
  deleting: false,
  released: true,
  older: true,
  rolling: false,
  running: true,
  autoscaled: false,
  autoscaler: true,
};
const ended: RolloutFacts = { phase: "failed", newest: true, kept: true, deleting: false };
const here = { deleting: false };
/** Every object, as it is for most of its life, for a caller. */
const all = (may: May): Allowed[] => [
  meVerbs(may),
  stackVerbs(may, here),
  planVerbs(may, { defines: false, grants: false, setsSecrets: false }),
  componentVerbs(may, running),
  instanceVerbs(may, { ...here, phase: "running" }),
  releaseVerbs(may, here),
  sourceVerbs(may, here),
  configVerbs(may, here),
  secretVerbs(may, { ...here, used: false }),
  credentialVerbs(may, here),
  volumeVerbs(may, { ...here, used: false }),
  rolloutVerbs(may, ended),
  buildVerbs(may, { ...here, phase: "running" }),
  taskVerbs(may, { phase: "running" }),
];

describe("verbs", () => {
  it("name the permission that is missing before anything about the object, which the caller may not know", () => {
    expect(
      allowedVerbs((permission) => permission === "a", {
        one: { permission: "a" },
        two: { permission: "b", against: { code: "being_deleted" } },
        three: {},
      }),
    ).toEqual({
      one: { ok: true },
      two: { ok: false, reason: { code: "no_permission", params: { permission: "b" } } },
      three: { ok: true },
    });
  });
  it("hand on what the reason is filled with", () => {
    expect(allowedVerbs(everything, { one: { permission: "a", against: { code: "x", params: { name: "db" } } } })).toEqual({
      one: { ok: false, reason: { code: "x", params: { name: "db" } } },
    });
  });
  it("are all refused to those who may do nothing, but for what is their own", () => {
    for (const allowed of all(nothing))
      for (const [verb, { ok, reason }] of Object.entries(allowed))
        expect({ verb, ok, code: reason?.code }).toEqual(
          ["createToken", "logout"].includes(verb) ? { verb, ok: true } : { verb, ok: false, code: "no_permission" },
        );
    expect(told(tokenVerbs())).toEqual({ delete: "ok" });
  });
  it("that both define and release take both permissions", () => {
    expect(configVerbs((permission) => permission === "stacks.write", here)["deploy"]?.reason?.params).toEqual({
      permission: "releases.deploy",
    });
    expect(configVerbs((permission) => permission === "releases.deploy", here)["deploy"]?.reason?.params).toEqual({
      permission: "stacks.write",
    });
  });
});

describe("what is being deleted", () => {
  it("can only be looked at", () => {
    const gone = { deleting: true };
    for (const allowed of [
      stackVerbs(everything, gone),
      releaseVerbs(everything, gone),
      sourceVerbs(everything, gone),
      configVerbs(everything, gone),
      credentialVerbs(everything, gone),
      secretVerbs(everything, { ...gone, used: true }),
      volumeVerbs(everything, { ...gone, used: false }),
      instanceVerbs(everything, { ...gone, phase: "running" }),
    ]) {
      expect(new Set(Object.values(told(allowed)))).toEqual(new Set(["being_deleted"]));
    }
  });
});

describe("a component's verbs", () => {
  it.each<[string, Partial<ComponentFacts>, Record<string, string>]>([
    [
      "running",
      {},
      {
        update: "ok",
        deploy: "ok",
        rollback: "ok",
        scale: "ok",
        autoscale: "ok",
        restart: "ok",
        stop: "ok",
        start: "not_stopped",
        exec: "ok",
        forward: "ok",
        runTask: "ok",
        runSchedule: "no_schedule",
        delete: "ok",
      },
    ],
    [
      "stopped",
      { stopped: true, running: false },
      {
        scale: "ok",
        restart: "is_stopped",
        stop: "already_stopped",
        start: "ok",
        rollback: "ok",
        exec: "is_stopped",
        forward: "is_stopped",
        runTask: "ok",
      },
    ],
    [
      "never released",
      { released: false, older: false, running: false },
      {
        deploy: "ok",
        rollback: "never_released",
        restart: "never_released",
        exec: "not_running",
        runTask: "never_released",
        scale: "ok",
        delete: "ok",
      },
    ],
    ["made into a release that never served", { released: false, running: false }, { rollback: "ok", restart: "never_released" }],
    ["released once", { older: false }, { rollback: "no_older_release" }],
    ["scaled by its cluster", { autoscaled: true }, { scale: "is_autoscaled", autoscale: "ok", restart: "ok" }],
    ["where nobody scales it", { autoscaler: false }, { scale: "ok", autoscale: "no_autoscaler" }],
    ["stateful", { kind: "stateful" }, { scale: "ok", autoscale: "not_scalable", place: "not_placeable" }],
    ["in a rollout", { rolling: true }, { restart: "rollout_under_way", deploy: "ok", scale: "ok" }],
    [
      "a schedule",
      { kind: "cron", running: false },
      { scale: "is_cron", restart: "is_cron", exec: "is_cron", stop: "ok", deploy: "ok", runSchedule: "ok", runTask: "ok" },
    ],
    ["a schedule without a release", { kind: "cron", released: false, running: false }, { runSchedule: "never_released" }],
    [
      "being deleted",
      { deleting: true, stopped: true, kind: "cron", released: false },
      {
        update: "being_deleted",
        deploy: "being_deleted",
        rollback: "being_deleted",
        scale: "being_deleted",
        restart: "being_deleted",
        stop: "being_deleted",
        start: "being_deleted",
        exec: "being_deleted",
        forward: "being_deleted",
        runTask: "being_deleted",
        runSchedule: "being_deleted",
        delete: "being_deleted",
      },
    ],
  ])("when it is %s", (_, over, verbs) => {
    expect(told(componentVerbs(everything, { ...running, ...over }))).toMatchObject(verbs);
  });
  it("ask for different permissions: who may run it may not change it", () => {
    const operator = told(componentVerbs((permission) => permission === "runtime.operate", running));
    expect(operator).toEqual({
      update: "no_permission",
      deploy: "no_permission",
      rollback: "no_permission",
      scale: "ok",
      autoscale: "ok",
      place: "no_permission",
      restart: "ok",
      stop: "ok",
      start: "not_stopped",
      exec: "no_permission",
      forward: "no_permission",
      runTask: "no_permission",
      runSchedule: "no_schedule",
      delete: "no_permission",
    });
  });
});

describe("a rollout's verbs", () => {
  it.each<[Partial<RolloutFacts>, string, string]>([
    [{ phase: "building" }, "ok", "rollout_running"],
    [{ phase: "rolling" }, "ok", "rollout_running"],
    [{ phase: "verifying" }, "ok", "rollout_running"],
    [{ phase: "reverting" }, "rollout_ended", "rollout_running"],
    [{ phase: "succeeded" }, "rollout_ended", "rollout_succeeded"],
    [{}, "rollout_ended", "ok"],
    [{ phase: "aborted" }, "rollout_ended", "ok"],
    [{ newest: false }, "rollout_ended", "rollout_superseded"],
    [{ phase: "superseded", newest: false }, "rollout_ended", "rollout_superseded"],
    [{ kept: false }, "rollout_ended", "nothing_kept"],
    [{ deleting: true }, "rollout_ended", "being_deleted"],
    [{ phase: "rolling", deleting: true }, "ok", "rollout_running"],
  ])("in %j: abort %s, retry %s", (over, abort, retry) => {
    expect(told(rolloutVerbs(everything, { ...ended, ...over }))).toEqual({ abort, retry });
  });
});

describe("verbs of other things", () => {
  it.each([
    ["queued", "ok", "build_not_ended"],
    ["running", "ok", "build_not_ended"],
    ["succeeded", "build_ended", "build_succeeded"],
    ["failed", "build_ended", "ok"],
    ["cancelled", "build_ended", "ok"],
  ])("a %s build: cancel %s, retry %s", (phase, cancel, retry) => {
    expect(told(buildVerbs(everything, { phase, deleting: false }))).toEqual({ cancel, retry });
  });
  it("a build is not run again in a stack that is on its way out, but still cancelled", () => {
    expect(told(buildVerbs(everything, { phase: "failed", deleting: true }))).toEqual({ cancel: "build_ended", retry: "being_deleted" });
    expect(told(buildVerbs(everything, { phase: "queued", deleting: true }))).toMatchObject({ cancel: "ok" });
  });
  it.each([
    ["queued", "ok"],
    ["running", "ok"],
    ["succeeded", "task_ended"],
    ["failed", "task_ended"],
    ["cancelled", "task_ended"],
    ["missed", "task_ended"],
  ])("a %s task: cancel %s", (phase, cancel) => {
    expect(told(taskVerbs(everything, { phase }))).toEqual({ cancel });
  });
  it("what a component uses is not deleted", () => {
    expect(told(secretVerbs(everything, { ...here, used: true }))).toEqual({ set: "ok", delete: "secret_in_use" });
    expect(told(volumeVerbs(everything, { ...here, used: true }))).toEqual({ delete: "volume_in_use" });
  });
  it("a terminal opens only in what runs", () => {
    expect(told(instanceVerbs(everything, { ...here, phase: "backoff" }))).toEqual({ exec: "not_running", forward: "not_running" });
  });
});

it("every reason that is given has its sentence", () => {
  const either = [true, false];
  const facts = either.flatMap((stopped) =>
    either.flatMap((deleting) =>
      either.flatMap((released) =>
        either.flatMap((older) =>
          either.flatMap((rolling) =>
            either.flatMap((up) =>
              ["web", "cron", "stateful"].flatMap((kind) =>
                either.map((scaled): ComponentFacts => ({
                  stopped,
                  deleting,
                  released,
                  older,
                  rolling,
                  running: up,
                  kind,
                  autoscaled: scaled,
                  autoscaler: scaled,
                })),
              ),
            ),
          ),
        ),
      ),
    ),
  );
  const phases = [
    "building",
    "rolling",
    "reverting",
    "succeeded",
    "failed",
    "aborted",
    "superseded",
    "queued",
    "running",
    "cancelled",
    "missed",
  ];
  const given = [
    ...facts.map((one) => componentVerbs(everything, one)),
    ...all(nothing),
    ...all(everything),
    clusterVerbs(everything, { host: false, stacks: 0 }),
    clusterVerbs(everything, { host: true, stacks: 1 }),
    secretVerbs(everything, { ...here, used: true }),
    volumeVerbs(everything, { ...here, used: true }),
    instanceVerbs(everything, { ...here, phase: "exited" }),
    ...phases.flatMap((phase) =>
      either.flatMap((newest) => either.map((kept) => rolloutVerbs(everything, { phase, newest, kept, deleting: false }))),
    ),
    ...phases.flatMap((phase) => [buildVerbs(everything, { ...here, phase }), taskVerbs(everything, { phase })]),
  ];
  const codes = new Set(
    given.flatMap((allowed) => Object.values(allowed).flatMap(({ reason }) => (reason === undefined ? [] : [reason.code]))),
  );
  expect([...codes].filter((code) => reasonsEn[code] === undefined)).toEqual([]);
  // And no sentence waits for a reason that nobody gives.
  expect(Object.keys(reasonsEn).filter((code) => !codes.has(code))).toEqual([]);
});
