// Two ways to the same end, side by side.
import { atMost, holds, note, type Bar } from "../shared/bars.ts";
import { median } from "../shared/watch.ts";
import type { ManyFound } from "./many.ts";
import type { Size } from "./pretended.ts";

export interface Samples {
  /** ms */
  readonly peer: number[];
  readonly berth: number[];
}

/** One sample each a round, in turn. The first of each loads what both need. `theirs`, `ours`: ms. */
export async function inPairs(
  rounds: number,
  note: (text: string) => void,
  theirs: () => Promise<number>,
  ours: () => Promise<number>,
): Promise<Samples> {
  const found: Samples = { peer: [], berth: [] };
  for (let round = -1; round < rounds; round += 1) {
    const [peer, berth] = [await theirs(), await ours()];
    note(`round ${String(round + 1)}: kubectl ${peer.toFixed(0)} ms, Berth ${berth.toFixed(0)} ms`);
    if (round < 0) continue;
    found.peer.push(peer);
    found.berth.push(berth);
  }
  return found;
}

/** `most`: seconds that Berth may take beyond its peer. */
export function compareTables(what: string, found: Samples, peer: string, most: number): { tables: string[][][]; bars: Bar[] } {
  const row = (name: string, samples: readonly number[]): string[] => [
    name,
    median(samples).toFixed(0),
    Math.min(...samples).toFixed(0),
    Math.max(...samples).toFixed(0),
  ];
  note(`${what}: ${(median(found.berth) / median(found.peer)).toFixed(2)} times ${peer}`);
  return {
    tables: [[[`${what}, ms`, "median", "least", "most"], row(peer, found.peer), row("Berth", found.berth)]],
    bars: [atMost(`${what}: Berth over ${peer}`, (median(found.berth) - median(found.peer)) / 1000, most, "s", 2)],
  };
}

export function manyTables(size: Size, found: ManyFound): { tables: string[][][]; bars: Bar[] } {
  const count = size.stacks * size.components;
  const pace = (ms: number): number => (count * 1_000) / ms;
  const row = (name: string, ms: number, asked: number): string[] => [
    name,
    (ms / 1_000).toFixed(1),
    pace(ms).toFixed(1),
    String(asked),
    (asked / count).toFixed(1),
  ];
  return {
    tables: [
      [
        [`${String(count)} components released at once`, "s", "a second", "requests", "of each"],
        row("kubectl apply and wait, a process for each stack", found.kubectl, found.kubectlAsked),
        row("Berth", found.berth, found.berthAsked),
      ],
    ],
    bars: [
      holds(
        "components released a second: at least as many as kubectl",
        `${(pace(found.berth) / pace(found.kubectl)).toFixed(2)} times`,
        found.berth <= found.kubectl,
      ),
      atMost("requests to the API server", found.berthAsked / found.kubectlAsked, 2, "times kubectl's", 2),
    ],
  };
}
