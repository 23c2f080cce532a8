// Applying a definition: components, builds, rollouts and a stack version in one transaction. Also the way that `deploy` goes.
import type { Deployment } from "@berth/contract/resources/plans.ts";
import type { StackDefinition } from "../../core/compose/read.ts";
import { BerthError } from "../../core/errors.ts";
import { chooseCommand, releaseHash } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { queueBuild } from "../builds/retry.ts";
import { findReusable, type BuildRow } from "../builds/store.ts";
import type { Call } from "../call.ts";
import { defineComponent } from "../components/definition.ts";
import { requestRemoval } from "../components/service.ts";
import { findComponent, updateComponent, type ComponentRow } from "../components/store.ts";
import { resolveIntent } from "../config/resolve.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent } from "../intent.ts";
import { findRelease } from "../releases/store.ts";
import { acceptRollouts, type Wanted } from "../rollouts/accept.ts";
import { openRollout } from "../rollouts/store.ts";
import { insertSecret, newestVersions, openSecrets } from "../secrets/store.ts";
import { claimSource, findSource } from "../sources/store.ts";
import type { StackHandle } from "../stacks/service.ts";
import { updateStack } from "../stacks/store.ts";
import type { NeededBuild } from "./builds.ts";

export interface PlanBody { readonly definition: StackDefinition; /** Values that the Compose file gives its secrets, encrypted: a plan is stored. */ readonly sealedSecrets?: Readonly<Record<string, string>>; readonly sources: Readonly<Record<string, string>>; readonly builds: readonly NeededBuild[]; readonly remove: readonly string[]; readonly runEnv?: string; readonly reason: string }

export async function applyDefinition(deps: ResourceDeps, trx: Db, call: Call, stack: StackHandle, body: PlanBody, options: { readonly restartUnchanged?: boolean }): Promise<Deployment> {
  const at: StackHandle = body.runEnv === undefined ? stack : { ...stack, runEnv: body.runEnv };
  await updateStack(trx, stack.id, body.runEnv === undefined ? {} : { runEnv: body.runEnv });
  await setSecrets(deps, trx, call, at, body.sealedSecrets ?? {});
  // All components first, so that each finds its siblings' addresses.
  const defined = new Map<string, ComponentRow>();
  for (const [name, spec] of Object.entries(body.definition.components)) defined.set(name, (await defineComponent(trx, call, at, name, spec)).component);

  const builds = new Map<string, { id: string; number: number; row?: BuildRow }>();
  for (const needed of body.builds) builds.set(needed.key, await buildFor(deps, trx, call, at, needed));

  const wanted: Wanted[] = [];
  const unchanged: string[] = [];
  for (const [name, component] of defined) {
    const needed = body.builds.find((build) => build.components.includes(name));
    const build = needed === undefined ? undefined : builds.get(needed.key);
    if (build === undefined) throw new BerthError("plan_not_possible", { reason: `Component ${name} says neither what to build nor which image to run`, hint: "Give it `build:`." });
    const spec = body.definition.components[name] ?? component.spec;
    const intent = await resolveIntent(trx, at, component.id, spec);
    const item: Wanted = { component, spec, ...intent, from: { build: build.id } };
    if (options.restartUnchanged !== true && (await isLive(trx, item, build.row))) unchanged.push(name);
    else wanted.push(item);
  }

  const removed: string[] = [];
  for (const name of body.remove) {
    const component = await findComponent(trx, stack.id, name, { lock: true });
    if (component === undefined) continue;
    await updateComponent(trx, component.id, { deleteRequested: true });
    await requestRemoval(trx, call, at, component);
    removed.push(name);
  }
  // Routes or replicas of an unchanged release may differ all the same; its loop looks.
  for (const name of unchanged) await enqueue(trx, { kind: "component", key: defined.get(name)?.id ?? "", cluster: stack.cluster });
  const accepted = await acceptRollouts(trx, call, at, wanted, body.reason);
  await audit(trx, call, "stacks.deploy", `stack:${stack.name}`, { version: accepted.version, components: wanted.map((item) => item.component.name), removed });
  const used = body.builds.filter((needed) => needed.components.some((name) => wanted.some((item) => item.component.name === name)));
  return {
    stack: stack.name, version: accepted.version, unchanged, removed,
    rollouts: accepted.rollouts.map(({ component, number }) => ({ component, number })),
    builds: used.flatMap((needed) => {
      const build = builds.get(needed.key);
      return build === undefined || build.row?.phase === "succeeded" ? [] : [{ number: build.number, context: needed.context, components: [...needed.components] }];
    }),
  };
}

/** What a plan's sealed secret is bound to. */
export function planSecret(stack: string, name: string): string {
  return `plan:${stack}/${name}`;
}

/** A new version only of those whose value differs. */
async function setSecrets(deps: ResourceDeps, trx: Db, call: Call, stack: StackHandle, sealed: Readonly<Record<string, string>>): Promise<void> {
  const versions = await newestVersions(trx, stack.id, Object.keys(sealed));
  for (const [name, ciphertext] of Object.entries(sealed)) {
    const value = deps.secretBox.open(ciphertext, planSecret(stack.name, name));
    const version = versions.get(name);
    const current = version === undefined ? {} : await openSecrets(trx, deps.secretBox, stack.id, { value: { secret: name, version } });
    if (current["value"] === value) continue;
    await insertSecret(trx, deps.secretBox, { stackId: stack.id, name, value, by: call.by });
    await stackEvent(trx, stack, { code: "secret_set", params: { secret: name } });
  }
}

/** A build with these inputs that succeeded or is under way, else a new one. */
async function buildFor(deps: ResourceDeps, trx: Db, call: Call, stack: StackHandle, needed: NeededBuild): Promise<{ id: string; number: number; row?: BuildRow }> {
  const source = await findSource(trx, { stackId: stack.id, principal: call.principal.id }, needed.source);
  if (source === undefined) throw new BerthError("not_found", { kind: "source", name: needed.source, hint: "Upload the folder first." });
  await claimSource(trx, source.id, stack.id);
  const known = await findReusable(trx, stack.id, needed.key);
  if (known !== undefined && (known.artifact_digest === null || (await deps.blobs.has(known.artifact_digest)) !== undefined)) return { id: known.id, number: known.number, row: known };
  return queueBuild(trx, call, stack, { sourceId: source.id, sourceDigest: needed.source, context: needed.context, buildKey: needed.key, options: needed.options });
}

/** The release that this would make is the one that serves, and nothing else is on its way. */
async function isLive(trx: Db, item: Wanted, build: BuildRow | undefined): Promise<boolean> {
  if (build?.phase !== "succeeded" || build.plan === null || build.artifact_digest === null || item.component.stable_release_id === null || item.component.stopped) return false;
  if ((await openRollout(trx, item.component.id)) !== undefined) return false;
  const chosen = chooseCommand(item.component.name, item.spec, build.plan);
  if (!chosen.ok) return false;
  const stable = await findRelease(trx, item.component.stable_release_id);
  return stable?.hash === releaseHash({ artifactDigest: build.artifact_digest, config: item.config, secretRefs: item.secretRefs, spec: item.spec, runtime: chosen.runtime });
}
