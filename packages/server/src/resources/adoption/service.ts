// Adoption: takes what runs, as it runs, into a database that does not know it. A stack is taken over whole, in one transaction, or not at all;
// nothing is started, stopped or routed anew by it (promise 7).
import { fill } from "@berth/contract/causes.ts";
import { errors } from "@berth/contract/errors.ts";
import type { Candidate } from "@berth/contract/resources/adoption.ts";
import { contentOf } from "../../core/release/record.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import { withdrawTombstone } from "../../db/tombstones.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import { claimAddresses } from "../components/addresses.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, stackEvent, wakeComponent } from "../intent.ts";
import { ensureVolumes } from "../volumes/store.ts";
import { lookAround, partAlone, type Found } from "./look.ts";
import * as store from "./store.ts";

export type AdoptionService = ReturnType<typeof createAdoptionService>;

export function createAdoptionService(deps: ResourceDeps) {
  return {
    async show(call: Call): Promise<{ candidates: Candidate[]; away: string[] }> {
      const { found, away } = await lookAround(deps, call.signal);
      return { candidates: found.map(({ shown }) => shown), away: [...away] };
    },

    async adopt(call: Call, only: readonly string[] | undefined): Promise<{ adopted: Candidate[]; left: Candidate[]; away: string[] }> {
      const looked = await lookAround(deps, call.signal);
      const found = looked.found.filter(({ shown }) => only === undefined || only.includes(shown.stack));
      const adopted: Candidate[] = [];
      const left: Candidate[] = [];
      const refuse = (members: readonly Found[], note: Candidate["notes"][number]): void => {
        left.push(...members.map(({ shown }) => ({ ...shown, possible: false, notes: [...shown.notes, note] })));
      };
      for (const [first, ...others] of byStack(found.filter(({ home }) => home === undefined))) {
        const { stack } = first.shown;
        const members = [first, ...others];
        const possible = members.filter(({ shown }) => shown.possible);
        left.push(...members.filter(({ shown }) => !shown.possible).map(({ shown }) => shown));
        // Two clusters may have one of that name each: who was first has it.
        const named = await store.stackNamed(deps.db, stack);
        if (named !== undefined && named.id !== first.stackId) {
          refuse(possible, { code: "adopt_other_stack", params: { stack } });
          continue;
        }
        try {
          if (possible.length > 0) adopted.push(...(await transaction(deps.db, (trx) => adoptStack(trx, call, stack, possible))));
        } catch (error) {
          refuse(possible, refusalOf(error));
        }
      }
      for (const part of found) {
        if (part.home === undefined) continue;
        if (!part.shown.possible) {
          left.push(part.shown);
          continue;
        }
        try {
          const isTaken = await transaction(deps.db, (trx) => adoptPart(trx, call, part));
          if (isTaken) adopted.push(part.shown);
          else refuse([part], partAlone(part.shown.component, part.home));
        } catch (error) {
          refuse([part], refusalOf(error));
        }
      }
      return { adopted, left, away: [...looked.away] };
    },
  };

  async function adoptStack(trx: Db, call: Call, name: string, members: readonly Found[]): Promise<Candidate[]> {
    const [first] = members;
    if (first?.record === undefined) throw new BerthError("internal");
    const { stackId, record } = first;
    const { cluster } = first.shown;
    const { team, runEnv, drift = "repair" } = record;
    const namespace = first.group.instances[0]?.ref.namespace ?? null;
    const made = await store.ensureStack(trx, { id: stackId, name, team, cluster, runEnv, drift, namespace });
    const row = await trx
      .selectFrom("stacks as s")
      .innerJoin("clusters as k", "k.id", "s.cluster_id")
      .select(["s.team_id", "s.cluster_id", "k.domain"])
      .where("s.id", "=", stackId)
      .forUpdate("s")
      .executeTakeFirstOrThrow();
    const stack = { id: stackId, name, teamId: row.team_id, clusterId: row.cluster_id, cluster, domain: row.domain };
    if (made) await stackEvent(trx, stack, { code: "stack_created" });
    await store.ensureConfig(trx, { stackId, componentId: null }, newest(members), call.by);
    // All ports that are in use before any new one is given.
    const taken = [];
    for (const member of members) taken.push(await takeRows(trx, call, stack, member));
    for (const { componentId, member } of taken) await store.keepInternalPorts(trx, componentId, stack.clusterId, portsOf(member));
    for (const { componentId, member } of taken)
      await claimAddresses(trx, stack, { id: componentId, name: member.shown.component }, specOf(member));
    await store.insertVersion(trx, stackId, call.by, taken);
    await audit(trx, call, "installation.adopt", `stack:${name}`, { components: members.map(({ shown }) => shown.component) });
    for (const { componentId, member, release } of taken) {
      await tellAdopted(trx, stack, member, release);
      await wakeComponent(trx, componentId, cluster);
    }
    return members.map(({ shown }) => shown);
  }

  /** In a cluster other than its stack's own; false when its component is not there. */
  async function adoptPart(trx: Db, call: Call, member: Found): Promise<boolean> {
    const { shown, stackId } = member;
    const row = await trx
      .selectFrom("stacks as s")
      .select(["s.team_id", "s.cluster_id"])
      .where("s.id", "=", stackId)
      .where("s.deleted_at", "is", null)
      .forUpdate("s")
      .executeTakeFirst();
    const owner = row === undefined ? undefined : await store.lockOwner(trx, stackId, shown.component);
    if (row === undefined || owner === undefined) return false;
    const { id: clusterId, domain } = await trx
      .selectFrom("clusters")
      .select(["id", "domain"])
      .where("name", "=", shown.cluster)
      .executeTakeFirstOrThrow();
    const at = { id: stackId, name: shown.stack, teamId: row.team_id, clusterId, cluster: shown.cluster, domain };
    const taken = await releaseOf(trx, { ...at, clusterId: row.cluster_id }, member);
    const { componentId, release } = await store.takeOverPart(trx, owner, at, taken);
    await store.keepInternalPorts(trx, componentId, clusterId, portsOf(member));
    await claimAddresses(trx, at, { id: componentId, name: shown.component }, specOf(member));
    await audit(trx, call, "installation.adopt", `stack:${shown.stack}`, { components: [shown.component], cluster: shown.cluster });
    await tellAdopted(trx, at, member, release);
    await wakeComponent(trx, componentId, shown.cluster);
    return true;
  }

  async function tellAdopted(trx: Db, stack: { readonly name: string; readonly teamId: string }, { shown }: Found, release: number) {
    const params = { release, instances: shown.instances };
    await stackEvent(trx, stack, { code: "component_adopted", component: shown.component, params });
  }

  async function takeRows(
    trx: Db,
    call: Call,
    stack: { readonly id: string; readonly name: string; readonly clusterId: string; readonly cluster: string },
    member: Found,
  ): Promise<{ componentId: string; releaseId: string; release: number; member: Found }> {
    const { record } = member;
    if (record === undefined) throw new BerthError("internal");
    const rows = await store.takeOver(trx, await releaseOf(trx, stack, member));
    await store.ensureConfig(trx, { stackId: stack.id, componentId: rows.componentId }, record.config.component, call.by);
    await store.rememberPostdeploy(trx, stack.id, record);
    await ensureVolumes(
      trx,
      stack,
      record.content.spec.volumes.map((mount) => mount.volume),
    );
    return { ...rows, member };
  }

  /** What its release needs is there, and what is taken over of it. `clusterId`: where it was built. */
  async function releaseOf(
    trx: Db,
    stack: { readonly id: string; readonly name: string; readonly clusterId: string; readonly cluster: string },
    { record, group, shown }: Found,
  ): Promise<store.TakenOver> {
    if (record === undefined) throw new BerthError("internal");
    const buildId = await store.ensureBuild(trx, stack.id, stack.clusterId, record, {
      kind: group.instances[0]?.workload.artifact.kind ?? "bundle",
      size: (await deps.blobs.has(record.content.artifactDigest)) ?? 0,
    });
    await store.ensureSecrets(trx, deps.secretBox, stack.id, record, group.instances[0]?.workload.env ?? {});
    // Whoever takes it over wants it: a removal that was decided before is taken back.
    await withdrawTombstone(trx, stack.cluster, { kind: "component", stack: stack.name, component: shown.component });
    return {
      stackId: stack.id,
      name: shown.component,
      number: group.releaseNumber,
      hash: group.releaseHash,
      restart: group.restart,
      replicas: group.instances.length,
      buildId,
      record,
    };
  }
}

/** Why somebody else's address keeps it from being taken over. Any other error goes on. */
function refusalOf(error: unknown): Candidate["notes"][number] {
  if (!(error instanceof BerthError) || (error.code !== "host_taken" && error.code !== "port_taken")) throw error;
  return { code: "adopt_refused", params: { reason: fill(errors[error.code].detail, error.params) } };
}

const portsOf = ({ entry }: Found): { readonly name: string; readonly internal: number }[] =>
  (entry?.ports ?? []).map(({ name, internal }) => ({ name, internal }));

function specOf({ record }: Found): ReturnType<typeof contentOf>["spec"] {
  if (record === undefined) throw new BerthError("internal");
  return contentOf(record).spec;
}

/** Components may have been started at different times: the newest config of their stack counts. */
function newest(members: readonly Found[]): { number: number; values: Record<string, string> } | undefined {
  return members
    .flatMap(({ record }) => (record?.config.stack === undefined ? [] : [record.config.stack]))
    .toSorted((a, b) => b.number - a.number)[0];
}

/** Of one stack of one cluster each. */
function byStack(found: readonly Found[]): (readonly [Found, ...Found[]])[] {
  const groups = Map.groupBy(found, ({ shown, stackId }) => `${shown.cluster} ${stackId}`);
  return [...groups.values()].flatMap(([first, ...others]) => (first === undefined ? [] : [[first, ...others] as const]));
}
