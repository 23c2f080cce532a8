// Components: showing what each should be and what runs of it, and the verbs that touch what runs. Verbs only write intent; the component loop acts.
import { isArtifactStored } from "../artifacts.ts";
import type { Component, InstanceView } from "@berth/contract/resources/components.ts";
import type { Deployment } from "@berth/contract/resources/plans.ts";
import type { Autoscale, ComponentSpec } from "@berth/contract/spec.ts";
import { within } from "../../core/autoscale.ts";
import { BerthError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { Page } from "../../core/page.ts";
import type { Rendered } from "../../core/rendered.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call, Versioned } from "../call.ts";
import type { CertificateService } from "../certificates/service.ts";
import { resolveIntent } from "../config/resolve.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, buryComponent, keepAnswer, stackEvent, wakeComponent, wakeLooks } from "../intent.ts";
import type { ListRequest } from "../page.ts";
import { findRelease, findReleaseByNumber, newestRelease } from "../releases/store.ts";
import { acceptRollouts, sameAgain } from "../rollouts/accept.ts";
import { openRollout } from "../rollouts/store.ts";
import { withinQuota } from "../stacks/quota.ts";
import type { StackHandle, StackService } from "../stacks/service.ts";
import { defineComponent, sameSpec } from "./definition.ts";
import { checkAutoscale, checkOverlays, grantPermission, takesGrant } from "./rights.ts";
import { amountsNow, buryPart, changeParts, checkPlacement, otherParts, scaledAmounts } from "./parts.ts";
import * as store from "./store.ts";
import { createComponentViews } from "./views.ts";

/** What changes in every cluster, and wanted instances by cluster. */
type OperatedChange = Omit<store.ComponentChange, "replicas"> & {
  readonly replicas?: number;
  readonly amounts?: ReadonlyMap<string, number>;
};
const totalOf = (amounts: Iterable<readonly [string, number]>): number => [...amounts].reduce((all, [, amount]) => all + amount, 0);

export type ComponentService = ReturnType<typeof createComponentService>;

export function createComponentService(deps: ResourceDeps, stacks: StackService, certificates: CertificateService) {
  /** The component with its stack, if the caller may; `not_found` otherwise. One that is being removed is only read (`wrong_state`), unless told. */
  async function find(
    call: Call,
    stackName: string,
    name: string,
    permission = "stacks.read",
    options: { trx?: Db; lock?: boolean; whileDeleting?: boolean } = {},
  ): Promise<{ stack: StackHandle; component: store.ComponentRow }> {
    const trx = options.trx ?? deps.db;
    const stack = await stacks.find(call, stackName, permission, {
      trx,
      ...(options.whileDeleting === true ? { whileDeleting: true } : {}),
    });
    const component = await store.findComponent(trx, stack.id, name, options.lock === true ? { lock: true } : {});
    if (component === undefined) throw await notFound(stack, name);
    if (permission !== "stacks.read" && component.delete_requested_at !== null && options.whileDeleting !== true)
      throw new BerthError("wrong_state", {
        verb: "Changing it",
        reason: `component ${name} is being removed`,
        hint: "Wait until it is gone, then deploy it again.",
      });
    return { stack, component };
  }

  async function notFound(stack: StackHandle, name: string): Promise<BerthError> {
    const known = (await store.allComponents(deps.db, stack.id)).map((row) => row.name);
    const close = nearest(name, known);
    return new BerthError("not_found", {
      kind: "component",
      name,
      hint:
        close !== undefined
          ? `Did you mean \`${close}\`?`
          : known.length === 0
            ? `Stack ${stack.name} has no components yet.`
            : `Stack ${stack.name} has ${known.join(", ")}.`,
    });
  }

  const views = createComponentViews(deps, stacks, certificates);

  /** As it is after a change. */
  async function view(call: Call, stack: StackHandle, name: string): Promise<Versioned<Component>> {
    const shown = await views.now(call, stack, name);
    if (shown === undefined) throw await notFound(stack, name);
    return shown;
  }

  /** One change of operational intent, with its event and audit entry. */
  async function operate(
    call: Call,
    stackName: string,
    name: string,
    verb: string,
    change: (component: store.ComponentRow, trx: Db, stack: StackHandle) => Promise<OperatedChange | undefined>,
  ): Promise<{ stack: StackHandle }> {
    return transaction(deps.db, async (trx) => {
      const { stack, component } = await find(call, stackName, name, "runtime.operate", { trx, lock: true });
      const what = await change(component, trx, stack);
      if (what !== undefined) {
        const { amounts, ...own } = what;
        await withinQuota(trx, stack, async () => {
          const replicas = amounts?.get(stack.cluster);
          await store.updateComponent(trx, component.id, { ...own, ...(replicas === undefined ? {} : { replicas }) });
          await changeParts(trx, stack, component, own, amounts);
        });
        await wakeComponent(trx, component.id, stack.cluster);
        if (component.kind === "cron") await enqueue(trx, { kind: "cron", key: component.id, cluster: stack.cluster });
        await audit(trx, call, `components.${verb}`, `component:${stackName}/${name}`, {
          ...own,
          ...(amounts === undefined ? {} : { replicas: totalOf(amounts) }),
        });
      }
      return { stack };
    });
  }

  function refuseCron(component: store.ComponentRow, verb: string): void {
    if (component.kind === "cron")
      throw new BerthError("wrong_state", {
        verb,
        reason: "a cron component has no instances of its own",
        hint: "`berth components run` runs it now; `berth tasks list` shows its runs.",
      });
  }

  return {
    find,
    view,

    async list(
      call: Call,
      stackName: string,
      query: ListRequest & Pick<store.ComponentListQuery, "kind" | "state">,
    ): Promise<Rendered<Page<Component>>> {
      return views.list(call, await stacks.find(call, stackName), query);
    },

    async show(call: Call, stackName: string, name: string): Promise<Versioned<Rendered<Component>>> {
      const stack = await stacks.find(call, stackName);
      const shown = await views.one(call, stack, name);
      if (shown === undefined) throw await notFound(stack, name);
      return shown;
    },

    async set(call: Call, stackName: string, name: string, spec: ComponentSpec): Promise<Versioned<Component>> {
      const stack = await transaction(deps.db, async (trx) => {
        const found = await stacks.find(call, stackName, "stacks.write", { trx, lock: true });
        checkOverlays(deps.places.engine(found.cluster), found, name, spec);
        checkAutoscale(deps.places.engine(found.cluster), found.cluster, name, spec);
        const specs = new Map((await store.allComponents(trx, found.id)).map((row): [string, ComponentSpec] => [row.name, row.spec]));
        await checkPlacement(trx, deps.places, found, name, specs.set(name, spec), call.signal);
        const { created, changed } = await withinQuota(trx, found, () => defineComponent(trx, call, found, name, spec, call.ifMatch));
        if (takesGrant(spec, created || changed)) await stacks.find(call, stackName, grantPermission, { trx });
        return found;
      });
      return view(call, stack, name);
    },

    async remove(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const { stack, component } = await find(call, stackName, name, "stacks.write", { trx, lock: true, whileDeleting: true });
        // Asked again, or going with its stack: it is on its way.
        if (stack.deleting || component.delete_requested_at !== null) return;
        if (!(await store.updateComponent(trx, component.id, { deleteRequested: true }, call.ifMatch)))
          throw new BerthError("precondition_failed");
        await requestRemoval(trx, call, stack, component);
      });
    },

    async scale(call: Call, stackName: string, name: string, replicas: number): Promise<Component> {
      const { stack } = await operate(call, stackName, name, "scale", async (component, trx, at) => {
        refuseCron(component, "Scaling");
        const parts = await otherParts(trx, at, component.id);
        if (component.held || parts.some(({ row }) => row.held))
          throw new BerthError("wrong_state", {
            verb: "Scaling",
            reason: "it runs a release that this database does not know",
            hint: "`berth adopt` takes it over; deploying or rolling back replaces it.",
          });
        const limits = component.spec.autoscale;
        if (limits !== undefined)
          throw new BerthError("autoscaled", { component: name, min: limits.min, max: limits.max, replicas: component.replicas });
        const now = amountsNow(at.cluster, { spec: component.spec, home: component.replicas, parts });
        const amounts = scaledAmounts(at.cluster, component.spec, replicas);
        if ([...amounts].every(([cluster, amount]) => now.get(cluster) === amount)) return undefined;
        const [from, to] = [totalOf(now), totalOf(amounts)];
        await stackEvent(trx, at, { code: "component_scaled", component: name, params: { from, to } });
        return { amounts };
      });
      return (await view(call, stack, name)).body;
    },

    /** `limits`: undefined hands the number back. No release is made of it. */
    async autoscale(call: Call, stackName: string, name: string, limits: Autoscale | undefined): Promise<Component> {
      const { stack } = await operate(call, stackName, name, "autoscale", async (component, trx, at) => {
        refuseCron(component, "Scaling");
        const { autoscale: _autoscale, ...bare } = component.spec;
        const spec = limits === undefined ? bare : { ...bare, autoscale: limits };
        checkAutoscale(deps.places.engine(at.cluster), at.cluster, name, spec);
        if (sameSpec(component.spec, spec)) return undefined;
        const replicas = within(component.replicas, limits);
        await stackEvent(
          trx,
          at,
          limits === undefined
            ? { code: "component_autoscale_off", component: name, params: { replicas } }
            : { code: "component_autoscale_set", component: name, params: { min: limits.min, max: limits.max } },
        );
        return { spec, replicas };
      });
      return (await view(call, stack, name)).body;
    },

    async stop(call: Call, stackName: string, name: string): Promise<Component> {
      const { stack } = await operate(call, stackName, name, "stop", async (component, trx, at) => {
        if (component.stopped && !component.held) return undefined;
        await stackEvent(trx, at, { code: "component_stopped", component: name });
        return { stopped: true, held: false };
      });
      return (await view(call, stack, name)).body;
    },

    async start(call: Call, stackName: string, name: string): Promise<Component> {
      const { stack } = await operate(call, stackName, name, "start", async (component, trx, at) => {
        if (!component.stopped) return undefined;
        await stackEvent(trx, at, { code: "component_started", component: name });
        // What its tag was moved to meanwhile.
        if (component.spec.follow === true) await wakeLooks(trx, at.id, at.cluster);
        return { stopped: false };
      });
      return (await view(call, stack, name)).body;
    },

    /** A restart is a rollout of the same release with a higher restart number: the same gates, the same zero lost requests. */
    async restart(call: Call, stackName: string, name: string): Promise<{ rollout?: number; further?: number[] }> {
      return transaction(deps.db, async (trx) => {
        const { stack, component } = await find(call, stackName, name, "runtime.operate", { trx, lock: true });
        refuseCron(component, "Restarting");
        const release = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
        if (release === undefined)
          throw new BerthError("wrong_state", {
            verb: "Restarting",
            reason: "nothing was released yet",
            hint: "`berth up` or `berth deploy` releases it.",
          });
        if (component.stopped)
          throw new BerthError("wrong_state", { verb: "Restarting", reason: "it is stopped", hint: "`berth start` starts it." });
        if ((await openRollout(trx, component.id)) !== undefined)
          throw new BerthError("wrong_state", {
            verb: "Restarting",
            reason: "a rollout is under way",
            hint: "Wait for it, or abort it first.",
          });
        await store.updateComponent(trx, component.id, { restart: component.restart + 1 });
        await changeParts(trx, stack, component, { restart: component.restart + 1 });
        const accepted = await acceptRollouts(trx, call, stack, [sameAgain(component, release)], "restart");
        await stackEvent(trx, stack, { code: "component_restarting", component: name });
        await audit(trx, call, "components.restart", `component:${stackName}/${name}`);
        const [first, ...further] = accepted.rollouts.map(({ number }) => number);
        return keepAnswer(trx, call, { ...(first === undefined ? {} : { rollout: first }), ...(further.length === 0 ? {} : { further }) });
      });
    },

    /** Puts an older release live again, whole: artifact, config and secret references as they were (promise 5). */
    async rollback(call: Call, stackName: string, name: string, to: number | undefined): Promise<Deployment> {
      return transaction(deps.db, async (trx) => {
        const { stack, component } = await find(call, stackName, name, "releases.deploy", { trx, lock: true });
        const stable = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
        const release =
          to === undefined ? await newestRelease(trx, component.id, stable?.number) : await findReleaseByNumber(trx, component.id, to);
        if (release === undefined) {
          if (to !== undefined)
            throw new BerthError("not_found", { kind: "release", name: to, hint: `\`berth releases list -c ${name}\` shows them.` });
          throw new BerthError("wrong_state", {
            verb: "Rolling back",
            reason: "there is no older release",
            hint: `\`berth releases list -c ${name}\` shows what there is.`,
          });
        }
        // What a registry has is fetched again.
        const fetched = release.runtime.image?.reference ?? release.runtime.reference;
        if (fetched === undefined && !(await isArtifactStored(deps, stack.cluster, release.artifact_digest)))
          throw new BerthError("wrong_state", {
            verb: "Rolling back",
            reason: `the artifact of release ${release.number} is no longer stored`,
            hint: "Choose another release, or deploy the source again.",
          });
        const accepted = await acceptRollouts(trx, call, stack, [sameAgain(component, release)], `rollback to release ${release.number}`);
        await audit(trx, call, "components.rollback", `component:${stackName}/${name}`, { release: release.number });
        return keepAnswer(trx, call, {
          stack: stack.name,
          version: accepted.version,
          rollouts: accepted.rollouts.map(({ component: of, number }) => ({ component: of, number })),
          builds: [],
          unchanged: [],
          removed: [],
        });
      });
    },

    /** Releases the newest artifact with the config of now; used after a change of config. */
    async releaseAgain(trx: Db, call: Call, stack: StackHandle, component: store.ComponentRow, reason: string): Promise<void> {
      const stable = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
      if (stable === undefined) return;
      // The same image as now, whatever its tag stands for meanwhile.
      const pinned = stable.runtime.image?.reference;
      if (stable.build_id === null && pinned === undefined) return;
      const intent = await resolveIntent(trx, stack, component.id, component.spec);
      await acceptRollouts(
        trx,
        call,
        stack,
        [
          stable.build_id === null
            ? { component, spec: { ...component.spec, image: pinned ?? "" }, ...intent, from: { image: pinned ?? "" } }
            : { component, spec: component.spec, ...intent, from: { build: stable.build_id } },
        ],
        reason,
      );
    },

    async instances(
      call: Call,
      stackName: string,
      name: string,
      query: ListRequest & Pick<store.InstanceListQuery, "phase" | "ready" | "track">,
    ): Promise<Rendered<Page<InstanceView>>> {
      const stack = await stacks.find(call, stackName);
      const shown = await views.instances(call, stack, name, query);
      if (shown === undefined) throw await notFound(stack, name);
      return shown;
    },
  };
}

/** The rest of accepting a component's removal, once its row says so. */
export async function requestRemoval(trx: Db, call: Call, stack: StackHandle, component: store.ComponentRow): Promise<void> {
  await stackEvent(trx, stack, { code: "component_deleting", component: component.name });
  await audit(trx, call, "components.delete", `component:${stack.name}/${component.name}`);
  await buryComponent(trx, stack, component);
  for (const part of await otherParts(trx, stack, component.id)) await buryPart(trx, part);
}
