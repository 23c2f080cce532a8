// Volumes: listing them, and deleting one by name, which is the only way that its content ever goes.
import type { Volume } from "@berth/contract/resources/volumes.ts";
import { volumeVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { StackScope } from "../../db/permissions.ts";
import { transaction } from "../../db/transaction.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit } from "../intent.ts";
import { slice, toPage, type List, type ListRequest } from "../page.ts";
import type { MayHere, StackService } from "../stacks/service.ts";
import { createVolumeSizes } from "./sizes.ts";
import * as store from "./store.ts";

interface VolumeQuery extends ListRequest {
  readonly usedBy?: string;
  readonly stackDeleted?: boolean;
}
export type VolumeService = ReturnType<typeof createVolumeService>;

export function createVolumeService(deps: ResourceDeps, stacks: StackService) {
  const sizes = createVolumeSizes({ volumes: (cluster) => deps.places.engine(cluster).volumes, now: () => performance.now() });

  async function page(call: Call, list: List, query: VolumeQuery, where: { stackId?: string; within?: StackScope }): Promise<Page<Volume>> {
    const wanted = slice(list, query);
    const rows = await store.listVolumes(deps.db, { ...where, page: wanted, usedBy: query.usedBy, stackDeleted: query.stackDeleted });
    const bytes = await sizes.of(rows.slice(0, wanted.limit));
    const may = new Map<string, MayHere>();
    for (const row of rows)
      if (!may.has(row.stack_id)) may.set(row.stack_id, await stacks.permissionsIn(call, { id: row.stack_id, teamId: row.team_id }));
    return toPage(rows, wanted, (row) => present(row, bytes.get(row.id), may.get(row.stack_id) ?? (() => false)));
  }

  return {
    listAll: async (call: Call, query: VolumeQuery): Promise<Page<Volume>> =>
      page(call, store.allVolumeList, query, { within: await stacks.visible(call) }),
    list: async (call: Call, stackName: string, query: VolumeQuery): Promise<Page<Volume>> =>
      page(call, store.volumeList, query, { stackId: (await stacks.find(call, stackName)).id }),

    /** Works for a deleted stack's kept volumes too. */
    async remove(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const within = await stacks.visible(call);
        const [row] = await store.listVolumes(trx, { stackName, name, within, page: slice(store.volumeList, { limit: 1 }) });
        if (row === undefined) throw new BerthError("not_found", { kind: "volume", name, hint: "`berth volumes list` shows them." });
        if (!(await deps.access.may(call.principal, "volumes.delete", { team: row.team_id, stack: row.stack_id })))
          throw new BerthError("forbidden", { action: "delete a volume", permission: "volumes.delete" });
        const [user] = row.used_by;
        if (user !== undefined) throw new BerthError("volume_in_use", { volume: name, component: user });
        await store.buryVolume(trx, row);
        await audit(trx, call, "volumes.delete", `volume:${stackName}/${name}`);
        await enqueue(trx, { kind: "volume", key: row.id, cluster: row.cluster });
      });
    },
  };
}

function present(row: store.VolumeRow, bytes: number | undefined, may: MayHere): Volume {
  return {
    stack: row.stack,
    name: row.name,
    cluster: row.cluster,
    ...(bytes === undefined ? {} : { bytes }),
    usedBy: row.used_by,
    stackDeleted: row.stack_deleted,
    createdAt: row.created_at.toISOString(),
    allowed: volumeVerbs(may, { used: row.used_by.length > 0, deleting: row.delete_requested }),
  };
}
