// Which verbs are open to a caller on an object now, and why the others are not (design.md, section 3, API). Pure.
import type { Allowed } from "@berth/contract/route.ts";

export type Refusal = { readonly code: string; readonly params?: Record<string, string> } | undefined;

/** For each verb: the permission it takes, and what in the object's state speaks against it. */
export function allowedVerbs(may: (permission: string) => boolean, verbs: Readonly<Record<string, { readonly permission: string; readonly against: Refusal }>>): Allowed {
  return Object.fromEntries(Object.entries(verbs).map(([verb, { permission, against }]): [string, Allowed[string]] => {
    if (!may(permission)) return [verb, { ok: false, reason: { code: "no_permission", params: { permission } } }];
    if (against !== undefined) return [verb, { ok: false, reason: { code: against.code, params: against.params ?? {} } }];
    return [verb, { ok: true }];
  }));
}

export function stackVerbs(may: (permission: string) => boolean, stack: { readonly deleting: boolean }): Allowed {
  const gone: Refusal = stack.deleting ? { code: "being_deleted" } : undefined;
  return allowedVerbs(may, { update: { permission: "stacks.write", against: gone }, deploy: { permission: "releases.deploy", against: gone }, delete: { permission: "stacks.write", against: gone } });
}

export interface ComponentFacts { readonly kind: string; readonly stopped: boolean; readonly deleting: boolean; readonly released: boolean; readonly releases: number }
export function componentVerbs(may: (permission: string) => boolean, component: ComponentFacts): Allowed {
  const gone: Refusal = component.deleting ? { code: "being_deleted" } : undefined;
  const cron: Refusal = component.kind === "cron" ? { code: "is_cron" } : undefined;
  const unreleased: Refusal = component.released ? undefined : { code: "never_released" };
  return allowedVerbs(may, {
    deploy: { permission: "releases.deploy", against: gone },
    rollback: { permission: "releases.deploy", against: gone ?? unreleased ?? (component.releases < 2 ? { code: "no_older_release" } : undefined) },
    scale: { permission: "runtime.operate", against: gone ?? cron },
    restart: { permission: "runtime.operate", against: gone ?? cron ?? unreleased ?? (component.stopped ? { code: "already_stopped" } : undefined) },
    stop: { permission: "runtime.operate", against: gone ?? (component.stopped ? { code: "already_stopped" } : undefined) },
    start: { permission: "runtime.operate", against: gone ?? (component.stopped ? undefined : { code: "not_stopped" }) },
    exec: { permission: "terminal.open", against: gone ?? cron ?? unreleased ?? (component.stopped ? { code: "already_stopped" } : undefined) },
    delete: { permission: "stacks.write", against: gone },
  });
}

export function rolloutVerbs(may: (permission: string) => boolean, rollout: { readonly phase: string; readonly newest: boolean }): Allowed {
  const ended = ["succeeded", "failed", "aborted", "superseded"].includes(rollout.phase);
  const retry: Refusal = !ended ? { code: "rollout_running" } : rollout.phase === "succeeded" ? { code: "rollout_succeeded" } : !rollout.newest ? { code: "rollout_superseded" } : undefined;
  return allowedVerbs(may, {
    abort: { permission: "releases.deploy", against: ended || rollout.phase === "reverting" ? { code: "rollout_ended" } : undefined },
    retry: { permission: "releases.deploy", against: retry },
  });
}

export function buildVerbs(may: (permission: string) => boolean, build: { readonly phase: string }): Allowed {
  const ended = ["succeeded", "failed", "cancelled"].includes(build.phase);
  return allowedVerbs(may, {
    cancel: { permission: "releases.deploy", against: ended ? { code: "build_ended" } : undefined },
    retry: { permission: "releases.deploy", against: !ended ? { code: "build_not_ended" } : build.phase === "succeeded" ? { code: "build_succeeded" } : undefined },
  });
}

export function taskVerbs(may: (permission: string) => boolean, task: { readonly phase: string }): Allowed {
  return allowedVerbs(may, { cancel: { permission: "runtime.operate", against: ["queued", "running"].includes(task.phase) ? undefined : { code: "task_ended" } } });
}
