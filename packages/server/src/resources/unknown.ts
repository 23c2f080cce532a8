// What is known of things on a cluster that is away: what was seen last, and since when that may not be so any more.
import type { AddedClusters } from "./deps.ts";

/** For what is shown of a stack or a component; empty while its cluster is connected, and for clusters of other servers. */
export function unknownSince(added: Pick<AddedClusters, "state">, cluster: string): { readonly unknownSince?: string } {
  const state = added.state(cluster);
  return state === undefined || state.connected ? {} : { unknownSince: state.since.toISOString() };
}
