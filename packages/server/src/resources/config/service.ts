// Config and secrets: versioned changes; a secret's value goes in and is never answered.
import { cause } from "@berth/contract/causes.ts";
import type { Config, Secret } from "@berth/contract/resources/config.ts";
import { configVerbs, secretVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call, Versioned } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import { allComponents } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import * as secrets from "../secrets/store.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import * as store from "./store.ts";

export interface ConfigChange {
  readonly values: Readonly<Record<string, string | null>>;
  readonly deploy?: boolean;
}
/** The stack or component whose config it is. */
interface Owner {
  readonly stack: StackHandle;
  readonly scope: store.ConfigScope;
  readonly label: string;
  readonly deleting: boolean;
  readonly may: MayHere;
}
export type ConfigService = ReturnType<typeof createConfigService>;

export function createConfigService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  async function scopeOf(
    call: Call,
    stackName: string,
    component: string | undefined,
    permission: string,
    trx: Db = deps.db,
  ): Promise<Owner> {
    // Under the stack's row lock when it changes, so that two changes cannot take the same number.
    const stack = await stacks.find(call, stackName, permission, { trx, ...(trx === deps.db ? {} : { lock: true }) });
    if (component === undefined)
      return {
        stack,
        scope: { stackId: stack.id, componentId: null },
        label: stackName,
        deleting: stack.deleting,
        may: await stacks.permissionsIn(call, stack),
      };
    const found = await components.find(call, stackName, component, permission, { trx });
    return {
      stack,
      scope: { stackId: stack.id, componentId: found.component.id },
      label: `${stackName}/${component}`,
      deleting: stack.deleting || found.component.delete_requested_at !== null,
      may: await stacks.permissionsIn(call, stack),
    };
  }

  async function view(trx: Db, { scope, may, deleting }: Owner): Promise<Versioned<Config>> {
    const row = await store.newestConfig(trx, scope);
    const allowed = configVerbs(may, { deleting });
    return row === undefined
      ? { body: { version: 0, values: {}, allowed }, revision: "0" }
      : {
          body: { version: row.number, values: row.values, updatedAt: row.created_at.toISOString(), updatedBy: row.created_by, allowed },
          revision: String(row.number),
        };
  }

  return {
    async show(call: Call, stackName: string, component?: string): Promise<Versioned<Config>> {
      return view(deps.db, await scopeOf(call, stackName, component, "stacks.read"));
    },

    async update(call: Call, stackName: string, component: string | undefined, change: ConfigChange): Promise<Versioned<Config>> {
      return transaction(deps.db, async (trx) => {
        const owner = await scopeOf(call, stackName, component, "stacks.write", trx);
        const { stack, scope, label } = owner;
        if (change.deploy === true) await stacks.find(call, stackName, "releases.deploy", { trx });
        const before = await view(trx, owner);
        if (call.ifMatch !== undefined && call.ifMatch !== before.revision) throw new BerthError("precondition_failed");
        const values = Object.fromEntries(
          Object.entries({ ...before.body.values, ...change.values }).filter((entry): entry is [string, string] => entry[1] !== null),
        );
        if (JSON.stringify(values) !== JSON.stringify(before.body.values)) {
          const number = before.body.version + 1;
          await store.insertConfig(trx, scope, { number, values, by: call.by });
          await stackEvent(trx, stack, {
            code: "config_changed",
            params: { scope: label, version: number },
            ...(component === undefined ? {} : { component }),
          });
          // Names only: a value may be confidential all the same.
          await audit(trx, call, "config.update", component === undefined ? `stack:${stackName}` : `component:${label}`, {
            version: number,
            names: Object.keys(change.values),
          });
        }
        if (change.deploy === true)
          for (const row of await allComponents(trx, stack.id))
            if (component === undefined || row.name === component) await components.releaseAgain(trx, call, stack, row, "config");
        return view(trx, owner);
      });
    },

    async listSecrets(call: Call, stackName: string, query: ListRequest & { usedBy?: string }): Promise<Page<Secret>> {
      const stack = await stacks.find(call, stackName);
      const page = slice(secrets.secretList, query);
      const may = await stacks.permissionsIn(call, stack);
      return toPage(await secrets.listSecrets(deps.db, stack.id, { page, usedBy: query.usedBy }), page, (row) =>
        presentSecret(deps, row, may, stack),
      );
    },

    async setSecret(call: Call, stackName: string, name: string, value: string): Promise<Secret> {
      return transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "secrets.write", { trx });
        await secrets.insertSecret(trx, deps.secretBox, { stackId: stack.id, name, value, by: call.by });
        await stackEvent(trx, stack, { code: "secret_set", params: { secret: name } });
        await audit(trx, call, "secrets.set", `stack:${stackName}`, { secret: name });
        const [row] = await secrets.listSecrets(trx, stack.id, { name, page: slice(secrets.secretList, { limit: 1 }) });
        if (row === undefined) throw new BerthError("internal");
        return presentSecret(deps, row, await stacks.permissionsIn(call, stack), stack);
      });
    },

    async deleteSecret(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "secrets.write", { trx, lock: true });
        const [row] = await secrets.listSecrets(trx, stack.id, { name, page: slice(secrets.secretList, { limit: 1 }) });
        if (row === undefined) throw new BerthError("not_found", { kind: "secret", name, hint: "`berth secrets list` shows them." });
        if (row.used_by.length > 0)
          throw new BerthError("wrong_state", {
            verb: "Deleting",
            reason: `${row.used_by.join(", ")} uses it`,
            hint: "Take it out of those components first.",
          });
        await secrets.deleteSecret(trx, stack.id, name);
        await stackEvent(trx, stack, { code: "secret_deleted", params: { secret: name } });
        await audit(trx, call, "secrets.delete", `stack:${stackName}`, { secret: name });
      });
    },
  };
}

/** Another server's secrets are sealed with keys that this one cannot judge. */
function presentSecret(deps: ResourceDeps, row: secrets.SecretListRow, may: MayHere, stack: StackHandle): Secret {
  const unreadable = deps.places.owns(stack.cluster) && !deps.secretBox.knows(row.sealed_with);
  return {
    name: row.name,
    version: row.version,
    usedBy: row.used_by,
    pendingIn: row.pending_in,
    ...(unreadable ? { cause: cause("secret_unreadable", { secret: row.name, version: row.version }) } : {}),
    updatedAt: row.created_at.toISOString(),
    updatedBy: row.created_by,
    allowed: secretVerbs(may, { deleting: stack.deleting, used: row.used_by.length > 0 }),
  };
}
