// Credentials of registries, for the whole installation: set, listed and forgotten. What uses them opens them by the store.
import type { Registry } from "@berth/contract/resources/registries.ts";
import { registryVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import { isLoopback } from "../../core/image/reference.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import * as store from "./store.ts";

export type RegistryService = ReturnType<typeof createRegistryService>;

export function createRegistryService(deps: ResourceDeps) {
  return {
    async list(query: ListRequest): Promise<Page<Registry>> {
      const page = slice(store.registryList, query);
      return toPage(await store.listRegistries(deps.db, page), page, present);
    },

    async set(call: Call, host: string, given: { username: string; password: string; plainHttp?: boolean }): Promise<Registry> {
      return transaction(deps.db, async (trx) => {
        const { username, password, plainHttp = isLoopback(host) } = given;
        const row = await store.putRegistry(trx, deps.secretBox, { host, username, password, plainHttp, by: call.by });
        await audit(trx, call, "registries.set", "installation", { registry: host, username });
        return present(row);
      });
    },

    /** Errors: `not_found`. */
    async remove(call: Call, host: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        if (!(await store.deleteRegistry(trx, host)))
          throw new BerthError("not_found", { kind: "registry", name: host, hint: "`berth registries list` shows them." });
        await audit(trx, call, "registries.delete", "installation", { registry: host });
      });
    },
  };
}

function present(row: store.RegistryRow): Registry {
  return {
    host: row.host,
    username: row.username,
    plainHttp: row.plain_http,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    // Who sees one may do everything with it: the routes ask for the same permission.
    allowed: registryVerbs(),
  };
}
