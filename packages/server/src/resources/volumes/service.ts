// Volumes: listing them, and deleting one by name, which is the only way that its content ever goes.
import type { Readable } from "node:stream";
import type { Volume } from "@berth/contract/resources/volumes.ts";
import { volumeVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { StackScope } from "../../db/permissions.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import { detached } from "../../os/detached.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent } from "../intent.ts";
import { slice, toPage, type List, type ListRequest } from "../page.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import { createVolumeSizes } from "./sizes.ts";
import * as store from "./store.ts";

interface VolumeQuery extends ListRequest {
  readonly usedBy?: string;
  readonly stackDeleted?: boolean;
}
export type VolumeService = ReturnType<typeof createVolumeService>;

export function createVolumeService(deps: ResourceDeps, stacks: StackService) {
  const sizes = createVolumeSizes({ volumes: (cluster) => deps.places.engine(cluster).volumes, now: () => performance.now() });

  async function page(
    call: Call,
    list: List,
    query: VolumeQuery,
    where: { stackId?: string; name?: string; within?: StackScope },
  ): Promise<Page<Volume>> {
    const wanted = slice(list, query);
    const rows = await store.listVolumes(deps.db, { ...where, page: wanted, usedBy: query.usedBy, stackDeleted: query.stackDeleted });
    const bytes = await sizes.of(rows.slice(0, wanted.limit));
    const may = new Map<string, MayHere>();
    for (const row of rows)
      if (!may.has(row.stack_id)) may.set(row.stack_id, await stacks.permissionsIn(call, { id: row.stack_id, teamId: row.team_id }));
    return toPage(rows, wanted, (row) => present(row, bytes.get(row.id), may.get(row.stack_id) ?? (() => false)));
  }

  /** The volume, if the caller may know of it and has the permission there; `not_found` or `forbidden` otherwise. */
  async function known(trx: Db, call: Call, stackName: string, name: string, permission: string, action: string): Promise<store.VolumeRow> {
    const within = await stacks.visible(call);
    const [row] = await store.listVolumes(trx, { stackName, name, within, page: slice(store.volumeList, { limit: 1 }) });
    if (row === undefined) throw new BerthError("not_found", { kind: "volume", name, hint: "`berth volumes list` shows them." });
    if (!(await deps.access.may(call.principal, permission, { team: row.team_id, stack: row.stack_id })))
      throw new BerthError("forbidden", { action, permission });
    return row;
  }

  async function takeBack(stack: StackHandle, name: string): Promise<void> {
    await transaction(deps.db, async (trx) => {
      const [row] = await store.listVolumes(trx, { stackId: stack.id, name, page: slice(store.volumeList, { limit: 1 }) });
      // Somebody's definition names it meanwhile: then it stays, empty.
      if (row === undefined || row.used_by.length > 0) return;
      await store.buryVolume(trx, row);
      await enqueue(trx, { kind: "volume", key: row.id, cluster: row.cluster });
    });
  }

  return {
    listAll: async (call: Call, query: VolumeQuery): Promise<Page<Volume>> =>
      page(call, store.allVolumeList, query, { within: await stacks.visible(call) }),
    list: async (call: Call, stackName: string, query: VolumeQuery): Promise<Page<Volume>> =>
      page(call, store.volumeList, query, { stackId: (await stacks.find(call, stackName)).id }),

    /** Works for a deleted stack's kept volumes too. Errors: `not_found`, `forbidden`, and those of the engine. */
    async snapshot(call: Call, stackName: string, name: string): Promise<Readable> {
      const row = await transaction(deps.db, async (trx) => {
        const found = await known(trx, call, stackName, name, "volumes.read", "take what is in a volume");
        await audit(trx, call, "volumes.snapshot", `volume:${stackName}/${name}`);
        return found;
      });
      return deps.places.engine(row.cluster).volumes.snapshot(row.stack_id, name, call.signal);
    },

    /**
     * The volume's row is there before its content, so that nothing lies about that nobody knows of; one that was made for an archive that did not come in whole goes again.
     * Errors: `wrong_state` while it is being deleted, and those of the engine.
     */
    async restore(call: Call, stackName: string, name: string, archive: Readable): Promise<Volume> {
      const body = detached(archive);
      let made = false;
      let stack: StackHandle | undefined;
      try {
        stack = await transaction(deps.db, async (trx) => {
          const found = await stacks.find(call, stackName, "volumes.write", { trx, lock: true });
          const [before] = await store.listVolumes(trx, { stackId: found.id, name, page: slice(store.volumeList, { limit: 1 }) });
          if (before?.delete_requested === true)
            throw new BerthError("wrong_state", {
              verb: "Restoring",
              reason: `volume ${name} is being deleted`,
              hint: "Wait until it is gone.",
            });
          made = (await store.ensureVolumes(trx, found, [name])).length > 0;
          if (made) await stackEvent(trx, found, { code: "volume_created", params: { volume: name } });
          await audit(trx, call, "volumes.restore", `volume:${stackName}/${name}`);
          return found;
        });
        await deps.places
          .engine(stack.cluster)
          .volumes.restore(
            { stack: stack.id, stackName, name, ...(stack.namespace === null ? {} : { namespace: stack.namespace }) },
            body,
            call.signal,
          );
      } catch (error) {
        body.destroy();
        if (made && stack !== undefined) await takeBack(stack, name);
        throw error;
      }
      const { id, teamId } = stack;
      await transaction(deps.db, (trx) =>
        stackEvent(
          trx,
          { name: stackName, teamId },
          { code: "volume_restored", params: { volume: name }, topics: [`volume:${stackName}/${name}`] },
        ),
      );
      const {
        items: [volume],
      } = await page(call, store.volumeList, { limit: 1 }, { stackId: id, name });
      if (volume === undefined) throw new BerthError("not_found", { kind: "volume", name, hint: "It was deleted at once." });
      return volume;
    },

    /** Works for a deleted stack's kept volumes too. */
    async remove(call: Call, stackName: string, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const row = await known(trx, call, stackName, name, "volumes.delete", "delete a volume");
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
