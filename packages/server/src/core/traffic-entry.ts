// The traffic entry of a component from its ports, routes and the endpoints that the planner chose. Pure.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { contentHash } from "./canonical.ts";

export interface EntryParts {
  readonly stack: string; readonly component: string; readonly stopped: boolean; readonly spec: ComponentSpec;
  readonly routes: readonly { readonly host: string; readonly path: string; readonly portName: string }[];
  readonly internalPorts: ReadonlyMap<string, number>;
}
export interface EntryEndpoint { readonly instance: string; readonly releaseHash: string; readonly state: "active" | "draining"; readonly addresses: Readonly<Record<string, { readonly host: string; readonly port: number }>> }

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

export function trafficEntry(parts: EntryParts, endpoints: readonly EntryEndpoint[]): Entry {
  return {
    ref: { stack: parts.stack, component: parts.component },
    ports: parts.spec.ports.flatMap((port) => {
      const internal = parts.internalPorts.get(port.name);
      if (internal === undefined) return [];
      return [{
        name: port.name, protocol: port.protocol, internal,
        hosts: port.protocol === "http" ? parts.routes.filter((route) => route.portName === port.name).map(({ host, path }) => ({ host, path })) : [],
        ...(port.published !== undefined && port.protocol === "tcp" ? { published: port.published } : {}),
        tracks: [{ name: "stable", weight: 100, endpoints: endpoints.flatMap((endpoint) => {
          const address = endpoint.addresses[port.name];
          return address === undefined ? [] : [{ instance: endpoint.instance, releaseHash: endpoint.releaseHash, host: address.host, port: address.port, state: endpoint.state }];
        }) }],
      }];
    }),
    rules: [], holdFor, drainTimeout: parts.spec.drainTimeout, stopped: parts.stopped,
  };
}

/** Changes when anything but the endpoints does. */
export function entryHash(parts: EntryParts): string {
  return contentHash(trafficEntry(parts, []));
}
