// Looks which hosts of a cluster are to have a certificate by themselves, and puts those on their loop's list that have something to do. Decides nothing about one.
import { hostsToKeep, type AcmeSettings } from "../../core/acme.ts";
import type { Db } from "../../db/pool.ts";
import { followHosts, givenHosts, routedHosts } from "../../resources/certificates/automatic.ts";
import type { HandlerContext, HandlerResult } from "../loop.ts";

export interface HostsDeps {
  readonly db: Db;
  readonly clock: () => Date;
  /** undefined: nobody set an authority, and what there is stays as it is. */
  readonly settings: AcmeSettings | undefined;
}

/** ms between two looks. Deployments do not ask for one: they would wait for each other at its row. */
const period = 5_000;

export async function reconcileHosts(deps: HostsDeps, cluster: string, { commit }: Pick<HandlerContext, "commit">): Promise<HandlerResult> {
  const { settings } = deps;
  if (settings === undefined) return {};
  const now = deps.clock();
  await commit(async (trx) => {
    const wanted = hostsToKeep(await routedHosts(trx, cluster), await givenHosts(trx), settings.proof.type);
    await followHosts(trx, cluster, wanted);
  });
  return { again: new Date(now.getTime() + period) };
}

/** Whether this host is (still) to have one, and whether an operator's own covers it. */
export async function wantOf(db: Db, cluster: string, host: string, settings: AcmeSettings): Promise<"wanted" | "given" | "unrouted"> {
  const routed = await routedHosts(db, cluster);
  if (!routed.includes(host)) return "unrouted";
  return hostsToKeep([host], await givenHosts(db), settings.proof.type).length > 0 ? "wanted" : "given";
}
