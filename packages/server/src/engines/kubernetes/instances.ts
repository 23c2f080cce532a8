// A pod as an instance of Berth: what is kept of the pods that are watched, and what it says. Pure.
import { constants } from "node:os";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Instance, Ref, TrackTarget } from "../engine.ts";
import { mark, refIn, slotName } from "./names.ts";
import type { Condition, ContainerStatus, Pod, Terminated } from "./objects.ts";

/** What is kept of a pod; a few hundred bytes of its several thousand. */
export interface PodView {
  readonly ref: Ref;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly role: string;
  readonly slot: string | undefined;
  /** The name of the Deployment that counts it. */
  readonly deployment: string | undefined;
  /** The name of the container that is the program. */
  readonly main: string;
  readonly track: TrackTarget["track"];
  readonly revision: string;
  readonly releaseHash: string;
  readonly releaseNumber: number;
  readonly restart: number;
  readonly task: string | undefined;
  readonly serving: boolean;
  readonly owner: string | undefined;
  readonly createdAt: string;
  readonly stopping: boolean;
  readonly node: string | undefined;
  readonly ip: string | undefined;
  readonly ports: Readonly<Record<string, number>>;
  /** The limit, bytes. */
  readonly memory: number | undefined;
  readonly claims: readonly string[];
  readonly phase: string;
  readonly ready: Condition | undefined;
  readonly scheduled: Condition | undefined;
  readonly container: ContainerStatus | undefined;
  /** One that an overlay put beside it, and that keeps the pod from being ready. */
  readonly beside: ContainerStatus | undefined;
  /** Why the kubelet or the cluster ended it as a whole, such as `Evicted`. */
  readonly reason: string | undefined;
  readonly message: string | undefined;
}

/** undefined: it is none of Berth's. */
export function viewOf({ metadata, spec, status }: Pod): PodView | undefined {
  const { labels = {}, annotations = {} } = metadata;
  const [stack, component] = [labels[mark.stack], labels[mark.component]];
  if (stack === undefined || component === undefined || metadata.namespace === undefined) return undefined;
  const condition = (type: string): Condition | undefined => status?.conditions?.find((one) => one.type === type);
  // Others may stand beside it, and statuses come in the order of their names.
  const { [mark.container]: program = component } = annotations;
  const main = spec.containers.find(({ name }) => name === program) ?? spec.containers[0];
  const statuses = status?.containerStatuses ?? [];
  return {
    ref: refIn(metadata.namespace, { stack, component }),
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid ?? "",
    role: labels[mark.role] ?? "",
    slot: labels[mark.slot],
    deployment: deploymentOf(component, labels[mark.slot], annotations[mark.deployment]),
    main: main?.name ?? component,
    track: labels[mark.track] === "candidate" ? "candidate" : "stable",
    revision: labels[mark.revision] ?? "",
    releaseHash: annotations[mark.releaseHash] ?? "",
    releaseNumber: Number(labels[mark.release] ?? 0),
    restart: Number(annotations[mark.restart] ?? 0),
    task: labels[mark.task],
    serving: labels[mark.serving] !== "no",
    owner: metadata.ownerReferences?.find((one) => one.controller === true)?.name,
    createdAt: metadata.creationTimestamp ?? "",
    stopping: metadata.deletionTimestamp !== undefined,
    node: spec.nodeName,
    ip: status?.podIP,
    ports:
      portsIn(annotations[mark.ports]) ??
      Object.fromEntries((main?.ports ?? []).flatMap((port) => (port.name === undefined ? [] : [[port.name, port.containerPort]]))),
    memory: bytesIn(main?.resources?.limits?.["memory"]),
    claims: (spec.volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []),
    phase: status?.phase ?? "Pending",
    ready: condition("Ready"),
    scheduled: condition("PodScheduled"),
    container: statuses.find(({ name }) => name === program) ?? (spec.containers.length > 1 ? undefined : statuses[0]),
    beside: besideOf([...(status?.initContainerStatuses ?? []), ...statuses.filter(({ name }) => name !== main?.name)]),
    reason: status?.reason,
    message: status?.message,
  };
}

/** undefined: it is in no slot. One that was imported has the name that it had. */
const deploymentOf = (component: string, slot: string | undefined, imported: string | undefined): string | undefined =>
  imported ?? (slot === undefined ? undefined : slotName(component, slot));

/** undefined: as its container says. */
const portsIn = (text: string | undefined): Readonly<Record<string, number>> | undefined =>
  text === undefined ? undefined : (JSON.parse(text) as Readonly<Record<string, number>>);

/** The first of those beside the main container that waits after an end or for what it cannot get, or that ended badly. */
const besideOf = (others: readonly ContainerStatus[]): ContainerStatus | undefined =>
  others.find(({ state }) => {
    const waits = state?.waiting?.reason;
    return (
      (waits !== undefined && waits !== "PodInitializing" && waits !== "ContainerCreating") || (state?.terminated?.exitCode ?? 0) !== 0
    );
  });

/** A limit as Berth writes it; of one that somebody else wrote in other units nothing is said. */
const bytesIn = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined);

export function instanceOf(view: PodView, why: Cause | undefined, endedBy: Cause | undefined): Instance {
  const { container, ip } = view;
  const ready = view.ready?.status === "True" && !view.stopping;
  const ended = container?.state?.terminated ?? container?.lastState?.terminated;
  const startedAt = container?.state?.running?.startedAt;
  return {
    id: view.name,
    track: view.track,
    revision: { releaseHash: view.releaseHash, restart: view.restart },
    releaseNumber: view.releaseNumber,
    phase: phaseOf(view),
    ready,
    ...(ready && view.ready?.lastTransitionTime !== undefined ? { readySince: view.ready.lastTransitionTime } : {}),
    ...(startedAt === undefined ? {} : { startedAt }),
    restarts: container?.restartCount ?? 0,
    addresses: ip === undefined ? {} : Object.fromEntries(Object.entries(view.ports).map(([name, port]) => [name, { host: ip, port }])),
    ...(ended === undefined ? {} : { lastExit: exitOf(ended, endedBy) }),
    ...(ready || view.stopping || why === undefined ? {} : { cause: why }),
    probes: [],
  };
}

/** The Secret that its next start waits for, as its kubelet says it. */
export function missedSecret({ container }: PodView): string | undefined {
  const { reason, message = "" } = container?.state?.waiting ?? {};
  return reason === "CreateContainerConfigError" ? /secret "([^"]+)" not found/.exec(message)?.[1] : undefined;
}

/** It runs nothing any more, and its Deployment counts it no more. */
export const hasEnded = ({ phase }: Pick<PodView, "phase">): boolean => phase === "Succeeded" || phase === "Failed";

function phaseOf({ stopping, phase, container }: PodView): Instance["phase"] {
  if (stopping) return "stopping";
  if (hasEnded({ phase })) return "exited";
  if (container?.state?.running !== undefined) return "running";
  if (container?.state?.waiting?.reason === "CrashLoopBackOff" || container?.state?.terminated !== undefined) return "backoff";
  return "starting";
}

export interface Ended {
  readonly exitCode?: number;
  readonly signal?: string;
}

/** Runtimes tell a signal by 128 and its number, as shells do. */
export function statusOf({ exitCode, signal }: Pick<Terminated, "exitCode" | "signal">): Ended {
  const number = signal ?? (exitCode > 128 ? exitCode - 128 : undefined);
  const name = number === undefined ? undefined : Object.entries(constants.signals).find(([, each]) => each === number)?.[0];
  return name === undefined ? { exitCode } : { signal: name };
}

export const ranFor = ({ startedAt, finishedAt }: Terminated): number => {
  const ms = Date.parse(finishedAt ?? "") - Date.parse(startedAt ?? "");
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
};

export const ranOutOfMemory = ({ reason }: Terminated): boolean => reason === "OOMKilled";

function exitOf(ended: Terminated, why: Cause | undefined): NonNullable<Instance["lastExit"]> {
  return {
    at: ended.finishedAt ?? "",
    ...statusOf(ended),
    ranFor: ranFor(ended),
    outOfMemory: ranOutOfMemory(ended),
    ...(why === undefined ? {} : { cause: why }),
  };
}

/** Why a pod runs nothing yet, as its cluster says it without being asked further; undefined: nothing is wrong so far, or it ran. */
export function startCause(view: PodView, image: string): Cause | undefined {
  const { scheduled, container, beside, reason } = view;
  const event = (text: string | undefined) =>
    text === undefined || text === "" ? [] : [{ kind: "event" as const, text: text.slice(0, 4_096) }];
  if (reason === "Evicted")
    return cause(
      "start_failed",
      { reason: `the node evicted it: ${firstLine(view.message ?? "it needed its resources")}` },
      event(view.message),
    );
  if (scheduled?.status === "False" && scheduled.reason === "Unschedulable")
    return cause("unschedulable", { reason: firstLine(scheduled.message ?? "no node has room") }, event(scheduled.message));
  if (beside !== undefined) return besideCause(beside);
  const waiting = container?.state?.waiting;
  const text = waiting?.message ?? "";
  switch (waiting?.reason) {
    case "ErrImagePull":
    case "ImagePullBackOff":
      return pullCause(image, text, event(text));
    case "InvalidImageName":
    case "ErrImageNeverPull":
      return cause("image_not_found", { image }, event(text));
    case "CreateContainerConfigError":
    case "CreateContainerError":
    case "RunContainerError":
      return cause("start_failed", { reason: firstLine(text) }, event(text));
    default:
      return undefined;
  }
}

function besideCause({ name, state, lastState }: ContainerStatus): Cause {
  const { waiting, terminated = lastState?.terminated } = state ?? {};
  const { exitCode, signal } = terminated === undefined ? {} : statusOf(terminated);
  const end = terminated === undefined ? undefined : `it ended with ${signal ?? `exit code ${String(exitCode)}`}`;
  const text = waiting?.message ?? terminated?.message ?? "";
  const how = end ?? firstLine(text === "" ? (waiting?.reason ?? "it does not start") : text);
  return cause(
    "start_failed",
    { reason: `the container ${name} beside it does not run: ${how}` },
    text === "" ? [] : [{ kind: "event", text: text.slice(0, 4_096) }],
  );
}

function pullCause(image: string, text: string, evidence: Cause["evidence"]): Cause {
  if (/not found|manifest unknown|does not exist/i.test(text)) return cause("image_not_found", { image }, evidence);
  if (/unauthorized|denied|forbidden|authentication required|authorization failed/i.test(text))
    return cause("image_denied", { image }, evidence);
  if (/no match for platform|exec format/i.test(text)) return cause("image_other_platform", { image, platform: "the node's" }, evidence);
  return cause("image_pull_failed", { image, reason: firstLine(text) }, evidence);
}

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").slice(0, 300);
