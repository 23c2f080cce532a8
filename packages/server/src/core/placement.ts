// Which clusters a component runs in, and how many instances each of them has. Pure.
import type { ComponentSpec, Placement } from "@berth/contract/spec.ts";

/** Why a component's `placement` cannot be done, and the way out; undefined: it can, or there is none. `home`: its stack's own cluster; undefined where that is not known yet. */
export function placementProblem(
  spec: ComponentSpec,
  home: string | undefined,
): { readonly reason: string; readonly way: string } | undefined {
  const { placement } = spec;
  if (placement === undefined) return undefined;
  if (spec.kind !== "web" && spec.kind !== "worker")
    return { reason: `a component of the kind ${spec.kind} runs in one cluster`, way: "Leave `placement` out." };
  if (spec.volumes.length > 0)
    return { reason: "it has volumes, and a volume is in one cluster", way: "Leave `placement` out, or keep its data elsewhere." };
  if (spec.autoscale !== undefined)
    return { reason: "what an autoscaler scales runs in one cluster", way: "Leave `placement` or `autoscale` out." };
  const names = placement.clusters.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) return { reason: `it names cluster ${twice} twice`, way: "Name each cluster once." };
  if (home !== undefined && names[0] !== home)
    return {
      reason: `its stack's own cluster, ${home}, is not the first that it names`,
      way: `Begin with ${home}; \`replicas: 0\` keeps its instances out of there.`,
    };
  if (placement.clusters.some(({ replicas, share }) => replicas !== undefined && share !== undefined))
    return { reason: "a cluster has a number of replicas and a share", way: "Give it one of both." };
  const numbered = placement.clusters.filter(({ replicas }) => replicas !== undefined).length;
  if (numbered > 0 && numbered < placement.clusters.length)
    return { reason: "some clusters have a number of replicas and others a share", way: "Give all of them the one or the other." };
  if (numbered === 0 && placement.clusters.every(({ share }) => share === 0))
    return { reason: "no cluster has a share of it", way: "Give one of them a share." };
  return undefined;
}

/** The numbers that a placement names, in its order; undefined where it names shares. */
export function numbersOf({ clusters }: Placement): readonly number[] | undefined {
  const numbers = clusters.flatMap(({ replicas }) => (replicas === undefined ? [] : [replicas]));
  return numbers.length === clusters.length ? numbers : undefined;
}

/**
 * So many instances for each cluster of the placement, in its order: by shares, or in proportion to its numbers, the largest remainders rounded up, the first of equal ones first.
 * A cluster with a share above 0 has one instance at least, unless none is wanted at all: fewer instances than such clusters become one for each.
 */
export function divide(total: number, { clusters }: Placement): readonly number[] {
  const weights = clusters.map(({ replicas, share }) => replicas ?? share ?? 1);
  const sum = weights.reduce((all, weight) => all + weight, 0);
  // Numbers that are all 0 say nothing about proportions.
  if (sum === 0) return divide(total, { clusters: clusters.map(({ name }) => ({ name })) });
  const exact = weights.map((weight) => (total * weight) / sum);
  const amounts = exact.map((amount, index) => (total > 0 && (weights[index] ?? 0) > 0 ? Math.max(1, Math.floor(amount)) : 0));
  const owed = (index: number): number => (exact[index] ?? 0) - (amounts[index] ?? 0);
  const indexes = amounts.map((_, index) => index);
  for (let left = total - amounts.reduce((all, amount) => all + amount, 0); left !== 0; left -= Math.sign(left)) {
    const change = Math.sign(left);
    // What the least of others took is taken from who has more than its part.
    const [next] = indexes
      .filter((index) => (weights[index] ?? 0) > 0 && (change > 0 || (amounts[index] ?? 0) > 1))
      .toSorted((one, other) => change * (owed(other) - owed(one)) || one - other);
    if (next === undefined) break;
    amounts[next] = (amounts[next] ?? 0) + change;
  }
  return amounts;
}
