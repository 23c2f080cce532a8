// Plans: what `berth up` would change, made without changing anything, and applied exactly as it was shown.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { renderCause } from "@berth/contract/causes.ts";
import type { Deployment, PlanNeeds, PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { Static } from "typebox";
import type { Builder } from "../../builders/builder.ts";
import { planVerbs } from "../../core/allowed.ts";
import { explainPlan } from "../../core/buildplan/explain.ts";
import type { SourceTree } from "../../core/buildplan/source.ts";
import { detectBuildPlan } from "../../core/buildplan/detect.ts";
import { BerthError } from "../../core/errors.ts";
import { publicCatalogue } from "../../core/image/catalogue.ts";
import { initFiles } from "../../core/image/init.ts";
import { keepingNotes } from "../../core/isolation.ts";
import type { StackDefinition } from "../../core/compose/read.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import { checkPlacement } from "../components/parts.ts";
import { allComponents } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import { keepAnswer } from "../intent.ts";
import { newestVersions, readableSecrets } from "../secrets/store.ts";
import { findSource } from "../sources/store.ts";
import type { StackHandle, StackService } from "../stacks/service.ts";
import { findCluster } from "../stacks/store.ts";
import { volumeNames } from "../volumes/store.ts";
import { applyDefinition, planSecret, type PlanBody } from "./apply.ts";
import { sameSpec } from "../components/definition.ts";
import { checkAutoscale, checkOverlays, overlayNotes, takesGrant } from "../components/rights.ts";
import { changeOf, releaseNotes, type Planned, type PlannedChange } from "./change.ts";
import { neededBuilds, planError, planFor, type ContextSource, type NeededBuild } from "./builds.ts";
import { placeContexts } from "./placement.ts";
import { readDefinition } from "./definition.ts";
import * as store from "./store.ts";

/** ms that a plan may be applied after it was shown. */
const lifetime = 30 * 60_000;

export interface PlanDeps extends ResourceDeps {
  readonly builderFor: (cluster: string) => Pick<Builder, "check">;
  readonly readSourceTree: (digest: string, signal: AbortSignal) => Promise<SourceTree>;
  /** The text of the file server that static sites have in their images. */
  readonly staticServer: () => Promise<string>;
}
export type PlanService = ReturnType<typeof createPlanService>;

export function createPlanService(deps: PlanDeps, stacks: StackService) {
  async function existing(call: Call, name: string, wished: Wished): Promise<StackHandle | undefined> {
    if (await stacks.exists(name)) return asWished(deps.db, await stacks.find(call, name, "releases.deploy"), wished);
    const team = await deps.access.findTeam(wished.team ?? "default", deps.db);
    // Who may make none hears of the stack that he does not see, unless he named the team.
    if (wished.team === undefined && (team === undefined || !(await deps.access.may(call.principal, "stacks.create", { team: team.id }))))
      return stacks.find(call, name, "releases.deploy");
    return undefined;
  }

  /** Where the stack is, or the one that the plan would make. Errors: those of making it. */
  async function whereOf(call: Call, stack: StackHandle | undefined, wished: Wished): Promise<Where> {
    if (stack !== undefined) return stack;
    const { team, cluster } = await stacks.placeOfNew(deps.db, call, wished);
    return { cluster: cluster.name, domain: cluster.domain, teamId: team.id, team: team.name };
  }

  async function treeOf(call: Call, stack: StackHandle | undefined, digest: string): Promise<SourceTree> {
    const source = await findSource(deps.db, { stackId: stack?.id, principal: call.principal.id }, digest);
    if (source === undefined) throw new BerthError("not_found", { kind: "source", name: digest, hint: "Upload the folder first." });
    return deps.readSourceTree(digest, call.signal);
  }

  async function detectAll(
    call: Call,
    stack: StackHandle | undefined,
    cluster: string,
    builds: readonly NeededBuild[],
  ): Promise<Map<string, BuildPlan>> {
    const plans = new Map<string, BuildPlan>();
    for (const build of builds) {
      const plan = planFor(await treeOf(call, stack, build.source), build.context, build.options);
      const lacking = await deps.builderFor(cluster).check(plan, stack?.id ?? "");
      if (lacking !== undefined) throw planError(lacking, build.context);
      plans.set(build.key, plan);
    }
    return plans;
  }

  /** Versions that the Compose file's own values get: those that differ from what is set. */
  async function comingSecrets(
    stack: StackHandle | undefined,
    values: Readonly<Record<string, string>>,
  ): Promise<{ coming: Map<string, number>; create: string[]; change: string[] }> {
    const names = Object.keys(values);
    const versions = stack === undefined ? new Map<string, number>() : await newestVersions(deps.db, stack.id, names);
    const current: Readonly<Record<string, string>> =
      stack === undefined ? {} : await readableSecrets(deps.db, deps.secretBox, stack.id, versions);
    const create = names.filter((name) => !versions.has(name));
    const change = names.filter((name) => versions.has(name) && current[name] !== values[name]);
    return {
      coming: new Map([...versions, ...[...create, ...change].map((name): [string, number] => [name, (versions.get(name) ?? 0) + 1])]),
      create,
      change,
    };
  }

  return {
    async create(call: Call, name: string, request: PlanRequest): Promise<StackPlan | Static<typeof PlanNeeds>> {
      const stack = await existing(call, name, request);
      const where = await whereOf(call, stack, request);
      const { cluster } = where;
      const kind = deps.places.engine(cluster).kind;
      const defined = readDefinition(request, kind);
      if (defined.status === "needs") return { status: "needs", files: defined.files, variables: defined.variables, contexts: [] };
      const definition = selected(defined.definition, request.component, defined.folder);
      for (const [component, spec] of Object.entries(definition.components)) {
        checkOverlays(deps.places.engine(cluster), { id: stack?.id ?? "", name }, component, spec);
        checkAutoscale(deps.places.engine(cluster), cluster, component, spec);
      }
      const contexts = [
        ...new Set(Object.values(definition.components).flatMap((spec) => (spec.build === undefined ? [] : [spec.build.context]))),
      ];
      const placed = placeContexts(request, contexts);
      if (placed.status === "needs") return { status: "needs", files: placed.files, variables: [], contexts: [] };
      const missing = [...new Set([...placed.placements.values()].map(({ from }) => from))].filter(
        (from) => !Object.hasOwn(request.sources, from),
      );
      if (missing.length > 0) return { status: "needs", files: [], variables: [], contexts: missing };

      const sources = new Map(
        [...placed.placements].map(([context, { from, root }]): [string, ContextSource] => [
          context,
          { source: request.sources[from] ?? "", root },
        ]),
      );
      const builds = neededBuilds(definition.components, sources, kind === "local" ? "process" : "image");
      const plans = await detectAll(call, stack, cluster, builds);
      const rows = new Map((stack === undefined ? [] : await allComponents(deps.db, stack.id)).map((row) => [row.name, row]));
      // What the caller says wins over the file; a stack that is there keeps its own when neither says anything.
      const runEnv = request.runEnv ?? definition.runEnv;
      const secrets = await comingSecrets(stack, defined.secretValues);
      const specs = new Map([
        ...[...rows].map(([component, row]): [string, ComponentSpec] => [component, row.spec]),
        ...Object.entries(definition.components),
      ]);
      for (const component of Object.keys(definition.components))
        await checkPlacement(deps.db, deps.places, where, component, specs, call.signal);
      const at: Planned = {
        db: deps.db,
        places: deps.places,
        isOnOldBases: deps.isOnOldBases,
        stack,
        stackName: name,
        cluster,
        domain: where.domain,
        runEnv: runEnv ?? stack?.runEnv ?? "production",
        coming: secrets.coming,
        reachable: [...specs].filter(([, spec]) => spec.ports.length > 0).map(([component]) => component),
      };
      const planned: PlannedChange[] = [];
      for (const [component, spec] of Object.entries(definition.components)) {
        const needed = builds.find((build) => build.components.includes(component));
        const plan = needed === undefined ? undefined : plans.get(needed.key);
        planned.push(
          await changeOf(at, {
            name: component,
            spec,
            row: rows.get(component),
            build: needed === undefined || plan === undefined ? undefined : { needed, plan },
          }),
        );
      }
      const changes = planned.map(({ change }) => change);
      const gone =
        request.component === undefined && !defined.folder
          ? [...rows.values()].filter((row) => !(row.name in definition.components) && row.delete_requested_at === null)
          : [];
      if (request.prune === true)
        for (const row of gone)
          changes.push({ component: row.name, kind: row.kind, action: "delete", fields: [], config: [], secrets: [], urls: [] });
      const sealedSecrets = Object.fromEntries(
        Object.entries(defined.secretValues).map(([secret, value]) => [secret, deps.secretBox.seal(value, planSecret(name, secret))]),
      );
      const body: PlanBody = {
        definition,
        sealedSecrets,
        sources: request.sources,
        builds,
        remove: request.prune === true ? gone.map((row) => row.name) : [],
        ...(runEnv === undefined ? {} : { runEnv }),
        ...(stack === undefined ? { cluster, team: where.team } : {}),
        reason: "up",
      };
      const expiresAt = new Date(deps.clock().getTime() + lifetime);
      const id = await store.insertPlan(deps.db, {
        stackName: name,
        principal: call.principal.id,
        body,
        stackRevision: stack?.revision ?? 0,
        expiresAt,
      });
      const have = stack === undefined ? [] : await volumeNames(deps.db, stack.id);
      const wanted = [...new Set(Object.values(definition.components).flatMap((spec) => spec.volumes.map((mount) => mount.volume)))];
      return {
        status: "ready",
        id,
        stack: name,
        createsStack: stack === undefined,
        cluster,
        changes,
        volumes: { create: wanted.filter((volume) => !have.includes(volume)), keep: wanted.filter((volume) => have.includes(volume)) },
        secrets: { create: secrets.create, change: secrets.change, generate: [...new Set(planned.flatMap(({ generate }) => generate))] },
        notes: [
          ...keepingNotes(await deps.places.engine(cluster).capabilities(call.signal), definition.components),
          ...overlayNotes(deps.places.engine(cluster), cluster, definition.components),
          ...planned.flatMap(({ notes }) => notes),
          ...releaseNotes(builds, plans, changes),
          ...definition.notes.map((note) => ({ code: note.code, params: textParams(note.params) })),
          ...(request.prune === true || gone.length === 0
            ? []
            : gone.map((row) => ({ code: "component_not_in_file", params: { component: row.name } }))),
        ],
        warnings: [...plans.values()].flatMap((plan) => plan.warnings),
        expiresAt: expiresAt.toISOString(),
        allowed: planVerbs(await stacks.permissionsIn(call, stack ?? { teamId: where.teamId }), {
          defines:
            body.remove.length > 0 ||
            (runEnv !== undefined && runEnv !== stack?.runEnv) ||
            (definition.drift !== undefined && definition.drift !== (stack?.drift ?? "repair")) ||
            Object.entries(definition.components).some(([component, spec]) => !sameSpec(rows.get(component)?.spec, spec)),
          grants: Object.entries(definition.components).some(([component, spec]) =>
            takesGrant(spec, !sameSpec(rows.get(component)?.spec, spec)),
          ),
          setsSecrets: secrets.create.length + secrets.change.length > 0,
        }),
      };
    },

    async apply(call: Call, name: string, planId: string, options: { restartUnchanged?: boolean }): Promise<Deployment> {
      const plan = await store.findPlan(deps.db, planId);
      if (plan === undefined || plan.stack_name !== name || plan.principal !== call.principal.id)
        throw new BerthError("not_found", { kind: "plan", name: planId, hint: "Make a new plan." });
      if (plan.expires_at < deps.clock()) throw new BerthError("plan_stale");
      return transaction(deps.db, async (trx) => {
        const stack = await lockOrCreate(trx, call, name, plan);
        return keepAnswer(trx, call, await applyDefinition(deps, trx, call, stack, plan.body as PlanBody, options));
      });
    },

    async explain(call: Call, request: { source: string; root?: string; prefer?: "process" | "image"; files?: boolean }) {
      const tree = await treeOf(call, undefined, request.source);
      const detected = detectBuildPlan(tree, { root: request.root ?? ".", prefer: request.prefer ?? "process" });
      if (!detected.ok) throw planError(detected.cause, request.root ?? ".");
      const owned = request.files === true ? initFiles(detected.plan, publicCatalogue, await deps.staticServer()) : undefined;
      const lacking =
        owned === undefined ? await deps.builderFor(deps.places.standard).check(detected.plan, "") : owned.ok ? undefined : owned.cause;
      return {
        plan: detected.plan,
        lines: explainPlan(detected.plan),
        ...(owned?.ok === true ? { files: [...owned.files] } : {}),
        ...(lacking === undefined ? {} : { missing: { code: lacking.code, params: lacking.params, ...renderCause(lacking) } }),
      };
    },
  };

  async function lockOrCreate(trx: Db, call: Call, name: string, plan: store.PlanRow): Promise<StackHandle> {
    if (!(await stacks.exists(name, trx))) {
      if (plan.stack_revision !== 0) throw new BerthError("plan_stale");
      const { runEnv, cluster, team } = plan.body as PlanBody;
      return stacks.createIn(trx, call, { name, cluster, team, ...(runEnv === undefined ? {} : { runEnv }) });
    }
    const stack = await stacks.find(call, name, "releases.deploy", { trx, lock: true });
    if (stack.revision !== plan.stack_revision) throw new BerthError("plan_stale");
    if (stack.deleting)
      throw new BerthError("wrong_state", {
        verb: "Deploying",
        reason: "the stack is being removed",
        hint: "Wait until it is gone and try again.",
      });
    return stack;
  }
}

/** Where a stack is to be made that is not there yet. */
type Wished = Pick<PlanRequest, "cluster" | "team">;
type Where = Pick<StackHandle, "cluster" | "domain" | "teamId" | "team">;

/** Errors: `wrong_state` when it is elsewhere, or another team's. */
async function asWished(db: Db, stack: StackHandle, { cluster = stack.cluster, team = stack.team }: Wished): Promise<StackHandle> {
  const is =
    cluster !== stack.cluster
      ? `is on ${(await findCluster(db, stack.cluster))?.called ?? stack.cluster}`
      : team !== stack.team
        ? `is team ${stack.team}'s`
        : undefined;
  if (is === undefined) return stack;
  throw new BerthError("wrong_state", {
    verb: "Deploying it there",
    reason: `stack ${stack.name} ${is}, and stays`,
    hint: "Leave --cluster and --team out, or make another stack with -s.",
  });
}

/** Only one component of the file when the caller named it. */
function selected(definition: StackDefinition, component: string | undefined, folder: boolean): StackDefinition {
  if (component === undefined || folder) return definition;
  const spec = definition.components[component];
  if (spec === undefined)
    throw new BerthError("not_found", {
      kind: "component",
      name: component,
      hint: `The file has ${Object.keys(definition.components).join(", ")}.`,
    });
  return { ...definition, components: { [component]: spec } };
}

function textParams(params: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(params).map(([key, value]) => [key, String(value)]));
}
