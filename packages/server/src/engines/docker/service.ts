// How a release becomes a service of a Swarm: one service of one replica is one instance. Made of what its container would be, so that every field that reaches the one
// reaches the other. Pure. https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Service/operation/ServiceCreate
import { containerBody, containerName, networkName } from "./container.ts";
import { label, type ContainerOrder } from "./labels.ts";

/** What a swarm is told of where a task may run; see decision 35. */
export const constraint = {
  node: (id: string): string => `node.id==${id}`,
  /** No node has this id: what must not run. */
  nowhere: "node.id==berth-stopped",
} as const;

export interface ServiceSpec {
  readonly Name: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly TaskTemplate: {
    readonly ContainerSpec: Readonly<Record<string, unknown>> & {
      readonly Env?: readonly string[] | null;
      readonly Labels?: Readonly<Record<string, string>> | null;
    };
    readonly RestartPolicy: { readonly Condition: string; readonly Delay: number };
    readonly Placement?: { readonly Constraints?: readonly string[] | null } | null;
    readonly ForceUpdate?: number;
    readonly [other: string]: unknown;
  };
  readonly Mode: { readonly Replicated: { readonly Replicas: number } };
  readonly [other: string]: unknown;
}

/** Beyond those that containers have: what the gates go by, on every task's container. */
export const addressLabel = "berth.address";

/** ns between the end of a run and the next one. Swarm has one for all. */
const restartDelay = 1_000_000_000;
/** A service's name may be no longer. */
const longestName = 63;

/** As people meet it in `docker service ls`. */
export function serviceName(order: Pick<ContainerOrder, "ref" | "id">): string {
  const name = containerName(order);
  // The instance's own name says most, and is its alone.
  return name.length <= longestName ? name : order.id;
}

/** `pinned`: the only node that it may ever run on. */
export function serviceSpec(order: ContainerOrder, { constraints }: { readonly constraints: readonly string[] }): ServiceSpec {
  const body = containerBody(order, { init: true });
  const host = body.HostConfig as {
    readonly Mounts: readonly object[];
    readonly PidsLimit: number;
    readonly Memory?: number;
    readonly NanoCpus?: number;
    readonly CapDrop?: readonly string[];
    readonly Init?: boolean;
    readonly LogConfig: { readonly Type: string; readonly Config: object };
    readonly RestartPolicy: { readonly Name: string };
  };
  const { [label.order]: _order, ...shown } = body.Labels;
  return {
    Name: serviceName(order),
    Labels: body.Labels,
    TaskTemplate: {
      ContainerSpec: {
        Image: body.Image,
        // Swarm's words: `Command` is the entry point, `Args` what follows it.
        ...(body.Entrypoint === undefined ? {} : { Command: body.Entrypoint }),
        ...(body.Cmd === undefined ? {} : { Args: body.Cmd }),
        Env: body.Env,
        ...(body.WorkingDir === undefined ? {} : { Dir: body.WorkingDir }),
        Hostname: body.Hostname,
        TTY: body.Tty,
        Labels: { ...shown, [addressLabel]: order.address },
        HealthCheck: body.Healthcheck,
        StopGracePeriod: Math.max(1, order.workload.gracePeriod) * 1_000_000,
        Mounts: host.Mounts,
        ...(host.CapDrop === undefined ? {} : { CapabilityDrop: host.CapDrop }),
        // Older daemons do not know it and leave it out.
        ...(order.workload.securityProfile === "restricted" ? { Privileges: { NoNewPrivileges: true } } : {}),
        ...(host.Init === undefined ? {} : { Init: host.Init }),
      },
      Resources: {
        Limits: {
          Pids: host.PidsLimit,
          ...(host.Memory === undefined ? {} : { MemoryBytes: host.Memory }),
          ...(host.NanoCpus === undefined ? {} : { NanoCPUs: host.NanoCpus }),
        },
      },
      RestartPolicy: { Condition: conditionOf(host.RestartPolicy.Name), Delay: restartDelay },
      Placement: { Constraints: constraints },
      Networks: [{ Target: networkName(order.fence.installation, order.workload.stackId) }],
      LogDriver: { Name: host.LogConfig.Type, Options: host.LogConfig.Config },
    },
    Mode: { Replicated: { Replicas: 1 } },
    UpdateConfig: { Parallelism: 1, Order: "stop-first", FailureAction: "continue" },
    // The kernel's load balancing (IPVS) is asked for nothing: the edge routes.
    EndpointSpec: { Mode: "dnsrr" },
  };
}

function conditionOf(policy: string): string {
  return policy === "always" ? "any" : policy === "no" ? "none" : policy;
}
