// Applying a definition: components, builds, rollouts and a stack version in one transaction. Also the way that `deploy` goes.
import { isArtifactStored } from "../artifacts.ts";
import type { Deployment } from "@berth/contract/resources/plans.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { StackDefinition } from "../../core/compose/read.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { queueBuild } from "../builds/retry.ts";
import type { BuildRow } from "../builds/store.ts";
import type { Call } from "../call.ts";
import { defineComponent } from "../components/definition.ts";
import { checkAutoscale, checkOverlays, grantPermission, requirePermissions, takesGrant } from "../components/rights.ts";
import { requestRemoval } from "../components/service.ts";
import { checkPlacement } from "../components/parts.ts";
import { allComponents, findComponent, reachableComponents, updateComponent, type ComponentRow } from "../components/store.ts";
import { resolveIntent } from "../config/resolve.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent, wakeComponents } from "../intent.ts";
import { acceptRollouts, type Wanted } from "../rollouts/accept.ts";
import { insertSecret, newestVersions, readableSecrets } from "../secrets/store.ts";
import { claimSource, findSource } from "../sources/store.ts";
import { withinQuota } from "../stacks/quota.ts";
import type { StackHandle } from "../stacks/service.ts";
import { updateStack } from "../stacks/store.ts";
import { reusableBuild, type NeededBuild } from "./builds.ts";
import { isLive } from "./live.ts";

export interface PlanBody {
  readonly definition: StackDefinition;
  /** Values that the Compose file gives its secrets, encrypted: a plan is stored. */ readonly sealedSecrets?: Readonly<
    Record<string, string>
  >;
  readonly sources: Readonly<Record<string, string>>;
  readonly builds: readonly NeededBuild[];
  readonly remove: readonly string[];
  readonly runEnv?: string;
  /** Of a stack that applying makes. */
  readonly cluster?: string;
  readonly team?: string;
  readonly reason: string;
}

/**
 * Components, builds, rollouts and a stack version, as the body says. The caller holds `releases.deploy`; what else it takes depends on what changes:
 * a definition `stacks.write`, one that is privileged `privileges.grant`, a secret's value `secrets.write` (`forbidden`, and nothing is changed).
 */
export async function applyDefinition(
  deps: ResourceDeps,
  trx: Db,
  call: Call,
  stack: StackHandle,
  body: PlanBody,
  options: { readonly restartUnchanged?: boolean },
): Promise<Deployment> {
  return withinQuota(trx, stack, () => applyWhole(deps, trx, call, stack, body, options));
}

async function applyWhole(
  deps: ResourceDeps,
  trx: Db,
  call: Call,
  stack: StackHandle,
  body: PlanBody,
  options: { readonly restartUnchanged?: boolean },
): Promise<Deployment> {
  const at: StackHandle = body.runEnv === undefined ? stack : { ...stack, runEnv: body.runEnv };
  const { drift } = body.definition;
  await updateStack(trx, stack.id, {
    ...(body.runEnv === undefined ? {} : { runEnv: body.runEnv }),
    ...(drift === undefined ? {} : { drift }),
  });
  const redrifted = drift !== undefined && drift !== stack.drift;
  if (redrifted) await wakeComponents(trx, stack);
  const secretsSet = await setSecrets(deps, trx, call, at, body.sealedSecrets ?? {});
  let redefined = body.remove.length > 0 || at.runEnv !== stack.runEnv || redrifted;
  // All components first, so that each finds its siblings' addresses.
  const defined = new Map<string, ComponentRow>();
  const specs = new Map([
    ...(await allComponents(trx, stack.id)).map((row): [string, ComponentSpec] => [row.name, row.spec]),
    ...Object.entries(body.definition.components),
  ]);
  let grants = false;
  for (const [name, spec] of Object.entries(body.definition.components)) {
    checkOverlays(deps.places.engine(stack.cluster), stack, name, spec);
    checkAutoscale(deps.places.engine(stack.cluster), stack.cluster, name, spec);
    await checkPlacement(trx, deps.places, stack, name, specs, call.signal);
    const { component, created, changed } = await defineComponent(trx, call, at, name, spec);
    defined.set(name, component);
    redefined ||= created || changed;
    grants ||= takesGrant(spec, created || changed);
  }
  await requirePermissions(deps, call, stack, [
    ...(redefined ? ["stacks.write"] : []),
    ...(grants ? [grantPermission] : []),
    ...(secretsSet ? ["secrets.write"] : []),
  ]);

  const builds = new Map<string, { id: string; number: number; row?: BuildRow }>();
  for (const needed of body.builds) builds.set(needed.key, await buildFor(deps, trx, call, at, needed));

  const wanted: Wanted[] = [];
  const unchanged: string[] = [];
  for (const [name, component] of defined) {
    const needed = body.builds.find((build) => build.components.includes(name));
    const build = needed === undefined ? undefined : builds.get(needed.key);
    const { image } = body.definition.components[name] ?? component.spec;
    if (build === undefined && (image === undefined || deps.places.engine(stack.cluster).resolveImage === undefined))
      throw new BerthError("plan_not_possible", {
        reason: `Component ${name} says neither what to build nor which image to run`,
        hint: "Give it `build:`.",
      });
    const spec = body.definition.components[name] ?? component.spec;
    const intent = await resolveIntent(trx, at, component.id, spec);
    const item: Wanted = { component, spec, ...intent, from: build === undefined ? { image: image ?? "" } : { build: build.id } };
    if (
      options.restartUnchanged !== true &&
      (await isLive(
        trx,
        { component, spec, intent, siblings: (await reachableComponents(trx, stack.id)).filter((other) => other !== name) },
        build?.row,
      ))
    )
      unchanged.push(name);
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
  await audit(trx, call, "stacks.deploy", `stack:${stack.name}`, {
    version: accepted.version,
    components: wanted.map((item) => item.component.name),
    removed,
  });
  const used = body.builds.filter((needed) => needed.components.some((name) => wanted.some((item) => item.component.name === name)));
  return {
    stack: stack.name,
    version: accepted.version,
    unchanged,
    removed,
    rollouts: accepted.rollouts.map(({ component, number }) => ({ component, number })),
    builds: used.flatMap((needed) => {
      const build = builds.get(needed.key);
      return build === undefined || build.row?.phase === "succeeded"
        ? []
        : [{ number: build.number, context: needed.context, components: [...needed.components] }];
    }),
  };
}

/** What a plan's sealed secret is bound to. */
export function planSecret(stack: string, name: string): string {
  return `plan:${stack}/${name}`;
}

/** Errors: `plan_stale` when the key that it was made under is gone since. */
function planned(deps: ResourceDeps, ciphertext: string, identity: string): string {
  try {
    return deps.secretBox.open(ciphertext, identity);
  } catch (cause) {
    throw new BerthError("plan_stale", {}, { cause });
  }
}

/** A new version only of those whose value differs; answers whether there was one. */
async function setSecrets(
  deps: ResourceDeps,
  trx: Db,
  call: Call,
  stack: StackHandle,
  sealed: Readonly<Record<string, string>>,
): Promise<boolean> {
  let set = false;
  const current = await readableSecrets(trx, deps.secretBox, stack.id, await newestVersions(trx, stack.id, Object.keys(sealed)));
  for (const [name, ciphertext] of Object.entries(sealed)) {
    const value = planned(deps, ciphertext, planSecret(stack.name, name));
    if (current[name] === value) continue;
    await insertSecret(trx, deps.secretBox, { stackId: stack.id, name, value, by: call.by });
    await stackEvent(trx, stack, { code: "secret_set", params: { secret: name } });
    set = true;
  }
  return set;
}

/** A build with these inputs that succeeded or is under way, else a new one. */
async function buildFor(
  deps: ResourceDeps,
  trx: Db,
  call: Call,
  stack: StackHandle,
  needed: NeededBuild,
): Promise<{ id: string; number: number; row?: BuildRow }> {
  const source = await findSource(trx, { stackId: stack.id, principal: call.principal.id }, needed.source);
  if (source === undefined) throw new BerthError("not_found", { kind: "source", name: needed.source, hint: "Upload the folder first." });
  await claimSource(trx, source.id, stack.id);
  const known = await reusableBuild(deps, trx, stack.id, needed.key);
  const artifact = known?.artifact_reference ?? known?.artifact_digest ?? undefined;
  if (known !== undefined && (artifact === undefined || (await isArtifactStored(deps, stack.cluster, artifact))))
    return { id: known.id, number: known.number, row: known };
  return queueBuild(trx, call, stack, {
    sourceId: source.id,
    sourceDigest: needed.source,
    context: needed.context,
    buildKey: needed.key,
    options: needed.options,
  });
}
