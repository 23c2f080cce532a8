// Volumes: listing them, and deleting one by name, which is the only way that its content ever goes.
import type { Volume } from "@berth/contract/resources/volumes.ts";
import { allowedVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import { decodeCursor, defaultLimit, likePattern, toPage, type PageRequest } from "../page.ts";
import type { StackService } from "../stacks/service.ts";
import * as store from "./store.ts";

export type VolumeService = ReturnType<typeof createVolumeService>;

export function createVolumeService(deps: ResourceDeps, stacks: StackService) {
  async function page(call: Call, query: PageRequest & { search?: string }, where: { stackId?: string; teams?: readonly string[] | "all" }): Promise<Page<Volume>> {
    const limit = query.limit ?? defaultLimit;
    const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, 2);
    const rows = await store.listVolumes(deps.db, { ...where, limit, ...(query.search === undefined ? {} : { pattern: likePattern(query.search) }), ...(cursor === undefined ? {} : { after: [String(cursor[0]), String(cursor[1])] as const }) });
    const sizes = await bytesOf(rows, call.signal);
    const items: Volume[] = [];
    for (const row of rows) items.push(await present(call, row, sizes.get(row.id)));
    return toPage(rows.map((row, index) => ({ row, item: items[index] })).filter((both): both is { row: store.VolumeRow; item: Volume } => both.item !== undefined), limit, ({ item }) => item, ({ row }) => [row.stack, row.name]);
  }

  /** What an engine that answers says of their size; the list is shown without it otherwise. */
  async function bytesOf(rows: readonly store.VolumeRow[], signal: AbortSignal): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    for (const [stackId, cluster] of new Map(rows.map((row) => [row.stack_id, row.cluster]))) {
      const found = await deps.places.engine(cluster).volumes.list(stackId, signal).catch(() => []);
      for (const row of rows) if (row.stack_id === stackId) sizes.set(row.id, found.find((volume) => volume.name === row.name)?.bytes ?? 0);
    }
    return sizes;
  }

  async function present(call: Call, row: store.VolumeRow, bytes: number | undefined): Promise<Volume> {
    const may = await stacks.permissionsIn(call, { id: row.stack_id, teamId: row.team_id });
    return {
      stack: row.stack, name: row.name, cluster: row.cluster, ...(bytes === undefined ? {} : { bytes }), usedBy: row.used_by, stackDeleted: row.stack_deleted, createdAt: row.created_at.toISOString(),
      allowed: allowedVerbs(may, { delete: { permission: "volumes.delete", against: row.used_by.length > 0 ? { code: "volume_in_use" } : row.delete_requested ? { code: "being_deleted" } : undefined } }),
    };
  }

  return {
    listAll: async (call: Call, query: PageRequest & { search?: string }): Promise<Page<Volume>> => page(call, query, { teams: await stacks.visibleTeams(call) }),
    list: async (call: Call, stackName: string, query: PageRequest & { search?: string }): Promise<Page<Volume>> => page(call, query, { stackId: (await stacks.find(call, stackName)).id }),

    /** Works for a deleted stack's kept volumes too. */
    async remove(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const teams = await stacks.visibleTeams(call);
        const [row] = await store.listVolumes(trx, { stackName, name, teams, limit: 1 });
        if (row === undefined) throw new BerthError("not_found", { kind: "volume", name, hint: "`berth volumes list` shows them." });
        if (!(await deps.access.may(call.principal, "volumes.delete", { team: row.team_id, stack: row.stack_id }))) throw new BerthError("forbidden", { action: "delete a volume", permission: "volumes.delete" });
        const [user] = row.used_by;
        if (user !== undefined) throw new BerthError("volume_in_use", { volume: name, component: user });
        await store.requestVolumeDelete(trx, row.id);
        await audit(trx, call, "volumes.delete", `volume:${stackName}/${name}`);
        await enqueue(trx, { kind: "volume", key: row.id, cluster: row.cluster });
      });
    },
  };
}
