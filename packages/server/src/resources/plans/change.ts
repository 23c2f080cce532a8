// What a plan says of one component: fields of its definition, and config and secrets that its next release would pick up. Only reads; no value of a secret or of config is in it.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Note, ComponentChange, FieldChange } from "@berth/contract/resources/plans.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { Static } from "typebox";
import { showCommand } from "../../core/buildplan/command.ts";
import { explainPlan } from "../../core/buildplan/explain.ts";
import { BerthError } from "../../core/errors.ts";
import { diffFields } from "../../core/release/diff.ts";
import { pendingConfig, pendingSecrets } from "../../core/release/pending.ts";
import { chooseCommand, resolveConfig } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { BuildRow } from "../builds/store.ts";
import { wantedRoutes } from "../../core/traffic-entry.ts";
import type { ComponentRow } from "../components/store.ts";
import { resolveIntent } from "../config/resolve.ts";
import type { Places, ResourceDeps } from "../deps.ts";
import { findRelease } from "../releases/store.ts";
import { openRollout } from "../rollouts/store.ts";
import type { StackHandle } from "../stacks/service.ts";
import { planError, reusableBuild, type NeededBuild } from "./builds.ts";
import { fitted, isLive } from "./live.ts";

export interface Planned {
  readonly db: Db;
  readonly places: Pick<Places, "traffic">;
  readonly isOnOldBases: ResourceDeps["isOnOldBases"];
  /** undefined for a stack that is yet to be made. */
  readonly stack: StackHandle | undefined;
  readonly stackName: string;
  readonly cluster: string;
  /** Of the cluster: what default hosts end with. */
  readonly domain: string;
  readonly runEnv: string;
  /** Versions that secrets get when the plan is applied, from the Compose file's values. */
  readonly coming: ReadonlyMap<string, number>;
  /** Components of the stack by then that have ports. */
  readonly reachable: readonly string[];
}
export interface PlannedComponent {
  readonly name: string;
  readonly spec: ComponentSpec;
  readonly row: ComponentRow | undefined;
  readonly build: { readonly needed: NeededBuild; readonly plan: BuildPlan } | undefined;
}
export interface PlannedChange {
  readonly change: ComponentChange;
  readonly generate: readonly string[];
  readonly notes: readonly Static<typeof Note>[];
}

/** Errors: `plan_not_possible` without a start command, `secret_not_found`, `env_required`. */
export async function changeOf(at: Planned, { name, spec, row, build }: PlannedComponent): Promise<PlannedChange> {
  const chosen = build === undefined || build.plan.kind === "dockerfile" ? undefined : chooseCommand(name, spec, build.plan);
  if (chosen?.ok === false) throw planError(chosen.cause, build?.needed.context ?? ".");
  const intent = await intentOf(at, row, spec);
  const siblings = at.reachable.filter((other) => other !== name);
  const { config, secretRefs, generate, missing } = await fitted(at.db, at.stack?.id, build?.plan.app, intent, spec, siblings);
  if (missing.length > 0) throw lacking(at, name, build?.plan, missing);
  const serves = row === undefined ? undefined : await served(at.db, row);
  const fields = row === undefined ? [] : changedFields(at, row, spec, serves?.spec ?? row.spec);
  const known = build === undefined || at.stack === undefined ? undefined : await reusableBuild(at, at.db, at.stack.id, build.needed.key);
  const live = row !== undefined && (await isLive(at.db, { component: row, spec, intent, siblings }, known)) && fields.length === 0;
  const shown = new Set(fields.filter(({ path }) => path.startsWith("env.")).map(({ path }) => path.slice("env.".length)));
  return {
    change: {
      component: name,
      kind: spec.kind,
      fields,
      action: row === undefined ? "create" : live ? "unchanged" : "update",
      config: serves === undefined ? [] : pendingConfig(serves.config, config, shown),
      secrets: pendingSecrets(serves?.secret_refs ?? {}, secretRefs),
      ...(build === undefined ? {} : { build: buildOf(build, known) }),
      urls: wantedRoutes({ name: at.stackName, domain: at.domain }, name, spec)
        .filter(({ host }) => !host.startsWith("*."))
        .map(({ host, path }) => at.places.traffic(at.cluster).publicUrl(host, path)),
    },
    generate: generate.map(({ secret }) => secret),
    notes: [
      ...generate.map(({ variable, secret }) => ({ code: "secret_generated", params: { component: name, variable, secret } })),
      ...(row?.stable_release_id == null ? postdeployNotes(name, build?.plan) : []),
    ],
  };
}

function buildOf(
  { needed, plan }: NonNullable<PlannedComponent["build"]>,
  known: BuildRow | undefined,
): NonNullable<ComponentChange["build"]> {
  return { context: needed.context, source: needed.source, known: known?.phase === "succeeded", summary: explainPlan(plan) };
}

async function intentOf(
  at: Planned,
  row: ComponentRow | undefined,
  spec: ComponentSpec,
): Promise<Awaited<ReturnType<typeof resolveIntent>>> {
  if (at.stack !== undefined) return resolveIntent(at.db, { id: at.stack.id, runEnv: at.runEnv }, row?.id, spec, at.coming);
  const secretRefs = Object.fromEntries(
    Object.entries(spec.secrets).map(([variable, secret]) => {
      const version = at.coming.get(secret);
      if (version === undefined) throw new BerthError("secret_not_found", { secret });
      return [variable, { secret, version }];
    }),
  );
  return { config: resolveConfig({}, spec, {}, at.runEnv), secretRefs };
}

/** What is on its way, else what serves; undefined before the first release. */
async function served(
  db: Db,
  row: ComponentRow,
): Promise<
  | {
      spec: ComponentSpec;
      config: Readonly<Record<string, string>>;
      secret_refs: Readonly<Record<string, { secret: string; version: number }>>;
    }
  | undefined
> {
  const open = await openRollout(db, row.id);
  if (open !== undefined) return (open.release_id === null ? undefined : await findRelease(db, open.release_id)) ?? open;
  return row.stable_release_id === null ? undefined : findRelease(db, row.stable_release_id);
}

/** Replicas are no part of a release: they are compared with what is wanted now. */
function changedFields(at: Planned, row: ComponentRow, spec: ComponentSpec, before: ComponentSpec): FieldChange[] {
  const runEnv =
    at.stack === undefined || at.stack.runEnv === at.runEnv ? [] : [{ path: "env.RUN_ENV", from: at.stack.runEnv, to: at.runEnv }];
  return [...diffFields({ ...before, replicas: row.spec.replicas }, spec), ...runEnv];
}

function lacking(at: Planned, component: string, plan: BuildPlan | undefined, missing: readonly string[]): BerthError {
  const first = at.stack === undefined ? `, after \`berth stacks create ${at.stackName}\`` : "";
  return new BerthError(
    "env_required",
    { component, names: missing.join(", "), file: "app.json", stack: at.stackName, first },
    { details: missing.map((name) => ({ name, description: plan?.app?.env[name]?.description ?? "" })) },
  );
}

function postdeployNotes(component: string, plan: BuildPlan | undefined): Static<typeof Note>[] {
  const command = plan?.app?.postdeploy;
  return command === undefined ? [] : [{ code: "postdeploy_command", params: { component, command: showCommand(command) } }];
}

/** One for each release command: which components wait for it. */
export function releaseNotes(
  builds: readonly NeededBuild[],
  plans: ReadonlyMap<string, BuildPlan>,
  changes: readonly ComponentChange[],
): Static<typeof Note>[] {
  const moving = new Set(changes.filter(({ action }) => action === "create" || action === "update").map(({ component }) => component));
  return builds.flatMap((build) => {
    const command = plans.get(build.key)?.processes["release"]?.command;
    const components = build.components.filter((name) => moving.has(name));
    return command === undefined || components.length === 0
      ? []
      : [{ code: "release_command", params: { command: showCommand(command), components: components.join(", ") } }];
  });
}
