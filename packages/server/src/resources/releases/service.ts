// Releases: immutable, so there is only showing and comparing.
import type { FieldChange } from "@berth/contract/resources/plans.ts";
import type { Release } from "@berth/contract/resources/releases.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { diffFields } from "../../core/release/diff.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import type { ResourceDeps } from "../deps.ts";
import { decodeCursor, defaultLimit, toPage, type PageRequest } from "../page.ts";
import * as store from "./store.ts";

export type ReleaseService = ReturnType<typeof createReleaseService>;

export function createReleaseService(deps: ResourceDeps, components: ComponentService) {
  async function find(componentId: string, name: string, number: number): Promise<store.ReleaseListRow> {
    const [row] = await store.listReleases(deps.db, componentId, { number, limit: 1 });
    if (row === undefined) throw new BerthError("not_found", { kind: "release", name: number, hint: `\`berth releases list -c ${name}\` shows them.` });
    return row;
  }

  return {
    async list(call: Call, stackName: string, name: string, query: PageRequest): Promise<Page<Release>> {
      const { stack, component } = await components.find(call, stackName, name);
      const limit = query.limit ?? defaultLimit;
      const rows = await store.listReleases(deps.db, component.id, { limit, ...(query.cursor === undefined ? {} : { before: Number(decodeCursor(query.cursor, 1)[0]) }) });
      return toPage(rows, limit, (row) => present(stack.name, name, component.stable_release_id, row), (row) => [row.number]);
    },

    async show(call: Call, stackName: string, name: string, number: number): Promise<Release> {
      const { stack, component } = await components.find(call, stackName, name);
      return present(stack.name, name, component.stable_release_id, await find(component.id, name, number));
    },

    /** `from` is the older of the two in the order of the question: what going from it to `number` changes. */
    async diff(call: Call, stackName: string, name: string, number: number, other: number | undefined): Promise<{ from: number; to: number; changes: FieldChange[] }> {
      const { component } = await components.find(call, stackName, name);
      const to = await find(component.id, name, number);
      const [from] = other === undefined ? await store.listReleases(deps.db, component.id, { before: number, limit: 1 }) : [await find(component.id, name, other)];
      return { from: from?.number ?? 0, to: to.number, changes: diffFields(from === undefined ? {} : comparable(from), comparable(to)) };
    },
  };
}

function comparable(row: store.ReleaseListRow): unknown {
  return { artifact: row.artifact_digest, revision: row.revision ?? undefined, config: row.config, secrets: row.secret_refs, spec: row.spec, runtime: row.runtime };
}

function present(stack: string, component: string, stableId: string | null, row: store.ReleaseListRow): Release {
  return {
    stack, component, number: row.number, hash: row.hash, artifact: row.artifact_digest, artifactKind: row.artifact_kind, ...(row.build_number === null ? {} : { build: row.build_number }), ...(row.revision === null ? {} : { revision: row.revision }),
    ...(row.message === null ? {} : { message: row.message }), config: row.config, secrets: row.secret_refs, spec: row.spec, reason: row.reason, current: row.id === stableId, createdAt: row.created_at.toISOString(), createdBy: row.created_by,
  };
}
