// Which verbs are open to a caller on an object now, and why the others are not (design.md, section 3, API). Pure.
// One function for each object of the contract that routes act on; a test holds every answer against what the route then does.
import type { Allowed } from "@berth/contract/route.ts";

export type Refusal = { readonly code: string; readonly params?: Record<string, string> } | undefined;
export type May = (permission: string) => boolean;

/** For each verb: the permission that it takes, if any, and what in the object's state speaks against it. */
export function allowedVerbs(
  may: May,
  verbs: Readonly<Record<string, { readonly permission?: string; readonly against?: Refusal }>>,
): Allowed {
  return Object.fromEntries(
    Object.entries(verbs).map(([verb, { permission, against }]): [string, Allowed[string]] => {
      if (permission !== undefined && !may(permission))
        return [verb, { ok: false, reason: { code: "no_permission", params: { permission } } }];
      if (against !== undefined) return [verb, { ok: false, reason: { code: against.code, params: against.params ?? {} } }];
      return [verb, { ok: true }];
    }),
  );
}

interface Place {
  /** The stack or component that it belongs to is on its way out. */ readonly deleting: boolean;
}
const goneOf = ({ deleting }: Place): Refusal => (deleting ? { code: "being_deleted" } : undefined);
const when = (holds: boolean, code: string): Refusal => (holds ? { code } : undefined);

export function meVerbs(may: May): Allowed {
  return allowedVerbs(may, {
    createStack: { permission: "stacks.create" },
    createToken: {},
    trustHost: { permission: "installation.manage" },
    addCertificate: { permission: "installation.manage" },
    addCluster: { permission: "installation.manage" },
    addRegistry: { permission: "installation.manage" },
    addWebhook: { permission: "installation.manage" },
    logout: {},
  });
}

/** Only who may do all of it sees a certificate. */
export function certificateVerbs(): Allowed {
  return allowedVerbs(() => true, { set: {}, delete: {} });
}

/** `host`: it is one elsewhere, and not a server's own machine. */
export function clusterVerbs(may: May, { host, stacks }: { readonly host: boolean; readonly stacks: number }): Allowed {
  const permission = "installation.manage";
  return allowedVerbs(may, {
    change: { permission },
    delete: { permission, against: when(!host, "own_machine") ?? when(stacks > 0, "has_stacks") },
  });
}

/** Only who may do all of it sees a registry. */
export function registryVerbs(): Allowed {
  return allowedVerbs(() => true, { set: {}, delete: {} });
}

/** Only who may do all of it sees a webhook. */
export function webhookVerbs(): Allowed {
  return allowedVerbs(() => true, { delete: {} });
}

/** Only who may do all of it sees one. */
export function automaticCertificateVerbs(): Allowed {
  return allowedVerbs(() => true, { renew: {} });
}

export function tokenVerbs(): Allowed {
  return allowedVerbs(() => true, { delete: {} });
}

export function stackVerbs(may: May, stack: Place): Allowed {
  const against = goneOf(stack);
  return allowedVerbs(may, {
    update: { permission: "stacks.write", against },
    deploy: { permission: "releases.deploy", against },
    addSource: { permission: "releases.deploy", against },
    setComponent: { permission: "stacks.write", against },
    setQuota: { permission: "installation.manage", against },
    setSecret: { permission: "secrets.write", against },
    setCredential: { permission: "secrets.write", against },
    delete: { permission: "stacks.write", against },
  });
}

/** `defines`: it changes what a component is; `grants`: one that reaches its machine; `setsSecrets`: it gives a secret a value. All are more than releasing. */
export function planVerbs(may: May, plan: { readonly defines: boolean; readonly grants: boolean; readonly setsSecrets: boolean }): Allowed {
  const needed = [
    "releases.deploy",
    ...(plan.defines ? ["stacks.write"] : []),
    ...(plan.grants ? ["privileges.grant"] : []),
    ...(plan.setsSecrets ? ["secrets.write"] : []),
  ];
  return allowedVerbs(may, { apply: { permission: needed.find((permission) => !may(permission)) ?? "releases.deploy" } });
}

const isScalable = (kind: string): boolean => kind === "web" || kind === "worker";

export interface ComponentFacts extends Place {
  readonly kind: string;
  readonly stopped: boolean;
  readonly released: boolean;
  /** There is a release that a rollback without a number goes to. */
  readonly older: boolean;
  readonly rolling: boolean;
  /** An instance was seen running. */
  readonly running: boolean;
  /** The cluster decides how many instances it has, or could. */
  readonly autoscaled: boolean;
  readonly autoscaler: boolean;
}
export function componentVerbs(may: May, component: ComponentFacts): Allowed {
  const gone = goneOf(component);
  const cron = when(component.kind === "cron", "is_cron");
  const unreleased = when(!component.released, "never_released");
  const stopped = when(component.stopped, "is_stopped");
  const still = component.running ? undefined : (stopped ?? { code: "not_running" });
  return allowedVerbs(may, {
    update: { permission: "stacks.write", against: gone },
    deploy: { permission: "releases.deploy", against: gone },
    rollback: {
      permission: "releases.deploy",
      against: gone ?? (component.older ? undefined : (unreleased ?? { code: "no_older_release" })),
    },
    scale: { permission: "runtime.operate", against: gone ?? cron ?? when(component.autoscaled, "is_autoscaled") },
    autoscale: {
      permission: "runtime.operate",
      against: gone ?? cron ?? when(!isScalable(component.kind), "not_scalable") ?? when(!component.autoscaler, "no_autoscaler"),
    },
    place: {
      permission: "stacks.write",
      against: gone ?? cron ?? when(!isScalable(component.kind), "not_placeable") ?? when(component.rolling, "rollout_under_way"),
    },
    restart: {
      permission: "runtime.operate",
      against: gone ?? cron ?? unreleased ?? stopped ?? when(component.rolling, "rollout_under_way"),
    },
    stop: { permission: "runtime.operate", against: gone ?? when(component.stopped, "already_stopped") },
    start: { permission: "runtime.operate", against: gone ?? when(!component.stopped, "not_stopped") },
    exec: { permission: "terminal.open", against: gone ?? cron ?? still },
    forward: { permission: "terminal.open", against: gone ?? cron ?? still },
    runTask: { permission: "terminal.open", against: gone ?? unreleased },
    runSchedule: { permission: "runtime.operate", against: gone ?? when(component.kind !== "cron", "no_schedule") ?? unreleased },
    delete: { permission: "stacks.write", against: gone },
  });
}

export function instanceVerbs(may: May, instance: Place & { readonly phase: string }): Allowed {
  const against = goneOf(instance) ?? when(instance.phase !== "running", "not_running");
  return allowedVerbs(may, { exec: { permission: "terminal.open", against }, forward: { permission: "terminal.open", against } });
}

export function releaseVerbs(may: May, release: Place): Allowed {
  return allowedVerbs(may, { rollback: { permission: "releases.deploy", against: goneOf(release) } });
}

export function sourceVerbs(may: May, source: Place): Allowed {
  return allowedVerbs(may, { deploy: { permission: "releases.deploy", against: goneOf(source) } });
}

export function configVerbs(may: May, config: Place): Allowed {
  const against = goneOf(config);
  return allowedVerbs(may, {
    update: { permission: "stacks.write", against },
    deploy: { permission: may("stacks.write") ? "releases.deploy" : "stacks.write", against },
  });
}

export function secretVerbs(may: May, secret: Place & { readonly used: boolean }): Allowed {
  return allowedVerbs(may, {
    set: { permission: "secrets.write", against: goneOf(secret) },
    delete: { permission: "secrets.write", against: goneOf(secret) ?? when(secret.used, "secret_in_use") },
  });
}

export function credentialVerbs(may: May, credential: Place): Allowed {
  const against = goneOf(credential);
  return allowedVerbs(may, { set: { permission: "secrets.write", against }, delete: { permission: "secrets.write", against } });
}

export function volumeVerbs(may: May, volume: Place & { readonly used: boolean }): Allowed {
  return allowedVerbs(may, { delete: { permission: "volumes.delete", against: when(volume.used, "volume_in_use") ?? goneOf(volume) } });
}

export interface RolloutFacts extends Place {
  readonly phase: string;
  readonly newest: boolean;
  /** Its build or its release is still there to go on from. */ readonly kept: boolean;
}
export function rolloutVerbs(may: May, rollout: RolloutFacts): Allowed {
  const ended = ["succeeded", "failed", "aborted", "superseded"].includes(rollout.phase);
  const retry =
    when(!ended, "rollout_running") ??
    when(rollout.phase === "succeeded", "rollout_succeeded") ??
    when(!rollout.newest, "rollout_superseded") ??
    goneOf(rollout) ??
    when(!rollout.kept, "nothing_kept");
  return allowedVerbs(may, {
    abort: { permission: "releases.deploy", against: when(ended || rollout.phase === "reverting", "rollout_ended") },
    retry: { permission: "releases.deploy", against: retry },
  });
}

export function buildVerbs(may: May, build: Place & { readonly phase: string }): Allowed {
  const ended = ["succeeded", "failed", "cancelled"].includes(build.phase);
  return allowedVerbs(may, {
    cancel: { permission: "releases.deploy", against: when(ended, "build_ended") },
    retry: {
      permission: "releases.deploy",
      against: when(!ended, "build_not_ended") ?? when(build.phase === "succeeded", "build_succeeded") ?? goneOf(build),
    },
  });
}

export function taskVerbs(may: May, task: { readonly phase: string }): Allowed {
  return allowedVerbs(may, {
    cancel: { permission: "runtime.operate", against: when(!["queued", "running"].includes(task.phase), "task_ended") },
  });
}
