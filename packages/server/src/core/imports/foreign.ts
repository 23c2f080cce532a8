// What is in a namespace of a Kubernetes cluster that Berth did not make, as far as an import looks at it. Data only.
import type { Note } from "@berth/contract/resources/plans.ts";
import type { Static } from "typebox";
import type { Tree } from "../overlay/merge.ts";

export type ImportNote = Static<typeof Note>;
export const note = (code: string, params: Readonly<Record<string, string>> = {}): ImportNote => ({ code, params: { ...params } });

interface Meta {
  readonly name: string;
  readonly uid?: string;
  /** Of what is wanted: the cluster counts it up with each change. */
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[];
}

export interface ForeignDeployment {
  readonly metadata: Meta;
  readonly spec: {
    readonly replicas?: number;
    readonly paused?: boolean;
    readonly minReadySeconds?: number;
    readonly progressDeadlineSeconds?: number;
    readonly strategy?: {
      readonly type?: string;
      readonly rollingUpdate?: { readonly maxSurge?: unknown; readonly maxUnavailable?: unknown };
    };
    readonly selector: { readonly matchLabels?: Readonly<Record<string, string>>; readonly matchExpressions?: readonly unknown[] };
    readonly template: { readonly metadata?: Pick<Meta, "labels" | "annotations">; readonly spec: Tree };
  };
  readonly status?: { readonly observedGeneration?: number; readonly replicas?: number; readonly updatedReplicas?: number };
}

export interface ForeignPod {
  readonly metadata: Meta & { readonly deletionTimestamp?: string };
  readonly status?: { readonly containerStatuses?: readonly { readonly name: string; readonly imageID?: string }[] };
}

export interface ForeignServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
  readonly appProtocol?: string;
  readonly targetPort?: number | string;
}
export interface ForeignService {
  readonly metadata: Meta;
  readonly spec: { readonly selector?: Readonly<Record<string, string>>; readonly ports?: readonly ForeignServicePort[] };
}

/** An object that leads users to Services, or that is of no kind that can be imported. */
export interface ForeignOther {
  readonly kind: string;
  readonly name: string;
  /** Names of the Services that it leads to. */
  readonly services: readonly string[];
}

export interface Foreign {
  readonly namespace: string;
  /** The stack of this installation that the namespace belongs to. */
  readonly stack?: { readonly name: string; readonly id: string };
  readonly deployments: readonly ForeignDeployment[];
  readonly pods: readonly ForeignPod[];
  readonly services: readonly ForeignService[];
  /** Of those that variables are taken from, by name; one that is not there is missing. */
  readonly configMaps: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The same, with what they say in clear. */
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Ingresses and HTTPRoutes. */
  readonly doors: readonly ForeignOther[];
  readonly autoscalers: readonly { readonly name: string; readonly target: string }[];
  /** Names of PodDisruptionBudgets. */
  readonly budgets: readonly string[];
  /** StatefulSets, CronJobs and the like. */
  readonly others: readonly ForeignOther[];
}

/** Labels by which Berth marks what is its own. */
export const ownLabel = "berth.installation";

export const matches = (wanted: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>> = {}): boolean =>
  Object.keys(wanted).length > 0 && Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** The pods that a Deployment runs now. They are found by what it selects, and by whose they are. */
export function podsOf({ metadata, spec }: ForeignDeployment, pods: readonly ForeignPod[]): readonly ForeignPod[] {
  const wanted = spec.selector.matchLabels ?? {};
  return pods.filter(({ metadata: pod }) => {
    const owner = pod.ownerReferences?.find(({ controller }) => controller === true);
    const hash = pod.labels?.["pod-template-hash"];
    return (
      pod.deletionTimestamp === undefined &&
      matches(wanted, pod.labels) &&
      hash !== undefined &&
      owner?.kind === "ReplicaSet" &&
      owner.name === `${metadata.name}-${hash}`
    );
  });
}

/** The container that is the component; what stands beside it goes along. */
export function mainContainer({ spec }: ForeignDeployment): Tree & { readonly name: string } {
  const containers = spec.template.spec["containers"] as readonly (Tree & { readonly name: string })[];
  const named = spec.template.metadata?.annotations?.["kubectl.kubernetes.io/default-container"];
  const found = containers.find(({ name }) => name === named) ?? containers[0];
  if (found === undefined) throw new TypeError(`${spec.template.metadata?.labels?.["app"] ?? "it"} has no container`);
  return found;
}
