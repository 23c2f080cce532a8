// Plans: what `berth up` would change, made without changing anything, and applied exactly as it was shown.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { renderCause } from "@berth/contract/causes.ts";
import type { ComponentChange, Deployment, FieldChange, PlanNeeds, PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { Static } from "typebox";
import type { Builder } from "../../builders/builder.ts";
import { explainPlan } from "../../core/buildplan/explain.ts";
import type { SourceTree } from "../../core/buildplan/source.ts";
import { detectBuildPlan } from "../../core/buildplan/detect.ts";
import { BerthError } from "../../core/errors.ts";
import { chooseCommand } from "../../core/release/release.ts";
import { diffFields } from "../../core/release/diff.ts";
import type { StackDefinition } from "../../core/compose/read.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import { findReusable } from "../builds/store.ts";
import type { Call } from "../call.ts";
import { wantedRoutes } from "../components/definition.ts";
import { allComponents, type ComponentRow } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import { findSource } from "../sources/store.ts";
import type { StackHandle, StackService } from "../stacks/service.ts";
import { volumeNames } from "../volumes/store.ts";
import { applyDefinition, planSecret, type PlanBody } from "./apply.ts";
import { neededBuilds, planError, planFor, type NeededBuild } from "./builds.ts";
import { readDefinition } from "./definition.ts";
import * as store from "./store.ts";

/** ms that a plan may be applied after it was shown. */
const lifetime = 30 * 60_000;

export interface PlanDeps extends ResourceDeps {
  readonly builder: Pick<Builder, "check">;
  readonly readSourceTree: (digest: string, signal: AbortSignal) => Promise<SourceTree>;
}
export type PlanService = ReturnType<typeof createPlanService>;

export function createPlanService(deps: PlanDeps, stacks: StackService) {
  async function existing(call: Call, name: string): Promise<StackHandle | undefined> {
    if (await stacks.exists(name)) return stacks.find(call, name, "releases.deploy");
    const team = await deps.access.findTeam("default", deps.db);
    if (team === undefined || !(await deps.access.may(call.principal, "stacks.create", { team: team.id }))) return stacks.find(call, name, "releases.deploy");
    return undefined;
  }

  async function treeOf(call: Call, stack: StackHandle | undefined, digest: string): Promise<SourceTree> {
    const source = await findSource(deps.db, { stackId: stack?.id, principal: call.principal.id }, digest);
    if (source === undefined) throw new BerthError("not_found", { kind: "source", name: digest, hint: "Upload the folder first." });
    return deps.readSourceTree(digest, call.signal);
  }

  async function detectAll(call: Call, stack: StackHandle | undefined, builds: readonly NeededBuild[]): Promise<Map<string, BuildPlan>> {
    const plans = new Map<string, BuildPlan>();
    for (const build of builds) {
      const plan = planFor(await treeOf(call, stack, build.source), build.context, build.options.prefer);
      const lacking = await deps.builder.check(plan, stack?.id ?? "");
      if (lacking !== undefined) throw planError(lacking, build.context);
      plans.set(build.key, plan);
    }
    return plans;
  }

  async function change(component: ComponentRow | undefined, name: string, spec: ComponentSpec, stackName: string, build: { needed: NeededBuild; plan: BuildPlan; known: boolean } | undefined, cluster: string, runEnv: readonly FieldChange[]): Promise<ComponentChange> {
    const traffic = deps.places.traffic(cluster);
    const fields = component === undefined ? [] : [...diffFields(component.spec, spec), ...runEnv];
    const changed = fields.length > 0 || component?.stable_release_id === null || (build !== undefined && !build.known);
    return {
      component: name, kind: spec.kind, fields, action: component === undefined ? "create" : changed ? "update" : "unchanged",
      ...(build === undefined ? {} : { build: { context: build.needed.context, source: build.needed.source, known: build.known, summary: explainPlan(build.plan) } }),
      urls: wantedRoutes(stackName, name, spec).filter(({ host }) => !host.startsWith("*.")).map(({ host, path }) => traffic.publicUrl(host, path)),
    };
  }

  return {
    async create(call: Call, name: string, request: PlanRequest): Promise<StackPlan | Static<typeof PlanNeeds>> {
      const stack = await existing(call, name);
      const cluster = stack?.cluster ?? "local";
      const kind = deps.places.engine(cluster).kind;
      const defined = readDefinition(request, kind);
      if (defined.status === "needs") return { status: "needs", files: defined.files, variables: defined.variables, contexts: [] };
      const definition = selected(defined.definition, request.component, defined.folder);
      const contexts = [...new Set(Object.values(definition.components).flatMap((spec) => (spec.build === undefined ? [] : [spec.build.context])))];
      const missing = contexts.filter((context) => !(context in request.sources));
      if (missing.length > 0) return { status: "needs", files: [], variables: [], contexts: missing };

      const builds = neededBuilds(definition.components, request.sources, kind === "local" ? "process" : "image");
      const plans = await detectAll(call, stack, builds);
      const rows = new Map((stack === undefined ? [] : await allComponents(deps.db, stack.id)).map((row) => [row.name, row]));
      const changes: ComponentChange[] = [];
      // What the caller says wins over the file; a stack that is there keeps its own when neither says anything.
      const runEnv = request.runEnv ?? definition.runEnv;
      const envChange = stack === undefined || runEnv === undefined || runEnv === stack.runEnv ? [] : [{ path: "env.RUN_ENV", from: stack.runEnv, to: runEnv }];
      for (const [component, spec] of Object.entries(definition.components)) {
        const needed = builds.find((build) => build.components.includes(component));
        const plan = needed === undefined ? undefined : plans.get(needed.key);
        const start = plan === undefined || plan.kind === "dockerfile" ? undefined : chooseCommand(component, spec, plan);
        if (start?.ok === false) throw planError(start.cause, needed?.context ?? ".");
        const known = needed !== undefined && stack !== undefined && (await findReusable(deps.db, stack.id, needed.key))?.phase === "succeeded";
        changes.push(await change(rows.get(component), component, spec, name, needed === undefined || plan === undefined ? undefined : { needed, plan, known }, cluster, envChange));
      }
      const gone = request.component === undefined && !defined.folder ? [...rows.values()].filter((row) => !(row.name in definition.components) && row.delete_requested_at === null) : [];
      if (request.prune === true) for (const row of gone) changes.push({ component: row.name, kind: row.kind, action: "delete", fields: [], urls: [] });
      const sealedSecrets = Object.fromEntries(Object.entries(defined.secretValues).map(([secret, value]) => [secret, deps.secretBox.seal(value, planSecret(name, secret))]));
      const body: PlanBody = { definition, sealedSecrets, sources: request.sources, builds, remove: request.prune === true ? gone.map((row) => row.name) : [], ...(runEnv === undefined ? {} : { runEnv }), reason: "up" };
      const expiresAt = new Date(deps.clock().getTime() + lifetime);
      const id = await store.insertPlan(deps.db, { stackName: name, principal: call.principal.id, body, stackRevision: stack?.revision ?? 0, expiresAt });
      const have = stack === undefined ? [] : await volumeNames(deps.db, stack.id);
      const wanted = [...new Set(Object.values(definition.components).flatMap((spec) => spec.volumes.map((mount) => mount.volume)))];
      return {
        status: "ready", id, stack: name, createsStack: stack === undefined, changes,
        volumes: { create: wanted.filter((volume) => !have.includes(volume)), keep: wanted.filter((volume) => have.includes(volume)) },
        notes: [...definition.notes.map((note) => ({ code: note.code, params: textParams(note.params) })), ...(request.prune === true || gone.length === 0 ? [] : gone.map((row) => ({ code: "component_not_in_file", params: { component: row.name } })))],
        warnings: [...plans.values()].flatMap((plan) => plan.warnings), expiresAt: expiresAt.toISOString(),
      };
    },

    async apply(call: Call, name: string, planId: string, options: { restartUnchanged?: boolean }): Promise<Deployment> {
      const plan = await store.findPlan(deps.db, planId);
      if (plan === undefined || plan.stack_name !== name || plan.principal !== call.principal.id) throw new BerthError("not_found", { kind: "plan", name: planId, hint: "Make a new plan." });
      if (plan.expires_at < deps.clock()) throw new BerthError("plan_stale");
      return transaction(deps.db, async (trx) => {
        const stack = await lockOrCreate(trx, call, name, plan);
        return applyDefinition(deps, trx, call, stack, plan.body as PlanBody, options);
      });
    },

    async explain(call: Call, request: { source: string; root?: string; prefer?: "process" | "image" }) {
      const tree = await treeOf(call, undefined, request.source);
      const detected = detectBuildPlan(tree, { root: request.root ?? ".", prefer: request.prefer ?? "process" });
      if (!detected.ok) throw planError(detected.cause, request.root ?? ".");
      const lacking = await deps.builder.check(detected.plan, "");
      return { plan: detected.plan, lines: explainPlan(detected.plan), ...(lacking === undefined ? {} : { missing: { code: lacking.code, params: lacking.params, ...renderCause(lacking) } }) };
    },
  };

  async function lockOrCreate(trx: Db, call: Call, name: string, plan: store.PlanRow): Promise<StackHandle> {
    if (!(await stacks.exists(name, trx))) {
      if (plan.stack_revision !== 0) throw new BerthError("plan_stale");
      const { runEnv } = plan.body as PlanBody;
      return stacks.createIn(trx, call, { name, ...(runEnv === undefined ? {} : { runEnv }) });
    }
    const stack = await stacks.find(call, name, "releases.deploy", { trx, lock: true });
    if (stack.revision !== plan.stack_revision) throw new BerthError("plan_stale");
    if (stack.deleting) throw new BerthError("wrong_state", { verb: "Deploying", reason: "the stack is being removed", hint: "Wait until it is gone and try again." });
    return stack;
  }
}

/** Only one component of the file when the caller named it. */
function selected(definition: StackDefinition, component: string | undefined, folder: boolean): StackDefinition {
  if (component === undefined || folder) return definition;
  const spec = definition.components[component];
  if (spec === undefined) throw new BerthError("not_found", { kind: "component", name: component, hint: `The file has ${Object.keys(definition.components).join(", ")}.` });
  return { ...definition, components: { [component]: { ...spec, dependsOn: [] } } };
}

function textParams(params: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(params).map(([key, value]) => [key, String(value)]));
}
