// The traffic entry of a component from its ports, routes and the endpoints that the planner chose. Pure, and equal for equal input: its hash tells whether the edge has it.
import type { ComponentSpec, Port } from "@berth/contract/spec.ts";

export interface EntryParts {
  readonly stack: string; readonly component: string; readonly stopped: boolean; readonly spec: ComponentSpec;
  readonly routes: readonly { readonly host: string; readonly path: string; readonly portName: string }[];
  /** Port name -> the stable loopback port for siblings; a port without one is not routed. */
  readonly internalPorts: ReadonlyMap<string, number>;
}
type Addresses = Readonly<Record<string, { readonly host: string; readonly port: number }>>;
export interface EntryEndpoint { readonly instance: string; readonly releaseHash: string; readonly state: "active" | "draining"; readonly addresses: Addresses }

/** ms that a request waits for a ready instance while a component is recreated or starts. */
const holdFor = 10_000;

export interface Entry {
  readonly ref: { readonly stack: string; readonly component: string };
  readonly ports: readonly {
    readonly name: string; readonly protocol: "http" | "tcp"; readonly hosts: readonly { readonly host: string; readonly path: string }[]; readonly published?: number; readonly internal: number;
    readonly tracks: readonly { readonly name: string; readonly weight: number; readonly endpoints: readonly { readonly instance: string; readonly releaseHash: string; readonly host: string; readonly port: number; readonly state: "active" | "draining" }[] }[];
  }[];
  readonly rules: readonly never[];
  readonly holdFor: number; readonly drainTimeout: number; readonly stopped: boolean;
}

/** An instance whose address is not known yet is left out until it is. */
export function trafficEntry(parts: EntryParts, endpoints: readonly EntryEndpoint[]): Entry {
  const { ports } = parts.spec;
  return {
    ref: { stack: parts.stack, component: parts.component },
    ports: ports.flatMap((port) => {
      const internal = parts.internalPorts.get(port.name);
      if (internal === undefined) return [];
      return [{
        name: port.name, protocol: port.protocol, internal,
        hosts: port.protocol === "http" ? parts.routes.filter((route) => route.portName === port.name).map(({ host, path }) => ({ host, path })) : [],
        ...(port.published !== undefined && port.protocol === "tcp" ? { published: port.published } : {}),
        tracks: [{ name: "stable", weight: 100, endpoints: endpoints.flatMap((endpoint) => {
          const address = addressOf(endpoint.addresses, port, ports.length);
          return address === undefined ? [] : [{ instance: endpoint.instance, releaseHash: endpoint.releaseHash, host: address.host, port: address.port, state: endpoint.state }];
        }) }],
      }];
    }),
    rules: [], holdFor, drainTimeout: parts.spec.drainTimeout, stopped: parts.stopped,
  };
}

/** A release that only renames its one port must not take the instances of the release before it out of the router (promise 3). */
function addressOf(addresses: Addresses, port: Port, ports: number): { readonly host: string; readonly port: number } | undefined {
  const all = Object.values(addresses);
  return addresses[port.name] ?? (ports === 1 && all.length === 1 ? all[0] : undefined);
}
