// How a release becomes a pod: the template that Deployments and Jobs make their pods of. Pure; `render` shows it, and the engine applies it.
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
import type { Command, Probe } from "@berth/contract/spec.ts";
import { argumentsOf } from "../../core/command.ts";
import { portNumbers } from "../../core/ports.ts";
import type { TrackTarget, Workload } from "../engine.ts";
import { holdsSecret, identityOf, mainPort, portVariables, variableName } from "../workload.ts";
import { componentLabels, digest, mark, revisionOf, slotName } from "./names.ts";
import type { EnvVar, PodTemplate } from "./objects.ts";

/**
 * Seconds that a pod waits before SIGTERM, whoever ends it: the time in which routers and gateways learn that it takes no new requests.
 * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-flow
 */
export const lastRequests = 2;

/**
 * Where in a volume its content is. A volume's own folder belongs to its storage (`lost+found`, which databases do not start beside), and content that comes from an archive
 * takes this folder's place in one step.
 */
export const contentFolder = "content";

export interface PodOrder {
  readonly installation: string;
  readonly workload: Workload;
  readonly track: TrackTarget["track"];
  readonly restart: number;
  /** Absent for what is in no slot: tasks, and instances that may end. */
  readonly slot?: string;
  readonly task?: { readonly id: string; readonly command: Command; readonly tty: boolean };
}

/** The Secret that holds the values of a release's secret variables: immutable, so that an old pod that restarts reads what it was started with. */
export function secretOf(
  installation: string,
  workload: Workload,
): { readonly name: string; readonly data: Readonly<Record<string, string>> } | undefined {
  const secret = Object.entries(workload.env).filter(([, value]) => holdsSecret(workload, value));
  if (secret.length === 0) return undefined;
  const data = Object.fromEntries(secret.toSorted(([one], [other]) => (one < other ? -1 : 1)));
  // By what it is of and says: one name is never two contents.
  return { name: `${workload.ref.component}--${digest(`${installation} ${workload.releaseHash} ${JSON.stringify(data)}`)}`, data };
}

export function podTemplate(order: PodOrder): PodTemplate {
  const { workload, task } = order;
  return {
    metadata: {
      labels: podLabels(order),
      annotations: { [mark.releaseHash]: workload.releaseHash, [mark.restart]: String(order.restart) },
    },
    spec: {
      containers: [containerOf(order)],
      ...(workload.volumes.length === 0
        ? {}
        : { volumes: volumeNames(workload).map((name) => ({ name, persistentVolumeClaim: { claimName: name } })) }),
      restartPolicy: restartPolicy(order),
      terminationGracePeriodSeconds: graceOf(task === undefined ? workload.gracePeriod + lastRequests * 1_000 : workload.gracePeriod),
      // A program gets no rights in the cluster, and no variables of services that it did not ask for.
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(task === undefined ? spreadOf(order) : {}),
      ...podSecurity(workload.securityProfile),
    },
  };
}

/**
 * Instances of one wave go to different nodes, and to different zones, as far as there are any. Zones by affinity: a scheduler weighs no node that lacks the label of any
 * constraint, so that one about zones would undo the one about nodes in a cluster without zones. https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
 */
function spreadOf({ workload, track, restart }: PodOrder): object {
  const revision = revisionOf({ releaseHash: workload.releaseHash, restart }, track);
  const { stack, component } = workload.ref;
  const labelSelector = { matchLabels: { [mark.stack]: stack, [mark.component]: component, [mark.revision]: revision } };
  const term = { topologyKey: "topology.kubernetes.io/zone", labelSelector };
  return {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "ScheduleAnyway",
        // A node that is being emptied is no place to spread to.
        nodeTaintsPolicy: "Honor",
        labelSelector,
      },
    ],
    affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: term }] } },
  };
}

/** Whole seconds of ms, as pods have them; never none, which would mean that nobody waits for the end. */
export const graceOf = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000));

export const volumeNames = (workload: Workload): string[] => [...new Set(workload.volumes.map(({ volume }) => volume))];

export function podLabels({ installation, workload, track, restart, slot, task }: PodOrder): Record<string, string> {
  const common = componentLabels(installation, workload);
  if (task !== undefined) return { ...common, [mark.role]: "task", [mark.task]: digest(task.id) };
  return {
    ...common,
    [mark.role]: "instance",
    [mark.track]: track,
    [mark.revision]: revisionOf({ releaseHash: workload.releaseHash, restart }, track),
    [mark.release]: String(workload.releaseNumber),
    [mark.serving]: "yes",
    ...(slot === undefined ? {} : { [mark.slot]: slot, "app.kubernetes.io/instance": slotName(workload.ref.component, slot) }),
  };
}

function containerOf(order: PodOrder): PodTemplate["spec"]["containers"][0] {
  const { workload, task } = order;
  const ports = portNumbers(workload.ports);
  const command = argumentsOf(task?.command ?? workload.command);
  const entrypoint = workload.artifact.kind === "image" ? workload.artifact.entrypoint : undefined;
  const { memory, cpu } = workload.resources;
  const limits = { ...(memory === undefined ? {} : { memory: String(memory) }), ...(cpu === undefined ? {} : { cpu: millicores(cpu) }) };
  const requests = { ...limits, ...(cpu === undefined ? {} : { cpu: millicores(Math.max(leastCpu, cpu / cpuShare)) }) };
  return {
    name: workload.ref.component,
    image: imageOf(workload),
    ...(entrypoint === undefined ? {} : { command: entrypoint }),
    ...(command.length === 0 ? {} : { args: command.map(literal) }),
    ...(workload.workdir === "." ? {} : { workingDir: workload.workdir }),
    env: environmentOf(order, ports),
    ...(workload.ports.length === 0
      ? {}
      : { ports: workload.ports.map(({ name }) => ({ name: portName(name), containerPort: ports[name], protocol: "TCP" })) }),
    ...(Object.keys(limits).length === 0 ? {} : { resources: { limits, requests } }),
    ...(workload.volumes.length === 0
      ? {}
      : {
          volumeMounts: workload.volumes.map(({ volume, path, readOnly }) => ({
            name: volume,
            mountPath: path,
            subPath: contentFolder,
            ...(readOnly === true ? { readOnly } : {}),
          })),
        }),
    ...(task === undefined ? { ...probesOf(workload, ports), lifecycle: { preStop: { sleep: { seconds: lastRequests } } } } : {}),
    ...(task?.tty === true ? { tty: true, stdin: true } : {}),
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...containerSecurity(workload.securityProfile),
  };
}

/**
 * Of a limit of cpu, this part is kept free for it: a limit is what it may have at most, most programs need little of it most of the time, and a node's cores are shared when all of
 * them want some. Memory cannot be shared that way: all of it is kept free.
 */
const cpuShare = 4;
/** The least that a limit can be, in cores. */
const leastCpu = 0.01;
const millicores = (cores: number): string => `${Math.round(cores * 1_000)}m`;

/** Names of ports are IANA's: 15 characters at most. */
export const portName = (name: string): string => (name.length <= 15 ? name : `p-${digest(name).slice(0, 12)}`);

function imageOf({ artifact }: Workload): string {
  if (artifact.kind === "image") return artifact.reference;
  throw new TypeError("a bundle is no image");
}

/** A Deployment's pods are always started again; what may end is a Job's. */
function restartPolicy({ task, workload }: PodOrder): string {
  if (task !== undefined || workload.restart === "never") return "Never";
  return workload.restart === "always" ? "Always" : "OnFailure";
}

/** The container's name for itself is its pod's, which is the instance's id. */
function environmentOf(order: PodOrder, ports: Readonly<Record<string, number>>): EnvVar[] {
  const { workload } = order;
  const secret = secretOf(order.installation, workload);
  const volumes = workload.volumes.map(({ volume, path }) => [`BERTH_VOLUME_${variableName(volume)}`, path]);
  const plain: Record<string, string> = {
    ...workload.artifactEnv,
    ...portVariables(workload, ports),
    ...workload.env,
    ...(Object.fromEntries(volumes) as Record<string, string>),
    ...identityOf(workload, ""),
  };
  return Object.entries(plain).map(([name, value]): EnvVar => {
    if (name === "BERTH_INSTANCE") return { name, valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
    if (secret !== undefined && Object.hasOwn(secret.data, name) && workload.env[name] === value)
      return { name, valueFrom: { secretKeyRef: { name: secret.name, key: name } } };
    return { name, value: literal(value) };
  });
}

/** Kubernetes replaces `$(NAME)` in values and arguments by variables; here a text is what it says. */
const literal = (text: string): string => text.replaceAll("$(", () => "$$(");

function probesOf(workload: Workload, ports: Readonly<Record<string, number>>): Record<string, unknown> {
  const { startup, liveness } = workload.probes;
  const main = mainPort(workload);
  // Without a probe of its own a program is ready once it listens.
  const readiness = workload.probes.readiness ?? (main === undefined ? undefined : { check: { type: "tcp" as const }, period: 1_000 });
  const one = (probe: Probe): Record<string, unknown> => probeOf(probe, main === undefined ? undefined : ports[main]);
  return {
    ...(startup === undefined ? {} : { startupProbe: { ...one(startup), successThreshold: 1 } }),
    ...(readiness === undefined ? {} : { readinessProbe: one(readiness) }),
    ...(liveness === undefined ? {} : { livenessProbe: { ...one(liveness), successThreshold: 1 } }),
  };
}

const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000));

function probeOf(
  { check, initialDelay, period, timeout, successThreshold, failureThreshold }: Probe,
  main: number | undefined,
): Record<string, unknown> {
  return {
    ...checkOf(check, main),
    ...(initialDelay === undefined ? {} : { initialDelaySeconds: Math.ceil(initialDelay / 1_000) }),
    periodSeconds: period === undefined ? 2 : seconds(period),
    ...(timeout === undefined ? {} : { timeoutSeconds: seconds(timeout) }),
    ...(successThreshold === undefined ? {} : { successThreshold }),
    ...(failureThreshold === undefined ? {} : { failureThreshold }),
  };
}

function checkOf(check: Probe["check"], main: number | undefined): Record<string, unknown> {
  switch (check.type) {
    case "http": {
      const httpHeaders = Object.entries(check.headers ?? {}).map(([name, value]) => ({ name, value }));
      return { httpGet: { path: check.path, port: check.port ?? main, ...(httpHeaders.length === 0 ? {} : { httpHeaders }) } };
    }
    case "tcp":
      return { tcpSocket: { port: check.port ?? main } };
    case "exec":
      return { exec: { command: argumentsOf(check.command) } };
    default:
      throw new TypeError(`unknown check ${String(check satisfies never)}`);
  }
}

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
function podSecurity(profile: Workload["securityProfile"]): Record<string, unknown> {
  if (profile !== "restricted") return {};
  return {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    // The first process of a container gets no SIGTERM that it does not handle itself; what Berth built is given one to be its parent, as on Docker.
    shareProcessNamespace: true,
  };
}

function containerSecurity(profile: Workload["securityProfile"]): Record<string, unknown> {
  switch (profile) {
    case "restricted":
      return { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } } };
    case "baseline":
      return { securityContext: { capabilities: { drop: ["NET_RAW"] } } };
    case "privileged":
      return { securityContext: { privileged: true } };
    default:
      throw new TypeError(`unknown security profile ${String(profile satisfies never)}`);
  }
}
