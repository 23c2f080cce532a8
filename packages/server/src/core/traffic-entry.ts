// The traffic entry of a component from its ports, routes and the endpoints that the planner chose. Pure, and equal for equal input: its hash tells whether the edge has it.
import type { Overlays } from "@berth/contract/overlay.ts";
import type { ComponentSpec, Port } from "@berth/contract/spec.ts";
import { portNumbers } from "./ports.ts";

/** What of a release decides where its instances are reached. */
export type EntrySpec = Pick<ComponentSpec, "kind" | "ports" | "domains" | "maxBody" | "maxConnections" | "kubernetes">;
export interface EntryParts {
  readonly stack: string;
  /** Of an imported stack. */
  readonly namespace?: string | undefined;
  /** Of the stack's cluster: what default hosts end with. */
  readonly domain: string;
  readonly component: string;
  readonly stopped: boolean;
  readonly drainTimeout: number;
  /** Releases whose instances may be reached: the wanted one first, whose word on a port or a host counts; then those that are on their way out. */
  readonly releases: readonly { readonly hash: string; readonly spec: EntrySpec }[];
  /** Hosts with path, joined by a space, and public TCP ports that belong to the component. */
  readonly hosts: ReadonlySet<string>;
  readonly published: ReadonlySet<number>;
  /** Port name -> the stable loopback port for siblings; a port without one is not routed. */
  readonly internalPorts: ReadonlyMap<string, number>;
  /** Where the edge stands for it on the stack's own network, at the ports that its programs have. */
  readonly door?: string | undefined;
  /** It is put in force by objects of a cluster, over which the wanted release's overlays are merged. */
  readonly takesOverlays?: boolean;
}
type Addresses = Readonly<Record<string, { readonly host: string; readonly port: number }>>;
export interface EntryEndpoint {
  readonly instance: string;
  readonly releaseHash: string;
  readonly state: "active" | "draining";
  readonly addresses: Addresses;
}

/** ms that a request waits for a ready instance while a component is recreated or starts. */
const holdFor = 10_000;

export interface Entry {
  readonly ref: { readonly stack: string; readonly component: string; readonly namespace?: string };
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: "http" | "tcp";
    readonly hosts: readonly { readonly host: string; readonly path: string; readonly https?: "redirect" }[];
    readonly published?: number;
    readonly internal: number;
    readonly inside?: { readonly host: string; readonly port: number };
    readonly tracks: readonly {
      readonly name: string;
      readonly weight: number;
      readonly endpoints: readonly {
        readonly instance: string;
        readonly releaseHash: string;
        readonly host: string;
        readonly port: number;
        readonly state: "active" | "draining";
        readonly http2?: boolean;
      }[];
    }[];
  }[];
  readonly rules: readonly never[];
  readonly holdFor: number;
  readonly limits?: { readonly maxBody?: number; readonly maxConnections?: number };
  readonly drainTimeout: number;
  readonly kubernetes?: Pick<Overlays, "Service" | "HTTPRoute">;
  readonly stopped: boolean;
}

export interface HostRoute {
  readonly host: string;
  readonly path: string;
  readonly portName: string;
  readonly isDefault: boolean;
  readonly https?: "redirect";
}

/** The hosts that lead to a component: `<component>.<stack>.<domain>` for a web component's first http port, and its domains. `domain`: of the stack's cluster. */
export function wantedRoutes(stack: { readonly name: string; readonly domain: string }, component: string, spec: EntrySpec): HostRoute[] {
  const port = spec.ports.find((candidate) => candidate.protocol === "http");
  if (port === undefined || spec.kind === "worker" || spec.kind === "cron") return [];
  const fallback: HostRoute[] =
    spec.kind === "web" ? [{ host: `${component}.${stack.name}.${stack.domain}`, path: "/", portName: port.name, isDefault: true }] : [];
  return [
    ...spec.domains.map(({ host, path, https }) => ({
      host,
      path: path ?? "/",
      portName: port.name,
      isDefault: false,
      ...(https === undefined ? {} : { https }),
    })),
    ...fallback,
  ];
}

/**
 * An instance whose address is not known yet is left out until it is. Ports of a release on its way out stay as long as the component holds them, so that its
 * requests end well; its hosts only while an instance of it serves (promise 3).
 */
export function trafficEntry(parts: EntryParts, endpoints: readonly EntryEndpoint[]): Entry {
  const [wanted] = parts.releases;
  const serving = parts.releases.filter(
    (release) => release === wanted || endpoints.some((endpoint) => endpoint.releaseHash === release.hash && endpoint.state === "active"),
  );
  const routes = firstOfEach(
    serving.flatMap(({ spec }) => wantedRoutes({ name: parts.stack, domain: parts.domain }, parts.component, spec)),
    ({ host, path }) => `${host} ${path}`,
  ).filter(({ host, path }) => parts.hosts.has(`${host} ${path}`));
  const ports = firstOfEach(
    parts.releases.flatMap(({ spec }) => spec.ports.map((port) => ({ ...port, siblings: spec.ports.length }))),
    (port) => port.name,
  );
  // A renamed port may keep its public number: one listener, for the wanted release's.
  const publishing = new Set(
    firstOfEach(
      ports.filter((port) => port.protocol === "tcp" && port.published !== undefined && parts.published.has(port.published)),
      (port) => String(port.published),
    ).map((port) => port.name),
  );
  return {
    ref: { stack: parts.stack, component: parts.component, ...(parts.namespace === undefined ? {} : { namespace: parts.namespace }) },
    ports: ports.flatMap(({ siblings, ...port }) => {
      const internal = parts.internalPorts.get(port.name);
      if (internal === undefined) return [];
      return [
        {
          name: port.name,
          protocol: port.protocol,
          internal,
          ...insideOf(parts, port),
          hosts:
            port.protocol === "http"
              ? routes
                  .filter((route) => route.portName === port.name)
                  .map(({ host, path, https }) => ({ host, path, ...(https === undefined ? {} : { https }) }))
              : [],
          ...(port.published !== undefined && publishing.has(port.name) ? { published: port.published } : {}),
          tracks: [
            {
              name: "stable",
              weight: 100,
              endpoints: endpoints.flatMap((endpoint) => {
                const address = addressOf(endpoint.addresses, port, siblings);
                return address === undefined
                  ? []
                  : [
                      {
                        instance: endpoint.instance,
                        releaseHash: endpoint.releaseHash,
                        host: address.host,
                        port: address.port,
                        state: endpoint.state,
                        ...(speaksHttp2(parts, endpoint, port) ? { http2: true } : {}),
                      },
                    ];
              }),
            },
          ],
        },
      ];
    }),
    rules: [],
    holdFor,
    ...limitsOf(wanted?.spec),
    drainTimeout: parts.drainTimeout,
    ...(parts.takesOverlays === true ? overlaysOf(wanted?.spec) : {}),
    stopped: parts.stopped,
  };
}

/** Absent where there are none, so that the entry of a component without limits stays what it was. */
function limitsOf(spec: EntrySpec | undefined): Pick<Entry, "limits"> {
  const { maxBody, maxConnections } = spec ?? {};
  if (maxBody === undefined && maxConnections === undefined) return {};
  return { limits: { ...(maxBody === undefined ? {} : { maxBody }), ...(maxConnections === undefined ? {} : { maxConnections }) } };
}

/** Those of them that speak of routes; absent where there are none, as limits are. */
function overlaysOf(spec: EntrySpec | undefined): Pick<Entry, "kubernetes"> {
  const { Service, HTTPRoute } = spec?.kubernetes ?? {};
  if (Service === undefined && HTTPRoute === undefined) return {};
  return { kubernetes: { ...(Service === undefined ? {} : { Service }), ...(HTTPRoute === undefined ? {} : { HTTPRoute }) } };
}

function firstOfEach<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const seen = new Map<string, T>();
  for (const item of items) if (!seen.has(keyOf(item))) seen.set(keyOf(item), item);
  return [...seen.values()];
}

/** What an instance speaks is its own release's word: while one release takes over from another, they may speak differently. */
function speaksHttp2({ releases }: EntryParts, endpoint: EntryEndpoint, port: Port): boolean {
  const ports = releases.find((release) => release.hash === endpoint.releaseHash)?.spec.ports ?? [];
  const own = ports.find((one) => one.name === port.name) ?? (ports.length === 1 ? ports[0] : undefined) ?? port;
  return own.protocol === "http" && own.appProtocol !== undefined;
}

/** A release that only renames its one port must not take the instances of the release before it out of the router (promise 3). */
function addressOf(addresses: Addresses, port: Port, ports: number): { readonly host: string; readonly port: number } | undefined {
  const all = Object.values(addresses);
  return addresses[port.name] ?? (ports === 1 && all.length === 1 ? all[0] : undefined);
}

function insideOf({ door, releases }: EntryParts, port: Port): { readonly inside?: { readonly host: string; readonly port: number } } {
  if (door === undefined) return {};
  // The wanted release's word counts; a port that it does not have any more is asked of the one that has it.
  const spec = releases.find((release) => release.spec.ports.some((one) => one.name === port.name))?.spec;
  const number = spec === undefined ? undefined : portNumbers(spec.ports)[port.name];
  return number === undefined ? {} : { inside: { host: door, port: number } };
}
