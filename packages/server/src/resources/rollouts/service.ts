// Rollouts: showing them, stopping one, trying one again.
import type { Rollout, RolloutPhase } from "@berth/contract/resources/rollouts.ts";
import { rolloutVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import { retryBuildIn } from "../builds/retry.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import { resolveIntent } from "../config/resolve.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, wakeComponent } from "../intent.ts";
import { slice, toPage, type List, type ListRequest } from "../page.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import { acceptRollouts } from "./accept.ts";
import * as store from "./store.ts";

interface RolloutQuery extends ListRequest {
  readonly phase?: RolloutPhase;
  readonly version?: number;
  readonly component?: string;
}
export type RolloutService = ReturnType<typeof createRolloutService>;

export function createRolloutService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  async function page(call: Call, stack: StackHandle, list: List, query: RolloutQuery, componentId?: string): Promise<Page<Rollout>> {
    const wanted = slice(list, query);
    const rows = await store.listRollouts(deps.db, {
      stackId: stack.id,
      componentId,
      page: wanted,
      phase: query.phase,
      version: query.version,
      component: query.component,
    });
    const may = await stacks.permissionsIn(call, stack);
    return toPage(rows, wanted, (row) => present(stack, row, may));
  }

  async function show(call: Call, stackName: string, name: string, number: number): Promise<Rollout> {
    const { stack, component } = await components.find(call, stackName, name);
    const [row] = await store.listRollouts(deps.db, {
      stackId: stack.id,
      componentId: component.id,
      number,
      page: slice(store.rolloutList, { limit: 1 }),
    });
    if (row === undefined)
      throw new BerthError("not_found", { kind: "rollout", name: number, hint: `\`berth rollouts list -c ${name}\` shows them.` });
    return present(stack, row, await stacks.permissionsIn(call, stack));
  }

  return {
    show,

    async listOfStack(call: Call, stackName: string, query: RolloutQuery): Promise<Page<Rollout>> {
      return page(call, await stacks.find(call, stackName), store.stackRolloutList, query);
    },

    async list(call: Call, stackName: string, name: string, query: RolloutQuery): Promise<Page<Rollout>> {
      const { stack, component } = await components.find(call, stackName, name);
      return page(call, stack, store.rolloutList, query, component.id);
    },

    async abort(call: Call, stackName: string, name: string, number: number): Promise<Rollout> {
      await transaction(deps.db, async (trx) => {
        const { component } = await components.find(call, stackName, name, "releases.deploy", { trx, lock: true, whileDeleting: true });
        const rollout = await store.findRollout(trx, component.id, number);
        if (rollout === undefined)
          throw new BerthError("not_found", { kind: "rollout", name: number, hint: `\`berth rollouts list -c ${name}\` shows them.` });
        if (rollout.ended_at !== null || rollout.phase === "reverting")
          throw new BerthError("wrong_state", {
            verb: "Aborting",
            reason: rollout.ended_at === null ? "it is being taken back already" : `the rollout ${rollout.phase} already`,
            hint: "`berth rollback` brings an older release back.",
          });
        await store.updateRollout(trx, rollout.id, { abortRequestedBy: call.by });
        await audit(trx, call, "rollouts.abort", `rollout:${stackName}/${name}/${number}`);
        const [of] = await store.whereRollouts(trx, [rollout.id]);
        if (of !== undefined) await wakeComponent(trx, of.component_id, of.cluster);
      });
      return show(call, stackName, name, number);
    },

    /** A new rollout of the same intent, with the config of now; a build that failed runs again. */
    async retry(call: Call, stackName: string, name: string, number: number): Promise<Rollout> {
      const made = await transaction(deps.db, async (trx) => {
        const { stack, component } = await components.find(call, stackName, name, "releases.deploy", { trx, lock: true });
        const rollout = await store.findRollout(trx, component.id, number);
        if (rollout === undefined)
          throw new BerthError("not_found", { kind: "rollout", name: number, hint: `\`berth rollouts list -c ${name}\` shows them.` });
        if (rollout.ended_at === null || rollout.phase === "succeeded" || !(await store.isNewest(trx, rollout)))
          throw new BerthError("wrong_state", {
            verb: "Retrying",
            reason:
              rollout.ended_at === null
                ? "the rollout is still running"
                : rollout.phase === "succeeded"
                  ? "the rollout succeeded"
                  : "a newer rollout took over",
            hint: "`berth status` shows where things stand.",
          });
        const intent = await resolveIntent(trx, stack, component.id, component.spec);
        // One that stopped before its cluster's turn has the release of those before.
        const release =
          rollout.release_id ?? (await store.earlierRollouts(trx, rollout.id)).find((one) => one.release_id !== null)?.release_id;
        const from =
          rollout.build_id !== null
            ? { build: await retryBuildIn(trx, call, stack, rollout.build_id) }
            : release != null
              ? { release }
              : undefined;
        if (from === undefined)
          throw new BerthError("wrong_state", {
            verb: "Retrying",
            reason: "neither its build nor its release is kept",
            hint: "Deploy again.",
          });
        const accepted = await acceptRollouts(
          trx,
          call,
          stack,
          [{ component, spec: component.spec, ...intent, from }],
          `retry of rollout ${number}`,
        );
        await audit(trx, call, "rollouts.retry", `rollout:${stackName}/${name}/${number}`);
        return accepted.rollouts[0]?.number;
      });
      if (made === undefined) throw new BerthError("internal");
      return show(call, stackName, name, made);
    },
  };
}

function present(stack: StackHandle, row: store.RolloutListRow, may: MayHere): Rollout {
  const { progress } = row;
  return {
    stack: stack.name,
    component: row.component,
    ...(row.cluster === null ? {} : { cluster: row.cluster }),
    number: row.number,
    phase: row.phase,
    reason: row.reason,
    strategy: row.spec.strategy.type,
    ...(row.build_number === null ? {} : { build: row.build_number }),
    ...(row.release_number === null ? {} : { release: row.release_number }),
    ...(row.from_number === null ? {} : { from: row.from_number }),
    wanted: row.spec.kind === "cron" ? 0 : row.replicas,
    updated: progress.updated ?? 0,
    ready: progress.available ?? 0,
    waitsFor: row.waits_names ?? [],
    ...(row.step === null ? {} : { step: row.step }),
    ...(row.verified === null ? {} : { verified: row.verified }),
    ...(row.cause === null ? {} : { cause: row.cause }),
    createdAt: row.created_at.toISOString(),
    ...(row.started_at === null ? {} : { startedAt: row.started_at.toISOString() }),
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
    createdBy: row.created_by,
    allowed: rolloutVerbs(may, {
      phase: row.phase,
      newest: row.newest,
      kept: row.build_id !== null || row.release_id !== null || row.follows !== null,
      deleting: stack.deleting || row.deleting,
    }),
  };
}
