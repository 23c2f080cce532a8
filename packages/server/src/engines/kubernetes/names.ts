// How what Berth makes in a cluster is called and labelled. Objects are found by labels and read by people: `kubectl get all -n berth-shop` shows components by their names.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
import { createHash } from "node:crypto";
import type { Ref, Revision, TrackTarget, Workload } from "../engine.ts";

/** Labels and annotations of Berth; those that Kubernetes recommends stand beside them. */
export const mark = {
  installation: "berth.installation",
  /** `instance` or `task`. */
  role: "berth.role",
  stack: "berth.stack",
  stackId: "berth.stack-id",
  component: "berth.component",
  track: "berth.track",
  /** The letter of the slot. */
  slot: "berth.slot",
  /** Release, restart and track in a few characters. */
  revision: "berth.revision",
  release: "berth.release",
  /** `yes` as long as it may be given requests; set to `no` when it is taken out. */
  serving: "berth.serving",
  volume: "berth.volume",
  /** `snapshot` or `restore`: a pod that reads or fills a volume, and is no instance. */
  archive: "berth.archive",
  task: "berth.task",
  // Annotations.
  releaseHash: "berth.release-hash",
  restart: "berth.restart",
  order: "berth.order",
  /** Uids of pods that the number of replicas counts no more. */
  leaving: "berth.leaving",
  /** A Deployment as it was put, but for the number of its replicas. */
  applied: "berth.applied",
  /** The number of replicas that Berth wrote last. */
  replicas: "berth.replicas",
  /** Of a Deployment that was imported: its main container, and the template that its pods are made by. */
  imported: "berth.imported",
  /** Of its pods: the Deployment's name, and the container's, which are not as Berth names them. */
  deployment: "berth.deployment",
  container: "berth.container",
  /** Their ports by the names that Berth has for them, as JSON. */
  ports: "berth.ports",
  cancelled: "berth.cancelled",
  exit: "berth.exit",
  /** The level of pod security that Berth gave a namespace. */
  level: "berth.pod-security",
} as const;

/** The namespace of a stack: the one that it was imported with, or one of Berth's making, apart from those that clusters have already (`default`, `kube-system`). */
export const namespaceOf = ({ stack, namespace }: Pick<Ref, "stack" | "namespace">): string => namespace ?? `berth-${stack}`;

/** Of what was found in that namespace: only one that is not of Berth's making is told. */
export function refIn(namespace: string, { stack, component }: Ref): Ref {
  return namespace === namespaceOf({ stack }) ? { stack, component } : { stack, component, namespace };
}
export const slotName = (component: string, slot: string): string => `${component}--${slot}`;
export const letters: readonly string[] = "abcdefghijklmnopqrstuvwxyz".split("");

/** What tells one wave of instances from another, as a label may say it. */
export function revisionOf({ releaseHash, restart }: Revision, track: TrackTarget["track"]): string {
  return digest(`${releaseHash} ${String(restart)} ${track}`);
}

/** Labels of everything that belongs to a component. */
export function refLabels(installation: string, ref: Ref): Record<string, string> {
  return {
    "app.kubernetes.io/managed-by": "berth",
    "app.kubernetes.io/part-of": ref.stack,
    "app.kubernetes.io/name": ref.component,
    [mark.installation]: installation,
    [mark.stack]: ref.stack,
    [mark.component]: ref.component,
  };
}

/** The same, of what its releases are made of. */
export function componentLabels(installation: string, { ref, stackId }: Pick<Workload, "ref" | "stackId">): Record<string, string> {
  return { ...refLabels(installation, ref), [mark.stackId]: stackId };
}

/** `a=b,c=d`; a value of undefined asks that the label be there. */
export const selector = (labels: Readonly<Record<string, string | undefined>>): string =>
  Object.entries(labels)
    .map(([name, value]) => (value === undefined ? name : `${name}=${value}`))
    .join(",");

/** Everything of one component. */
export const ofComponent = (installation: string, ref: Ref): string =>
  selector({ [mark.installation]: installation, [mark.stack]: ref.stack, [mark.component]: ref.component });

/** 16 hex digits that stand for a text. */
export const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
