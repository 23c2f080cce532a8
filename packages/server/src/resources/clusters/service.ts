// Clusters: the configured places, with what each can do right now; Docker hosts elsewhere and Kubernetes clusters are added and removed.
import type {
  Cluster,
  ClusterChange,
  ClusterHost,
  ClusterKubernetes,
  NewCluster,
  RenewedKubernetes,
} from "@berth/contract/resources/clusters.ts";
import { clusterVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import { wantedHost, type HostFacts } from "../../core/hosts.ts";
import { isKube, wantedKube, type KubeFacts, type PlaceFacts } from "../../core/kube-clusters.ts";
import type { Page } from "../../core/page.ts";
import { lockNames } from "../../db/clusters.ts";
import { appendEvent } from "../../db/events.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import { dropLeaving } from "../components/leaving.ts";
import type { PlaceState, ResourceDeps } from "../deps.ts";
import { audit, keepAnswer } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import { callCluster, clusterBehind } from "./names.ts";
import * as store from "./store.ts";

export type ClusterService = ReturnType<typeof createClusterService>;

export function createClusterService(deps: ResourceDeps) {
  async function present(row: store.ClusterRow, call: Call): Promise<Cluster> {
    const [found, held] = await Promise.all([
      deps.places.engine(row.name).capabilities(call.signal),
      deps.access.permissions(call.principal, {}),
    ]);
    const { reachable, version, isolation, ...capabilities } = found;
    return {
      name: row.name,
      ...(row.former.length === 0 ? {} : { formerNames: [...row.former] }),
      engine: row.engine,
      reachable,
      version,
      isolation: [...isolation],
      capabilities: { ...capabilities },
      stacks: row.stacks,
      domain: row.domain,
      ...(row.draining_since === null ? {} : { drainingSince: row.draining_since.toISOString() }),
      ...(row.host === null ? {} : presentAdded(row.host, deps.addedClusters.state(row.name) ?? elsewhere)),
      createdAt: row.created_at.toISOString(),
      allowed: clusterVerbs((permission) => held.has("*") || held.has(permission), { host: row.host !== null, stacks: row.stacks }),
    };
  }

  async function show(call: Call, name: string, trx: Db = deps.db): Promise<Cluster> {
    const [row] = await store.listClusters(trx, { name, page: slice(store.clusterList, { limit: 1 }) });
    if (row === undefined) throw notFound(name);
    return present(row, call);
  }

  /** A cluster that is there, locked. Errors: `not_found`. */
  async function lock(trx: Db, name: string): Promise<store.LockedCluster> {
    const row = await store.lockHost(trx, name);
    if (row === undefined || row.removed) throw notFound(name);
    return row;
  }

  /** What somebody wants to add, once it has answered and can be used. */
  async function checked(call: Call, { endpoint, kubernetes, ...given }: NewCluster): Promise<store.Added> {
    if (kubernetes !== undefined && endpoint === undefined) {
      const read = wantedKube(kubernetes, given.domain);
      if ("refusal" in read) throw new BerthError("cluster_unusable", { ...read.refusal });
      const { access, domain } = read.wanted;
      return { kind: "kubernetes", facts: await deps.addedClusters.checkKube(read.wanted, call.signal), access, domain };
    }
    if (endpoint === undefined || kubernetes !== undefined)
      throw new BerthError("invalid_request", { reason: "a cluster is either a Docker host (endpoint) or kubernetes, and one of both" });
    const wanted = wantedHost({ ...given, endpoint }, deps.installation());
    if ("refusal" in wanted) throw new BerthError("host_unusable", { endpoint, ...wanted.refusal });
    await deps.addedClusters.checkHost(wanted.host, call.signal);
    return { kind: "docker", ...wanted.host };
  }

  /** How a Kubernetes cluster that is known is reached from now on, once it has answered. */
  async function checkedAgain(call: Call, name: string, given: RenewedKubernetes): Promise<Pick<store.KubeAdded, "facts" | "access">> {
    const { called, host, stacks } = await transaction(deps.db, (trx) => lock(trx, name));
    if (host === null || !isKube(host))
      throw new BerthError("invalid_request", { reason: `cluster ${called} is no Kubernetes cluster: it has no kubeconfig` });
    const read = wantedKube(given, name);
    if ("refusal" in read) throw new BerthError("cluster_unusable", { ...read.refusal });
    const { gateway, address } = host;
    const wanted = { ...read.wanted, gateway, address };
    return { facts: await deps.addedClusters.checkRenewed(wanted, { stacks: stacks > 0 }, call.signal), access: wanted.access };
  }

  return {
    show: (call: Call, name: string) => show(call, name),

    async list(call: Call, query: ListRequest & { engine?: Cluster["engine"] }): Promise<Page<Cluster>> {
      const wanted = slice(store.clusterList, query);
      const { items, ...rest } = toPage(await store.listClusters(deps.db, { page: wanted, engine: query.engine }), wanted, (row) => row);
      return { ...rest, items: await Promise.all(items.map((row) => present(row, call))) };
    },

    /** Returns when it is written down; `connected` says when it is there. Errors: `host_unusable`, `cluster_unusable`, `conflict`, `invalid_request`. */
    async add(call: Call, given: NewCluster): Promise<Cluster> {
      const added = await checked(call, given);
      const answer = await transaction(deps.db, async (trx) => {
        await refuseTaken(trx, given.name);
        await store.lockHost(trx, given.name);
        await store.putAdded(trx, deps.secretBox, given.name, added, deps.places.standard);
        const at = added.kind === "docker" ? added.facts.endpoint : added.facts.server;
        await audit(trx, call, "clusters.add", "installation", { cluster: given.name, endpoint: at });
        const made = await show(call, given.name, trx);
        const connecting = { connected: false, reason: "it is being connected" };
        return keepAnswer(trx, call, { ...made, ...presentAdded(added.facts, connecting) });
      });
      await deps.addedClusters.refresh();
      return answer;
    },

    /**
     * Errors: `not_found`, `invalid_request`, `cluster_unusable` for a kubeconfig that does not lead to this cluster, `conflict` and `name_taken` for a name that leads to
     * another one.
     */
    async change(call: Call, name: string, { name: called, draining, kubernetes }: ClusterChange): Promise<Cluster> {
      const renewed = kubernetes === undefined ? undefined : await checkedAgain(call, name, kubernetes);
      await transaction(deps.db, async (trx) => {
        const before = called === undefined ? undefined : await refuseTaken(trx, called, name);
        const { id } = await lock(trx, name);
        if (called !== undefined && before !== undefined && called !== before) {
          await callCluster(trx, { id, name }, called);
          await appendEvent(trx, {
            code: "cluster_renamed",
            params: { from: before, to: called },
            topics: [`cluster:${before}`, `cluster:${called}`],
          });
          await audit(trx, call, "clusters.rename", "installation", { cluster: name, from: before, to: called });
        }
        if (draining !== undefined) {
          await store.setDraining(trx, id, draining ? deps.clock() : null);
          await audit(trx, call, draining ? "clusters.drain" : "clusters.undrain", "installation", { cluster: name });
        }
        if (renewed === undefined) return;
        await store.setAccess(trx, deps.secretBox, { id, name }, renewed);
        await audit(trx, call, "clusters.set", "installation", { cluster: name, endpoint: renewed.facts.server });
      });
      if (renewed !== undefined) await deps.addedClusters.refresh();
      return show(call, name);
    },

    /**
     * `unreached`: also when it does not answer; what was to leave it then is forgotten as it is. Errors: `not_found`, `wrong_state` for a server's own machine or while there
     * are stacks, `engine_unavailable` when the host does not answer.
     */
    async remove(call: Call, name: string, { unreached = false }: { readonly unreached?: boolean }): Promise<void> {
      const removable = async (trx: Db, isGone: boolean): Promise<string> => {
        const { id, called, host, stacks, staying } = await lock(trx, name);
        if (host === null)
          throw new BerthError("wrong_state", {
            verb: "Removing it",
            reason: `cluster ${called} is its server's own machine`,
            hint: "Only what was added can be removed.",
          });
        if ((isGone ? staying : stacks) > 0)
          throw new BerthError("wrong_state", {
            verb: "Removing it",
            reason: `cluster ${called} has ${String(stacks)} ${stacks === 1 ? "stack" : "stacks"}`,
            hint:
              staying > 0
                ? "Delete them first; `berth clusters drain` keeps new ones away."
                : "What is there of them is being removed. Once the cluster is gone for good, `--unreached` does not wait for that.",
          });
        return id;
      };
      await transaction(deps.db, (trx) => removable(trx, unreached && deps.addedClusters.state(name)?.connected !== true));
      let isGone = false;
      try {
        await deps.addedClusters.clear(name, call.signal);
      } catch (error) {
        if (!unreached || !(error instanceof BerthError) || error.code !== "engine_unavailable") throw error;
        isGone = true;
      }
      await transaction(deps.db, async (trx) => {
        const id = await removable(trx, isGone);
        const left = isGone ? await dropLeaving(trx, { id, name }) : [];
        await store.removeHost(trx, id, name, deps.clock());
        await audit(trx, call, "clusters.remove", "installation", { cluster: name, ...(left.length === 0 ? {} : { left }) });
      });
      await deps.addedClusters.refresh();
    },
  };
}

/** Under a lock on all names: what the cluster `of` is called now. Errors: `conflict` and `name_taken` for a name that leads to another one. */
async function refuseTaken(trx: Db, wanted: string, of?: string): Promise<string | undefined> {
  await lockNames(trx);
  const there = await clusterBehind(trx, wanted);
  if (there !== undefined && there.name !== of) {
    if (there.called === wanted) throw new BerthError("conflict", { kind: "cluster", name: wanted });
    throw new BerthError("name_taken", { name: wanted, cluster: there.called });
  }
  return of === undefined ? undefined : (await clusterBehind(trx, of))?.called;
}

const notFound = (name: string): BerthError =>
  new BerthError("not_found", { kind: "cluster", name, hint: "`berth clusters list` shows them." });

type Standing = Omit<PlaceState, "since"> & { readonly since?: Date };
const elsewhere: Standing = { connected: false, reason: "another server drives it" };

function presentAdded(facts: PlaceFacts, { edgeVersion, since, ...standing }: Standing): Pick<Cluster, "host" | "kubernetes"> {
  const shared = { ...standing, ...(since === undefined ? {} : { since: since.toISOString() }) };
  if (isKube(facts)) return { kubernetes: { ...presentKube(facts), ...shared } };
  return { host: { ...presentHost(facts), ...shared, ...(edgeVersion === undefined ? {} : { edgeVersion }) } };
}

function presentKube({ server, context, gateway, address, builder }: KubeFacts): Omit<ClusterKubernetes, "connected"> {
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return {
    server,
    context,
    gateway: `${gateway.namespace}/${gateway.name}`,
    address: `${host}:${String(address.port)}`,
    ...(builder === undefined ? {} : { builder }),
  };
}

const presentHost = ({ endpoint, httpPort, httpsPort, home }: HostFacts): Omit<ClusterHost, "connected"> => ({
  endpoint,
  httpPort,
  httpsPort,
  home,
});
