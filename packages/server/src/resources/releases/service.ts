// Releases: immutable, so there is only showing and comparing.
import type { FieldChange } from "@berth/contract/resources/plans.ts";
import type { Release } from "@berth/contract/resources/releases.ts";
import { releaseVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import { diffFields } from "../../core/release/diff.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import type { ResourceDeps } from "../deps.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import type { MayHere, StackService } from "../stacks/service.ts";
import * as store from "./store.ts";

/** The component whose releases they are. */
interface Owner {
  readonly id: string;
  readonly stack: string;
  readonly name: string;
  readonly stableId: string | null;
  readonly deleting: boolean;
  readonly may: MayHere;
}
export type ReleaseService = ReturnType<typeof createReleaseService>;

export function createReleaseService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  async function ownerOf(call: Call, stackName: string, name: string): Promise<Owner> {
    const { stack, component } = await components.find(call, stackName, name);
    return {
      id: component.id,
      stack: stack.name,
      name,
      stableId: component.stable_release_id,
      deleting: stack.deleting || component.delete_requested_at !== null,
      may: await stacks.permissionsIn(call, stack),
    };
  }

  async function find(componentId: string, name: string, number: number): Promise<store.ReleaseListRow> {
    const row = await store.findReleaseByNumber(deps.db, componentId, number);
    if (row === undefined)
      throw new BerthError("not_found", { kind: "release", name: number, hint: `\`berth releases list -c ${name}\` shows them.` });
    return row;
  }

  return {
    async list(call: Call, stackName: string, name: string, query: ListRequest & { build?: number }): Promise<Page<Release>> {
      const owner = await ownerOf(call, stackName, name);
      const page = slice(store.releaseList, query);
      return toPage(await store.listReleases(deps.db, owner.id, { page, build: query.build }), page, (row) => present(owner, row));
    },

    async show(call: Call, stackName: string, name: string, number: number): Promise<Release> {
      const owner = await ownerOf(call, stackName, name);
      return present(owner, await find(owner.id, name, number));
    },

    /** `from` is the older of the two in the order of the question: what going from it to `number` changes. */
    async diff(
      call: Call,
      stackName: string,
      name: string,
      number: number,
      other: number | undefined,
    ): Promise<{ from: number; to: number; changes: FieldChange[] }> {
      const component = await ownerOf(call, stackName, name);
      const to = await find(component.id, name, number);
      const from = other === undefined ? await store.newestRelease(deps.db, component.id, number) : await find(component.id, name, other);
      return { from: from?.number ?? 0, to: to.number, changes: diffFields(from === undefined ? {} : comparable(from), comparable(to)) };
    },
  };
}

function comparable(row: store.ReleaseListRow): unknown {
  return {
    artifact: row.artifact_digest,
    revision: row.revision ?? undefined,
    config: row.config,
    secrets: row.secret_refs,
    spec: row.spec,
    runtime: row.runtime,
  };
}

function present(owner: Owner, row: store.ReleaseListRow): Release {
  return {
    stack: owner.stack,
    component: owner.name,
    number: row.number,
    hash: row.hash,
    artifact: row.artifact_digest,
    artifactKind: row.artifact_kind,
    ...(row.build_number === null ? {} : { build: row.build_number }),
    ...(row.revision === null ? {} : { revision: row.revision }),
    ...(row.message === null ? {} : { message: row.message }),
    config: row.config,
    secrets: row.secret_refs,
    spec: row.spec,
    reason: row.reason,
    current: row.id === owner.stableId,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    allowed: releaseVerbs(owner.may, { deleting: owner.deleting }),
  };
}
