// `berth deploy`: one component released from a source, or again from its newest artifact with the config of now.
import type { Deployment } from "@berth/contract/resources/plans.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import { findBuildById } from "../builds/store.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import type { ResourceDeps } from "../deps.ts";
import { keepAnswer } from "../intent.ts";
import { findRelease } from "../releases/store.ts";
import { findSource } from "../sources/store.ts";
import { applyDefinition } from "./apply.ts";
import { neededBuilds } from "./builds.ts";

export type DeployService = ReturnType<typeof createDeployService>;

export function createDeployService(deps: ResourceDeps, components: ComponentService) {
  return {
    async deploy(
      call: Call,
      stackName: string,
      name: string,
      from: { source?: string; context?: string; root?: string },
    ): Promise<Deployment> {
      return transaction(deps.db, async (trx) => {
        const { stack, component } = await components.find(call, stackName, name, "releases.deploy", { trx, lock: true });
        const stable = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
        const built = stable?.build_id == null ? undefined : await findBuildById(trx, stable.build_id);
        const source = from.source ?? built?.source_digest;
        if (source === undefined)
          throw new BerthError("wrong_state", {
            verb: "Deploying",
            reason: "it has no source yet",
            hint: "Run `berth deploy` in its folder, or `berth up`.",
          });
        const context = from.context ?? component.spec.build?.context ?? ".";
        const spec = { ...component.spec, build: { ...component.spec.build, context } };
        const root =
          from.root ??
          (from.source === undefined
            ? (built?.options.root ?? ".")
            : await rootOf(trx, { stackId: stack.id, principal: call.principal.id }, source, context));
        const builds = neededBuilds(
          { [name]: spec },
          new Map([[context, { source, root }]]),
          deps.places.engine(stack.cluster).kind === "local" ? "process" : "image",
          built?.options.writable,
        );
        // Asked for by name, so it is released even when nothing changed: its instances are replaced and verified again.
        const accepted = await applyDefinition(
          deps,
          trx,
          call,
          stack,
          {
            definition: { components: { [name]: spec }, volumes: {}, configs: {}, secrets: {}, notes: [] },
            sources: { [context]: source },
            builds,
            remove: [],
            reason: "deploy",
          },
          { restartUnchanged: true },
        );
        return keepAnswer(trx, call, accepted);
      });
    },
  };
}

/** A repository holds the context as a folder; an upload is the context, unless its sender says otherwise. */
async function rootOf(
  trx: Db,
  owner: { readonly stackId: string; readonly principal: string },
  digest: string,
  context: string,
): Promise<string> {
  return (await findSource(trx, owner, digest))?.kind === "git" ? context : ".";
}
