// What a release would be in a cluster: for people to read, and for the cluster to look at before anything of it is there. Pure.
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { portNumbers } from "../../core/ports.ts";
import type { OverlayRefusal, Rendered, TrackTarget, Workload } from "../engine.ts";
import type { TrafficEntry } from "../traffic.ts";
import { budgetOf } from "./budgets.ts";
import { mark, namespaceOf } from "./names.ts";
import type { Deployment, Job } from "./objects.ts";
import { refusalsOf, withOverlay } from "./overlays.ts";
import { secretOf, volumeNames } from "./pod.ts";
import { httpRoutesOf, servicesOf } from "./routes.ts";
import { secretObject } from "./secrets.ts";
import { deploymentOf, isEndless, jobName, jobOf, revisionFor } from "./slots.ts";
import { levelFor, namespaceObject, networkPolicyOf, type Doors, type SecurityLevel } from "./surroundings.ts";
import { taskJob } from "./tasks.ts";
import { claimOf } from "./volumes.ts";

/** How a release stands in the cluster, as far as its objects say so. */
export interface Standing {
  readonly target: TrackTarget;
  /** The letter of its slot. */
  readonly slot: string;
  /** What the namespace has; undefined: somebody else has set it. */
  readonly level: SecurityLevel | undefined;
}

/** A release that nobody asked for yet: one instance of it, in the first slot. */
export const standingOf = (workload: Workload): Standing => ({
  target: { ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 },
  slot: "a",
  level: levelFor(workload.securityProfile),
});

/** The objects as they are applied; values of secrets are left out. */
export function renderedOf(installation: string, { target, slot, level }: Standing, doors?: Doors): Rendered[] {
  const { workload } = target;
  const secret = secretOf(installation, workload);
  const main = mainOf(installation, target, slot);
  const { [mark.order]: _order, ...annotations } = main.metadata.annotations ?? {};
  return [
    // In a namespace of others, what surrounds it is theirs.
    ...(workload.ref.namespace === undefined
      ? [shown(namespaceObject(installation, workload, level)), shown(networkPolicyOf(installation, workload.ref, doors))]
      : []),
    // One that is stopped has none.
    ...(target.replicas === 0 ? [] : [shown({ ...main, metadata: { ...main.metadata, annotations } })]),
    ...(isEndless(target) && target.replicas > 1 ? [shown(withOverlay(budgetOf(installation, workload.ref), workload))] : []),
    ...(secret === undefined
      ? []
      : [{ ...shown(secretObject(installation, workload, secret.name)), hidden: Object.keys(secret.data).map((name) => `data.${name}`) }]),
    ...volumeNames(workload).map((volume) => shown(withOverlay(claimOf(installation, workload, volume), workload))),
  ];
}

export const shown = (body: KubeObject): Rendered => ({ name: `${body.kind} ${body.metadata.name}`, body });

const mainOf = (installation: string, target: TrackTarget, slot: string): Deployment | Job =>
  isEndless(target)
    ? deploymentOf(installation, target, slot)
    : jobOf(installation, target, jobName(target.ref.component, revisionFor(target), "0"));

/** Why the workload's overlays may not be applied, of all kinds of objects that it may become. */
export function overlayRefusalsOf(installation: string, workload: Workload): OverlayRefusal[] {
  const { kubernetes: _overlays, ...bare } = workload;
  return refusalsOf(everyKindOf(installation, bare), workload);
}

/**
 * A pod of the workload, one object of each kind that its overlays speak of, and a pod of a run where they speak of runs, named so that they are nobody's: what a cluster says of
 * them, it will say of the real ones. Of a claim it is told by the claim itself, which is made before anything runs. Errors: EngineFailure (`overlay_refused`).
 */
export function trialsOf(installation: string, workload: Workload): KubeObject[] {
  const { target, slot } = standingOf(workload);
  const spokenOf = new Set(Object.keys(workload.kubernetes ?? {}).filter((kind) => kind !== "PersistentVolumeClaim"));
  const all = everyKindOf(installation, workload).filter(({ kind }) => spokenOf.has(kind));
  const trials = [
    ...new Map(all.map((object) => [object.kind, object])).values(),
    podOf(workload, mainOf(installation, target, slot)),
    ...(spokenOf.has("Job") ? [podOf(workload, runOf(installation, workload))] : []),
  ];
  return trials.map((object) => ({ ...object, metadata: { ...object.metadata, name: `${workload.ref.component}--try` } }));
}

/** As who makes it will: a Deployment or Job is taken also when its pods are not. */
function podOf({ ref }: Workload, { spec: { template } }: Deployment | Job): KubeObject & { readonly spec: object } {
  const metadata = { ...template.metadata, namespace: namespaceOf(ref), name: ref.component };
  return { apiVersion: apiVersionOf("Pod"), kind: "Pod", metadata, spec: template.spec };
}

const runOf = (installation: string, workload: Workload): Job =>
  taskJob(installation, { id: "try", workload, command: workload.command, deadline: 1_000, tty: false });

/** Those of its release, of a run of it, and of its traffic, as far as they can be told before there is any. */
function everyKindOf(installation: string, workload: Workload): KubeObject[] {
  const { target, slot } = standingOf(workload);
  const order = {
    installation,
    entry: entryOf(workload),
    gateway: { namespace: "default", name: "any" },
    stable: workload.ref.component,
    pinOf: () => "",
    releaseOf: () => undefined,
  };
  return [
    mainOf(installation, target, slot),
    runOf(installation, workload),
    withOverlay(budgetOf(installation, workload.ref), workload),
    withOverlay(claimOf(installation, workload, "any"), workload),
    ...servicesOf(order),
    ...httpRoutesOf(order),
  ];
}

function entryOf({ ref, ports, kubernetes }: Workload): TrafficEntry {
  const numbers = portNumbers(ports);
  return {
    ref,
    ports: ports.map(({ name, protocol }) => ({
      name,
      protocol,
      hosts: protocol === "http" ? [{ host: "try.invalid", path: "/" }] : [],
      internal: 0,
      inside: { host: "", port: numbers[name] ?? 0 },
      tracks: [],
    })),
    rules: [],
    holdFor: 0,
    drainTimeout: 0,
    stopped: false,
    ...(kubernetes === undefined ? {} : { kubernetes }),
  };
}
