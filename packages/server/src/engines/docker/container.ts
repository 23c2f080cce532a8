// How a release becomes a container: the body of the Docker Engine API's create call. Pure; `render` shows it, and the agent sends it.
// https://docs.docker.com/reference/api/engine/version/v1.44/#tag/Container/operation/ContainerCreate
import { portNumbers } from "../../core/ports.ts";
import type { Workload } from "../engine.ts";
import { argumentsOf } from "../../core/command.ts";
import { identityOf, mostProcesses, portVariables, variableName } from "../workload.ts";
import { label, labelsOf, type ContainerOrder } from "./labels.ts";

/** What differs between daemons. */
export interface DaemonTraits {
  /** Whether it has a small first process that passes signals on and reaps what is orphaned. */
  readonly init: boolean;
  /** A file of the host that every container of the stack sees as its /etc/hosts; absent: its names do not resolve. */
  readonly hosts?: string | undefined;
}

export interface ContainerBody {
  readonly Hostname: string;
  readonly Image: string;
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir?: string;
  readonly Tty: boolean;
  readonly OpenStdin: boolean;
  readonly Labels: Readonly<Record<string, string>>;
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
  readonly StopTimeout: number;
  readonly HostConfig: Readonly<Record<string, unknown>>;
  readonly NetworkingConfig: { readonly EndpointsConfig: Readonly<Record<string, object>> };
}

/** Bytes and number of the daemon's own log files: a buffer until the collector has read them. */
const daemonLog = { "max-size": "10m", "max-file": "3" };
/** What Kubernetes' "baseline" leaves of Docker's default capabilities: all but these. https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline */
const beyondBaseline = ["NET_RAW"];

/** What a volume is known by, whoever makes it. */
export const volumeLabels = (
  installation: string,
  { stackId, stack, volume }: { readonly stackId: string; readonly stack: string; readonly volume: string },
): Record<string, string> => ({
  [label.installation]: installation,
  [label.stackId]: stackId,
  [label.stack]: stack,
  [label.volume]: volume,
});

/** The installation is in it: two of them may share a daemon. */
export const volumeName = (installation: string, stackId: string, volume: string): string =>
  `berth-${short(installation)}-${stackId}-${volume}`.toLowerCase();
export const networkName = (installation: string, stackId: string): string => `berth-${short(installation)}-${stackId}`.toLowerCase();
/** Of a component's gate in a Swarm. */
export const gateName = (installation: string, stackId: string, component: string): string =>
  `${networkName(installation, stackId)}-${component}-gate`;
/** As people meet it in `docker ps`. */
export const containerName = (order: Pick<ContainerOrder, "ref" | "id">): string => `${order.ref.stack}-${order.id}`;

function short(installation: string): string {
  return installation.replace(/[^A-Za-z0-9]/g, "").slice(0, 8);
}

export function containerBody(order: ContainerOrder, traits: DaemonTraits): ContainerBody {
  const { workload, task } = order;
  const { installation } = order.fence;
  const network = networkName(installation, workload.stackId);
  const ports = portNumbers(workload.ports);
  // They follow the image's own entry point; none = what the image says.
  const command = argumentsOf(task?.command ?? workload.command);
  const entrypoint = workload.artifact.kind === "image" ? workload.artifact.entrypoint : undefined;
  const { memory, cpu, processes = mostProcesses } = workload.resources;
  return {
    Hostname: order.id,
    Image: imageOf(workload),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(command.length === 0 ? {} : { Cmd: command }),
    Env: Object.entries(environmentOf(order, ports)).map(([name, value]) => `${name}=${value}`),
    ...(workload.workdir === "." ? {} : { WorkingDir: workload.workdir }),
    Tty: task?.tty === true,
    OpenStdin: false,
    Labels: labelsOf(order),
    ExposedPorts: Object.fromEntries(Object.values(ports).map((port) => [`${String(port)}/tcp`, {}])),
    // The edge probes; the image's own check would be asked beside that.
    Healthcheck: { Test: ["NONE"] },
    StopTimeout: Math.ceil(workload.gracePeriod / 1_000),
    HostConfig: {
      NetworkMode: network,
      RestartPolicy: { Name: restartPolicy(order) },
      LogConfig: { Type: "json-file", Config: daemonLog },
      Mounts: [
        ...workload.volumes.map((mount) => ({
          Type: "volume",
          Source: volumeName(installation, workload.stackId, mount.volume),
          Target: mount.path,
          ReadOnly: mount.readOnly === true,
          VolumeOptions: {
            Labels: { [label.installation]: installation, [label.stackId]: workload.stackId, [label.volume]: mount.volume },
          },
        })),
        // Not as `Binds`: of a file that is not there the daemon would make a folder.
        ...(traits.hosts === undefined ? [] : [{ Type: "bind", Source: traits.hosts, Target: "/etc/hosts", ReadOnly: true }]),
      ],
      PidsLimit: processes,
      // Without swap beyond it: who asks for a limit wants to meet it.
      ...(memory === undefined ? {} : { Memory: memory, MemorySwap: memory }),
      ...(cpu === undefined ? {} : { NanoCpus: Math.round(cpu * 1e9) }),
      ...securityOf(workload.securityProfile, traits),
    },
    NetworkingConfig: { EndpointsConfig: { [network]: { IPAMConfig: { IPv4Address: order.address }, Aliases: [order.id] } } },
  };
}

function imageOf({ artifact }: Workload): string {
  if (artifact.kind === "image") return artifact.reference;
  throw new TypeError("a bundle is no image");
}

/** The daemon heals crashes by itself, also while Berth is away. */
function restartPolicy({ task, workload }: ContainerOrder): string {
  if (task !== undefined || workload.restart === "never") return "no";
  return workload.restart === "always" ? "always" : "on-failure";
}

function securityOf(profile: Workload["securityProfile"], traits: DaemonTraits): Record<string, unknown> {
  switch (profile) {
    case "restricted":
      return {
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
        // What Berth built runs its program as the first process, for which the kernel ignores a SIGTERM that it does not handle itself.
        ...(traits.init ? { Init: true } : {}),
      };
    case "baseline":
      return { CapDrop: beyondBaseline };
    case "privileged":
      return { Privileged: true };
    default:
      throw new TypeError(`unknown security profile ${String(profile satisfies never)}`);
  }
}

function environmentOf({ workload, id }: ContainerOrder, ports: Readonly<Record<string, number>>): Record<string, string> {
  const volumes = workload.volumes.map((mount) => [`BERTH_VOLUME_${variableName(mount.volume)}`, mount.path]);
  return {
    ...workload.artifactEnv,
    // An image from outside may mean something else by PORT.
    ...portVariables(workload, ports),
    ...workload.env,
    ...(Object.fromEntries(volumes) as Record<string, string>),
    ...identityOf(workload, id),
  };
}
