// Stacks: who may see which, creating, changing, removing. Other resources find their stack here, so that the rule "unknown and forbidden look the same" lives in one place.
import type { StackDrift } from "@berth/contract/resources/drift.ts";
import type { Stack, StackVersion } from "@berth/contract/resources/stacks.ts";
import type { Page } from "../../core/page.ts";
import { stackVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import { Rendered } from "../../core/rendered.ts";
import { refuseSecondTeam } from "../../core/isolation.ts";
import { nearest } from "../../core/nearest.ts";
import type { StackScope } from "../../db/permissions.ts";
import type { Db } from "../../db/pool.ts";
import { bury } from "../../db/tombstones.ts";
import { transaction } from "../../db/transaction.ts";
import { enqueue } from "../../reconcile/queue.ts";
import type { Call, Versioned } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer, stackEvent, wakeComponents } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import { unknownSince } from "../unknown.ts";
import * as store from "./store.ts";

export interface StackHandle {
  readonly id: string;
  readonly name: string;
  readonly teamId: string;
  readonly team: string;
  readonly clusterId: string;
  readonly cluster: string;
  readonly domain: string;
  readonly runEnv: string;
  readonly drift: StackDrift;
  readonly namespace: string | null;
  readonly revision: number;
  readonly deleting: boolean;
}
export type MayHere = (permission: string) => boolean;
export type StackService = ReturnType<typeof createStackService>;

export function createStackService(deps: ResourceDeps) {
  /** The stack, if the caller may know of it and has the permission there; `not_found` or `forbidden` otherwise. One that is being removed is only read (`wrong_state`), unless told. */
  async function find(
    call: Call,
    name: string,
    permission = "stacks.read",
    options: { trx?: Db; lock?: boolean; whileDeleting?: boolean } = {},
  ): Promise<StackHandle> {
    const isOnlyShown = permission === "stacks.read" && options.trx === undefined;
    const stack = isOnlyShown ? await shown(call, name) : await read(options.trx ?? deps.db, name, options);
    const scope = stack === undefined ? undefined : { team: stack.teamId, stack: stack.id };
    if (stack === undefined || scope === undefined || !(await deps.access.may(call.principal, "stacks.read", scope)))
      throw await notFound(call, name);
    if (permission !== "stacks.read" && !(await deps.access.may(call.principal, permission, scope)))
      throw new BerthError("forbidden", { action: permission, permission });
    if (permission !== "stacks.read" && stack.deleting && options.whileDeleting !== true)
      throw new BerthError("wrong_state", {
        verb: "Changing it",
        reason: `stack ${name} is being removed`,
        hint: "Wait until it is gone; then it can be made again.",
      });
    return stack;
  }

  async function read(trx: Db, name: string, { lock }: { lock?: boolean }): Promise<StackHandle | undefined> {
    const row = lock === true ? await store.lockStack(trx, name) : await store.findStack(trx, name);
    return row === undefined ? undefined : stackHandle(row);
  }

  /** As `read`, for who only looks: whoever asks again is given the same one, until it has changed. */
  async function shown(call: Call, name: string): Promise<StackHandle | undefined> {
    return deps.views.get(call, `stack ${name}`, async () => {
      const value = await read(deps.db, name, {});
      return { value, of: value === undefined ? [] : [value.id, value.teamId, value.clusterId], bytes: 1_000 };
    });
  }

  async function notFound(call: Call, name: string): Promise<BerthError> {
    const known = (await store.listStacks(deps.db, { within: await visible(call), page: slice(store.stackList, { limit: 200 }) })).map(
      (row) => row.name,
    );
    const close = nearest(name, known);
    return new BerthError("not_found", {
      kind: "stack",
      name,
      hint:
        close !== undefined
          ? `Did you mean \`${close}\`?`
          : known.length === 0
            ? "There are no stacks yet; `berth up` makes one."
            : `These are there: ${known.slice(0, 10).join(", ")}.`,
    });
  }

  async function visible(call: Call): Promise<StackScope> {
    return deps.access.stacksWith(call.principal, "stacks.read");
  }

  /** For an object of that stack, or of one that the team would make: a quick answer to "may this caller", for `allowed`. */
  async function permissionsIn(call: Call, stack: { id?: string; teamId: string }): Promise<MayHere> {
    return mayWith(await heldIn(call, stack));
  }

  /** All that the caller may do there; holds `*` when it is everything. */
  async function heldIn(call: Call, stack: { id?: string; teamId: string }): Promise<ReadonlySet<string>> {
    return deps.access.permissions(call.principal, { team: stack.teamId, ...(stack.id === undefined ? {} : { stack: stack.id }) });
  }

  /** Whose a new stack would be and where it would run, once it is known that it may be made there. Errors: `not_found`, `wrong_state`, those of a second team. */
  async function placeOfNew(
    trx: Db,
    call: Call,
    wanted: { readonly team?: string | undefined; readonly cluster?: string | undefined },
    options: { readonly lock?: boolean } = {},
  ) {
    const team = await deps.access.findTeam(wanted.team ?? "default", trx);
    if (team === undefined || !(await deps.access.may(call.principal, "stacks.create", { team: team.id })))
      throw new BerthError("not_found", { kind: "team", name: wanted.team ?? "default", hint: "`berth teams list` shows yours." });
    const where = wanted.cluster ?? deps.places.standard;
    const cluster = await (options.lock === true ? store.lockCluster(trx, where) : store.findCluster(trx, where));
    if (cluster === undefined)
      throw new BerthError("not_found", { kind: "cluster", name: where, hint: "`berth clusters list` shows them." });
    if (cluster.draining_since !== null)
      throw new BerthError("wrong_state", {
        verb: "create",
        reason: `cluster ${cluster.called} takes no new stacks`,
        hint: "Name another one with --cluster, or `berth clusters undrain` it.",
      });
    const other = await store.otherTeam(trx, cluster.id, team.id);
    if (other !== undefined)
      refuseSecondTeam(await deps.places.engine(cluster.name).capabilities(call.signal), cluster.name, { wanted: team.name, other });
    return { team, cluster };
  }

  /** Creates inside a running transaction; also used by a plan that makes its stack. */
  async function createIn(
    trx: Db,
    call: Call,
    wanted: { name: string; team?: string | undefined; cluster?: string | undefined; runEnv?: string },
  ): Promise<StackHandle> {
    const { team, cluster } = await placeOfNew(trx, call, wanted, { lock: true });
    const id = await store.insertStack(trx, {
      name: wanted.name,
      teamId: team.id,
      clusterId: cluster.id,
      runEnv: wanted.runEnv ?? "production",
    });
    if (id === undefined) throw new BerthError("conflict", { kind: "stack", name: wanted.name });
    const row = await store.findStackById(trx, id);
    if (row === undefined) throw new BerthError("internal");
    await stackEvent(trx, stackHandle(row), { code: "stack_created" });
    await audit(trx, call, "stacks.create", `stack:${wanted.name}`, { team: team.name, cluster: cluster.name });
    return stackHandle(row);
  }

  async function view(call: Call, id: string, name: string, trx: Db = deps.db): Promise<Versioned<Stack>> {
    const row = await store.stackSummary(trx, id);
    // Its removal may have ended since it was found.
    if (row === undefined) throw await notFound(call, name);
    return { body: present(row, await permissionsIn(call, { id: row.id, teamId: row.team_id })), revision: String(row.revision) };
  }

  function present(row: store.StackListRow, may: MayHere): Stack {
    return {
      name: row.name,
      team: row.team,
      cluster: row.cluster,
      runEnv: row.run_env,
      drift: row.drift,
      state: row.state,
      ...unknownSince(deps.addedClusters, row.cluster),
      components: row.components,
      version: row.last_version,
      urls: row.hosts
        .filter(({ host }) => !host.startsWith("*."))
        .map(({ host, path }) => deps.places.traffic(row.cluster).publicUrl(host, path)),
      createdAt: row.created_at.toISOString(),
      updatedAt: row.updated_at.toISOString(),
      allowed: stackVerbs(may, { deleting: row.delete_requested_at !== null }),
    };
  }

  return {
    find,
    createIn,
    placeOfNew,
    permissionsIn,
    heldIn,
    mayWith,
    visible,

    async exists(name: string, trx: Db = deps.db): Promise<boolean> {
      return (await store.findStack(trx, name)) !== undefined;
    },

    async list(call: Call, query: ListRequest & Pick<store.StackListQuery, "state" | "team" | "cluster">): Promise<Page<Stack>> {
      const page = slice(store.stackList, query);
      const rows = await store.listStacks(deps.db, {
        within: await visible(call),
        page,
        state: query.state,
        team: query.team,
        cluster: query.cluster,
      });
      const may = new Map<string, MayHere>();
      for (const row of rows) if (!may.has(row.id)) may.set(row.id, await permissionsIn(call, { id: row.id, teamId: row.team_id }));
      return toPage(rows, page, (row) => present(row, may.get(row.id) ?? (() => false)));
    },

    async create(call: Call, wanted: { name: string; team?: string; cluster?: string; runEnv?: string }): Promise<Stack> {
      return transaction(deps.db, async (trx) => {
        const made = await createIn(trx, call, wanted);
        return keepAnswer(trx, call, (await view(call, made.id, made.name, trx)).body);
      });
    },

    async show(call: Call, name: string): Promise<Versioned<Rendered<Stack>>> {
      const stack = await find(call, name);
      const held = await heldIn(call, stack);
      const around = (hosts: store.StackListRow["hosts"]): string =>
        JSON.stringify([
          unknownSince(deps.addedClusters, stack.cluster),
          hosts.map(({ host, path }) => deps.places.traffic(stack.cluster).publicUrl(host, path)),
        ]);
      const read = async () => {
        const row = await store.stackSummary(deps.db, stack.id);
        // Its removal may have ended since it was found.
        if (row === undefined) return { value: undefined, of: [], bytes: 0 };
        const body = new Rendered(present(row, mayWith(held)));
        return {
          value: { told: { body, revision: String(row.revision) }, hosts: row.hosts, around: around(row.hosts) },
          of: [row.id, row.team_id, row.cluster_id],
          bytes: body.bytes.length + 1_000,
        };
      };
      const key = `stack as shown\n${stack.id}\n${[...held].sort().join(" ")}`;
      const shown = await deps.views.get(call, key, read, (kept) => kept?.around === around(kept?.hosts ?? []));
      if (shown === undefined) throw await notFound(call, name);
      return shown.told;
    },

    async update(call: Call, name: string, change: { runEnv?: string; drift?: StackDrift }): Promise<Versioned<Stack>> {
      const id = await transaction(deps.db, async (trx) => {
        const stack = await find(call, name, "stacks.write", { trx, lock: true });
        if (!(await store.updateStack(trx, stack.id, change, call.ifMatch))) throw new BerthError("precondition_failed");
        await stackEvent(trx, stack, { code: "stack_updated" });
        await audit(trx, call, "stacks.update", `stack:${name}`, { ...change });
        if (change.drift !== undefined) await wakeComponents(trx, stack);
        return stack.id;
      });
      return view(call, id, name);
    },

    /** Accepts the removal; the stack loop does it, component by component. */
    async remove(call: Call, name: string, options: { volumes: boolean }): Promise<void> {
      await transaction(deps.db, async (trx) => {
        const stack = await find(call, name, "stacks.write", { trx, lock: true, whileDeleting: true });
        // Asked again, it goes on as it does; only the volumes may be added to what goes.
        if (stack.deleting && !options.volumes) return;
        if (!(await store.updateStack(trx, stack.id, { deleteRequested: options }, call.ifMatch)))
          throw new BerthError("precondition_failed");
        await bury(trx, { kind: "stack", stack: name }, stack);
        await stackEvent(trx, stack, { code: "stack_deleting" });
        await audit(trx, call, "stacks.delete", `stack:${name}`, { volumes: options.volumes });
        await enqueue(trx, { kind: "stack", key: stack.id, cluster: stack.cluster });
      });
    },

    async versions(call: Call, name: string, query: ListRequest): Promise<Page<StackVersion>> {
      const stack = await find(call, name);
      const page = slice(store.versionList, query);
      return toPage(await store.listVersions(deps.db, stack.id, page), page, (row) => ({
        number: row.number,
        reason: row.reason,
        createdBy: row.created_by,
        createdAt: row.created_at.toISOString(),
        releases: row.releases,
      }));
    },
  };
}

const mayWith =
  (held: ReadonlySet<string>): MayHere =>
  (permission) =>
    held.has("*") || held.has(permission);

/** A row as other resources and loops go by it. */
export function stackHandle(row: store.StackRow): StackHandle {
  return {
    id: row.id,
    name: row.name,
    teamId: row.team_id,
    team: row.team,
    clusterId: row.cluster_id,
    cluster: row.cluster,
    domain: row.domain,
    namespace: row.namespace,
    runEnv: row.run_env,
    drift: row.drift,
    revision: row.revision,
    deleting: row.delete_requested_at !== null,
  };
}

/** For who asks whether a stack may have something in a cluster that is not its own. */
export const { lockCluster, otherTeam } = store;
