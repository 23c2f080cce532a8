// When a release goes from one cluster to the next: once it is verified there, the pause has passed, and every cluster before still has all that it is to have. What failed
// there stops it here; a cluster that is away is waited for (docs/decisions/0051).
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { RolloutStep } from "@berth/contract/resources/rollouts.ts";
import { earlierRollouts, type EarlierRollout, type RolloutRow } from "../../resources/rollouts/store.ts";
import type { ComponentLoopDeps } from "./deps.ts";
import type { Loaded } from "./load.ts";

export type NextCluster =
  /** `again`: ms until the next look; undefined = whoever it waits for wakes it. */
  | { readonly is: "waiting"; readonly again: number | undefined; readonly step: RolloutStep }
  | { readonly is: "stopped"; readonly why: Cause }
  | { readonly is: "open"; readonly releaseId: string };

/** ms between looks at clusters that are not as they should be yet. */
const look = 1_000;

export async function nextCluster(
  deps: Pick<ComponentLoopDeps, "db" | "clock" | "from" | "isReachable">,
  loaded: Loaded,
  rollout: RolloutRow,
): Promise<NextCluster> {
  const earlier = await earlierRollouts(deps.db, rollout.id);
  const [before] = earlier;
  const bad = earlier.find(({ phase }) => phase === "failed" || phase === "aborted");
  if (bad !== undefined) return { is: "stopped", why: stoppedBy(loaded, bad) };
  // Superseded ones took this one with them; it is gone with the cluster's part of the component.
  if (before === undefined || before.phase === "superseded")
    return { is: "stopped", why: cause("internal", { reason: "the rollout in the cluster before it is gone" }) };
  if (before.phase !== "succeeded" || before.ended_at === null || before.release_id === null)
    return { is: "waiting", again: undefined, step: { code: "cluster_before", params: { cluster: before.cluster } } };
  const left = deps.from(before.ended_at.getTime()) + rollout.pause - deps.clock().getTime();
  if (left > 0) {
    const until = new Date(before.ended_at.getTime() + rollout.pause).toISOString();
    return { is: "waiting", again: left, step: { code: "cluster_pause", params: { cluster: before.cluster, until } } };
  }
  for (const one of earlier) {
    const unseen = !deps.isReachable(one.cluster);
    if (!unseen && (one.state === "degraded" || one.state === "failed")) return { is: "stopped", why: unhealthy(loaded, one) };
    if (unseen || (one.state !== "healthy" && one.state !== "stopped"))
      return { is: "waiting", again: look, step: { code: "cluster_check", params: { cluster: one.cluster } } };
  }
  return { is: "open", releaseId: before.release_id };
}

function stoppedBy({ component }: Loaded, { cluster, number, cause: why }: EarlierRollout): Cause {
  return cause("cluster_before_failed", { component: component.name, cluster, rollout: number }, why?.evidence.slice(-10));
}

function unhealthy({ component }: Loaded, { cluster, ready, replicas, seen }: EarlierRollout): Cause {
  return cause("cluster_before_unhealthy", { component: component.name, cluster, ready, wanted: replicas }, seen?.evidence.slice(-10));
}
