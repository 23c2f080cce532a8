// Which of a component's instances are the ones that count, when nobody remembers: those that users are sent to. Pure.

/** What of an instance's record matters here; the engines' `InstanceRecord` has it. */
export interface SeenRecord {
  readonly id: string;
  readonly restart: number;
  /** RFC 3339 */ readonly createdAt: string;
  readonly workload: { readonly releaseHash: string; readonly releaseNumber: number };
}

/** Instances that are alike: the same release and the same wave. */
export interface Group<R extends SeenRecord> {
  readonly releaseHash: string;
  readonly releaseNumber: number;
  readonly restart: number;
  readonly instances: readonly R[];
}

interface SeenEntry {
  readonly ports: readonly {
    readonly tracks: readonly { readonly endpoints: readonly { readonly instance: string; readonly state: "active" | "draining" }[] }[];
  }[];
}

/** The group with the most endpoints in force; without traffic, the newest. undefined = nothing runs. */
export function currentGroup<R extends SeenRecord>(records: readonly R[], entry: SeenEntry | undefined): Group<R> | undefined {
  const active = new Set(
    entry?.ports.flatMap((port) =>
      port.tracks.flatMap((track) =>
        track.endpoints.filter((endpoint) => endpoint.state === "active").map((endpoint) => endpoint.instance),
      ),
    ) ?? [],
  );
  const groups = new Map<string, R[]>();
  for (const record of records) {
    const key = `${record.workload.releaseHash} ${record.restart}`;
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  const ranked = [...groups.values()]
    .map((instances) => ({
      instances,
      routed: instances.filter((record) => active.has(record.id)).length,
      newest:
        instances
          .map((record) => record.createdAt)
          .toSorted()
          .at(-1) ?? "",
    }))
    .toSorted((a, b) => b.routed - a.routed || (a.newest < b.newest ? 1 : -1));
  const instances = ranked[0]?.instances ?? [];
  const [one] = instances;
  return one === undefined
    ? undefined
    : { releaseHash: one.workload.releaseHash, releaseNumber: one.workload.releaseNumber, restart: one.restart, instances };
}
