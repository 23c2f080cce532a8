// Log lines of several pods as one: in the order of their times, from a position on. The kubelet has them; nothing is kept beyond the pods.
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { logs } from "../../kubernetes/streams.ts";
import type { LogLine, LogOptions } from "../engine.ts";
import type { PodView } from "./instances.ts";

/** A position is a time to the nanosecond, and the instance that wrote then. */
const cursorOf = (at: string, instance: string): string => `${at} ${instance}`;

/** Lines that are there, oldest first. Those of the run before the current one are among them, as long as the kubelet has them. */
export async function pastLines(api: KubeApi, pods: readonly PodView[], options: LogOptions, signal: AbortSignal): Promise<LogLine[]> {
  const since = options.since ?? options.after?.split(" ")[0];
  const each = await Promise.all(pods.map((pod) => linesOf(api, pod, since, options.tail, signal)));
  const lines = each.flat().toSorted((one, other) => (one.cursor < other.cursor ? -1 : one.cursor > other.cursor ? 1 : 0));
  const { after, tail } = options;
  const wanted = lines.filter(
    (line) => (after === undefined || line.cursor > after) && (options.since === undefined || line.at >= options.since),
  );
  return tail === undefined ? wanted : tail === 0 ? [] : wanted.slice(-tail);
}

async function linesOf(
  api: KubeApi,
  pod: PodView,
  since: string | undefined,
  tail: number | undefined,
  signal: AbortSignal,
): Promise<LogLine[]> {
  const runs = (pod.container?.restartCount ?? 0) > 0 ? [true, false] : [false];
  const found: LogLine[] = [];
  for (const previous of runs) {
    const read = {
      namespace: pod.namespace,
      pod: pod.name,
      container: pod.main,
      previous,
      ...(since === undefined ? {} : { sinceTime: new Date(since) }),
      ...(tail === undefined ? {} : { tail }),
    };
    try {
      for await (const { at, text } of logs(api, read, signal)) if (at !== undefined) found.push(lineOf(pod.name, at, text));
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return found;
}

/** One that does not run yet, or not any more, has no lines to give. */
const isGone = (error: unknown): boolean => error instanceof KubeError && (error.status === 400 || error.status === 404);

function lineOf(instance: string, at: string, text: string): LogLine {
  const exact = nanoseconds(at);
  return { at: exact, instance, stream: "stdout", text, cursor: cursorOf(exact, instance) };
}

/** Times compare as texts once all have nine digits. */
function nanoseconds(at: string): string {
  const [, whole = at, fraction = ""] = /^(.*T[\d:]+)(?:\.(\d+))?Z$/.exec(at) ?? [];
  return `${whole}.${fraction.padEnd(9, "0")}Z`;
}

const runOf = ({ uid, container }: PodView): string => `${uid} ${String(container?.restartCount ?? 0)}`;
const isEnded = ({ container }: PodView): boolean => container?.state?.terminated !== undefined;

/** ms between two looks for pods that came, and for lines of those whose stream ended. */
const pace = 1_000;

/**
 * Lines as they are written, of all pods that there are at each moment, also of those that come later. `podsNow`: asked again and again; `isOver`: whether no more pods will run.
 * Ends then, or with the signal.
 */
export async function* followLines(
  api: KubeApi,
  podsNow: () => readonly PodView[],
  isOver: () => Promise<boolean>,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const queue: LogLine[] = [];
  let wake = Promise.withResolvers<void>();
  const past = await pastLines(api, podsNow(), options, signal);
  yield* past;
  const last = new Map<string, string>();
  const from = past.at(-1)?.cursor ?? options.after ?? "";
  const open = new Set<string>();
  /** Runs that had ended before they were read to their end. */
  const done = new Set<string>();
  const read = async (pod: PodView): Promise<void> => {
    const since = (last.get(pod.name) ?? from).split(" ")[0] ?? "";
    const followed = {
      namespace: pod.namespace,
      pod: pod.name,
      container: pod.main,
      follow: true,
      ...(since === "" ? {} : { sinceTime: new Date(since) }),
    };
    for await (const { at, text } of logs(api, followed, signal)) {
      if (at === undefined) continue;
      const line = lineOf(pod.name, at, text);
      if (line.cursor <= (last.get(pod.name) ?? from)) continue;
      last.set(pod.name, line.cursor);
      queue.push(line);
      wake.resolve();
    }
  };
  while (!signal.aborted) {
    for (const pod of podsNow()) {
      if (open.has(pod.uid) || pod.container?.state?.waiting !== undefined || pod.container === undefined) continue;
      const run = runOf(pod);
      if (done.has(run)) continue;
      const hasEnded = isEnded(pod);
      open.add(pod.uid);
      // What breaks off is opened again at the next look.
      void read(pod).then(
        () => {
          open.delete(pod.uid);
          if (hasEnded) done.add(run);
          wake.resolve();
        },
        (error: unknown) => {
          open.delete(pod.uid);
          if (isGone(error) && hasEnded) done.add(run);
        },
      );
    }
    const isRead = open.size === 0 && queue.length === 0 && podsNow().every((pod) => done.has(runOf(pod)) || !isEnded(pod));
    if (isRead && (await isOver())) return;
    await Promise.race([wake.promise, sleep(pace, undefined, { signal }).catch(() => undefined)]);
    wake = Promise.withResolvers<void>();
    yield* queue.splice(0).toSorted((one, other) => (one.cursor < other.cursor ? -1 : 1));
  }
}
