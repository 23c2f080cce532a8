// The verdict on requests that went wrong: which of them a kill explains, by evidence, and which nothing does. Coming near a kill in time explains nothing.
import type { Fault } from "./generator.ts";

/** A process that was ended with SIGKILL: between `from` and `to` (Unix ms). */
export interface Kill {
  readonly victim: string;
  readonly pid: number;
  readonly from: number;
  readonly to: number;
  /** Of an instance: its name, and the host that it answered for. */
  readonly instance?: string;
  readonly target?: string;
  /** Of a router: the clients' ports whose connections it held when it died. */
  readonly connections?: readonly number[];
}

/** Requests that the edge itself reports as interrupted, in its access log: id -> the instance that had it. */
export type Reported = ReadonlyMap<string, string>;

export interface Verdict {
  /** In flight on the very process that was killed, and not to be sent again. */
  readonly interrupted: { readonly byRouter: readonly Fault[]; readonly byInstance: readonly Fault[] };
  /** Sent on an idle connection that the kill of its router was closing: an ordinary client connects anew. */
  readonly reconnected: readonly Fault[];
  /** Nothing explains these. */
  readonly failed: readonly Fault[];
  /** Interrupted by the end of an instance, and the edge did not say so, although its routers lived to say it. */
  readonly hidden: readonly Fault[];
  /** Ids that the edge reports as interrupted, and whose clients had no complaint. */
  readonly made: readonly string[];
}

/** ms that the end of a killed process's connections may take to be read: a client that is held up meanwhile reads of it when it goes on. */
const news = 3_000;
/** ms after which a router has written a line of its access log. */
const written = 2_000;

/** Judges every fault by the kills. Only a router's death may break a connection, of those that it held; an instance's only what it was answering and may not be repeated. */
export function judge(faults: readonly Fault[], kills: readonly Kill[], reported: Reported): Verdict {
  const byRouter: Fault[] = [];
  const byInstance: Fault[] = [];
  const reconnected: Fault[] = [];
  const failed: Fault[] = [];
  const hidden: Fault[] = [];
  for (const fault of faults) {
    const during = kills.filter((kill) => fault.start <= kill.to && fault.end >= kill.from);
    const broke = fault.how === "closed" || fault.how === "reset";
    const held = (kill: Kill): boolean => fault.port !== undefined && kill.connections?.includes(fault.port) === true;
    const repeatable = fault.kind === "get" || fault.kind === "stream";
    const instance = reported.get(fault.id);
    const lost = kills.some((kill) => kill.victim === "router" && kill.from >= fault.end && kill.from - fault.end < written);
    const served = during.filter((kill) => kill.victim === "instance" && kill.target === fault.target);
    if (broke && during.some(held)) byRouter.push(fault);
    // The answer was on its way, or the request may have been acted on.
    else if (served.length > 0 && (broke ? fault.received > 0 : fault.status === 502 && !repeatable)) {
      byInstance.push(fault);
      if (!served.some((kill) => kill.instance === instance) && !lost) hidden.push(fault);
    } else if (
      broke &&
      fault.reused &&
      fault.received === 0 &&
      kills.some((kill) => held(kill) && fault.start > kill.to && fault.start - kill.to < news)
    )
      reconnected.push(fault);
    else failed.push(fault);
  }
  const known = new Set(faults.map(({ id }) => id));
  return { interrupted: { byRouter, byInstance }, reconnected, failed, hidden, made: [...reported.keys()].filter((id) => !known.has(id)) };
}

/** ms before a failure in which kills are told beside it: as long as the edge holds a request, and what led to that. */
const recently = 20_000;

/** One line for each kind of fault, for a person. */
export function told(faults: readonly Fault[], kills: readonly Kill[] = []): string {
  const groups = new Map<string, Fault[]>();
  for (const fault of faults) {
    const key = `${fault.kind} ${fault.how} ${String(fault.status ?? "")} ${fault.detail.replace(/\(?request [0-9a-z]+\)?/, "").slice(0, 100)}`;
    groups.set(key, [...(groups.get(key) ?? []), fault]);
  }
  return [...groups]
    .map(([key, all]) => {
      const [first] = all;
      const end = first?.end ?? 0;
      const before = kills
        .filter(({ from }) => from <= end && from > end - recently)
        .map(
          ({ victim, instance, from }) => `${victim}${instance === undefined ? "" : ` ${instance}`} ${String(Math.round(end - from))} ms`,
        );
      return `${String(all.length)} x ${key}: first ${first?.target ?? ""} ${first?.id ?? ""}, took ${String(Math.round((first?.end ?? 0) - (first?.start ?? 0)))} ms, received ${String(first?.received ?? 0)}, reused ${String(first?.reused)}${before.length === 0 ? "" : `, after the kill of ${before.join(", ")}`}`;
    })
    .join("\n");
}
