// What follows from how well a cluster keeps programs apart: what a plan says before anything starts, and whom the cluster may serve. Pure.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { BerthError } from "./errors.ts";

/** The part of an engine's capabilities that decides here. */
export interface Keeping {
  readonly reachable: boolean;
  readonly isolation: readonly string[];
  readonly limits: { readonly memory: boolean; readonly cpu: boolean; readonly processes: boolean };
  readonly doorLacks?: readonly string[];
  readonly notices: readonly { readonly code: string; readonly params: Readonly<Record<string, string>> }[];
}

/** What of a definition decides here. */
export type Asking = Pick<ComponentSpec, "resources"> & Partial<Pick<ComponentSpec, "ports" | "domains" | "maxBody" | "maxConnections">>;

export interface KeepingNote {
  readonly code: string;
  readonly params: Record<string, string>;
}

/** For a plan: whether stacks are kept apart at all, each limit that a component asks for and the cluster cannot hold, and what its door does not do. Nothing while it does not answer. */
export function keepingNotes(found: Keeping, components: Readonly<Record<string, Asking>>): KeepingNote[] {
  if (!found.reachable) return [];
  const apart = found.notices
    .filter(({ code }) => ["isolation_none", "isolation_uid_only", "swarm_not_manager"].includes(code))
    .map(({ code, params }): KeepingNote => ({ code, params: { ...params } }));
  const limits = (["memory", "cpu", "processes"] as const).filter((limit) => !found.limits[limit]);
  return [
    ...apart,
    ...Object.entries(components).flatMap(([component, { resources }]) =>
      limits
        .filter((limit) => resources[limit] !== undefined)
        .map((limit): KeepingNote => ({ code: "limit_missing", params: { limit, component } })),
    ),
    ...Object.entries(components).flatMap(([component, spec]) =>
      askedOfDoor(spec)
        .filter((what) => found.doorLacks?.includes(what) === true)
        .map((what): KeepingNote => ({ code: "door_lacks", params: { component, what } })),
    ),
  ];
}

/** As `doorLacks` of an engine's capabilities names it. */
function askedOfDoor({ ports, domains, maxBody, maxConnections }: Asking): string[] {
  return [
    ...(ports?.some(({ published }) => published !== undefined) === true ? ["published ports"] : []),
    ...(maxBody === undefined && maxConnections === undefined ? [] : ["request limits"]),
    ...(domains?.some(({ https }) => https === "redirect") === true ? ["redirects to HTTPS"] : []),
  ];
}

/**
 * Design, promise 8: where a cluster cannot keep programs apart it serves one team only. Errors: `team_not_isolated`; `other_server` or `engine_unavailable`
 * when nobody can say now how it keeps them.
 */
export function refuseSecondTeam(found: Keeping, cluster: string, teams: { readonly wanted: string; readonly other: string }): void {
  if (!found.reachable) {
    const [notice] = found.notices;
    if (notice?.code === "other_server") throw new BerthError("other_server", { cluster, server: notice.params["server"] ?? "" });
    throw new BerthError("engine_unavailable", {
      cluster,
      reason: notice?.params["reason"] ?? "it cannot be asked how it keeps teams apart",
    });
  }
  if (found.isolation.includes("none")) throw new BerthError("team_not_isolated", { cluster, team: teams.wanted, other: teams.other });
}
