// A traffic entry as objects of a cluster: Services that lead to a component's tracks, and HTTPRoutes of the Gateway API that lead hosts and paths to them. Pure.
// https://gateway-api.sigs.k8s.io/reference/spec/
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { probeHeader, releaseHeader } from "../../edge/probe-header.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import type { Fence, Ref } from "../engine.ts";
import type { ConfigMap } from "./objects.ts";
import type { MatchCondition, TrafficEntry, TrafficPort } from "../traffic.ts";
import { digest, mark, namespaceOf, refLabels } from "./names.ts";
import { withOverlay } from "./overlays.ts";
import { portName } from "./pod.ts";

/** Where routes are attached. */
export interface GatewayRef {
  readonly namespace: string;
  readonly name: string;
  /** A listener of it; absent: all that take them. */
  readonly section?: string;
}

export interface RouteOrder {
  readonly installation: string;
  readonly entry: TrafficEntry;
  readonly gateway: GatewayRef;
  /** The name of the Service that leads to what serves. */
  readonly stable: string;
  /** What pins a probe to a release, by its hash: whoever sends it is led to that release alone. */
  readonly pinOf: (releaseHash: string) => string;
  /** The number of the release with that hash; undefined: none of its pods is there. */
  readonly releaseOf: (releaseHash: string) => number | undefined;
}

export interface Service extends KubeObject {
  readonly spec: {
    readonly selector: Readonly<Record<string, string>>;
    readonly ports: readonly { readonly name: string; readonly port: number; readonly targetPort: number; readonly protocol: "TCP" }[];
  };
}
export interface HTTPRoute extends KubeObject {
  readonly spec: Readonly<Record<string, unknown>> & { readonly hostnames: readonly string[]; readonly rules: readonly Rule[] };
  readonly status?: {
    readonly parents?: readonly {
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason?: string;
        readonly message?: string;
        readonly observedGeneration?: number;
      }[];
    }[];
  };
}
export interface Rule {
  readonly matches: readonly object[];
  readonly filters?: readonly object[];
  readonly backendRefs: readonly { readonly name: string; readonly port: number; readonly weight?: number }[];
}

/** What is compared of an object that was put: which one it is, and what it says. */
export type Print = string;
/** `Service/web` -> its print. */
export type Prints = Readonly<Record<string, Print>>;

/** Of the ConfigMap that has what the rest was made of: an entry that leads nowhere now is in force too. */
export const recordName = ({ component }: Ref): string => `${component}--routes`;
/** `prints`: of the objects that were put for it, as the cluster has them. */
export function recordOf(installation: string, entry: TrafficEntry, { generation, epoch }: Fence, prints: Prints): ConfigMap {
  return {
    apiVersion: apiVersionOf("ConfigMap"),
    kind: "ConfigMap",
    metadata: { namespace: namespaceOf(entry.ref), name: recordName(entry.ref), labels: labelsOf(installation, entry) },
    data: { entry: JSON.stringify(entry), generation: String(generation), epoch: String(epoch), objects: JSON.stringify(prints) },
  };
}

export const roleOfRoutes = "routes";

const stable = "stable";

/** The Services of an entry: one for what serves, by the component's own name where nobody else's has it, one for each other track, and one for each release that a probe may ask for. */
export function servicesOf(order: RouteOrder): Service[] {
  const { entry } = order;
  const tracks = new Set(entry.ports.flatMap(({ tracks }) => tracks.map(({ name }) => name)));
  const releases = new Map(hashesOf(entry).flatMap((hash) => (order.releaseOf(hash) === undefined ? [] : [[hash, order.releaseOf(hash)]])));
  return [
    serviceOf(order, order.stable, { [mark.track]: stable, [mark.serving]: "yes" }),
    ...[...tracks]
      .filter((track) => track !== stable)
      .map((track) => serviceOf(order, trackService(order, track), { [mark.track]: track, [mark.serving]: "yes" })),
    ...[...releases.values()].map((release) =>
      serviceOf(order, releaseService(entry, release ?? 0), { [mark.release]: String(release), [mark.serving]: "yes" }),
    ),
  ].filter(({ spec }) => spec.ports.length > 0);
}

const trackService = (order: RouteOrder, track: string): string =>
  track === stable ? order.stable : `${order.entry.ref.component}--${track}`;
const releaseService = ({ ref }: TrafficEntry, release: number): string => `${ref.component}--r${String(release)}`;

function hashesOf(entry: TrafficEntry): string[] {
  return [
    ...new Set(entry.ports.flatMap(({ tracks }) => tracks.flatMap(({ endpoints }) => endpoints.map(({ releaseHash }) => releaseHash)))),
  ];
}

function serviceOf({ installation, entry }: RouteOrder, name: string, chosen: Readonly<Record<string, string>>): Service {
  const { stack, component } = entry.ref;
  const service: Service = {
    apiVersion: apiVersionOf("Service"),
    kind: "Service",
    metadata: { namespace: namespaceOf(entry.ref), name, labels: labelsOf(installation, entry) },
    spec: {
      selector: { [mark.stack]: stack, [mark.component]: component, [mark.role]: "instance", ...chosen },
      ports: entry.ports.flatMap((port) => {
        const number = numberOf(port);
        return number === undefined ? [] : [{ name: portName(port.name), port: number, targetPort: number, protocol: "TCP" as const }];
      }),
    },
  };
  return withOverlay(service, { ref: entry.ref, kubernetes: entry.kubernetes });
}

/** The number that its programs listen on, at which siblings reach it too. */
export function numberOf(port: TrafficPort): number | undefined {
  return port.inside?.port ?? port.tracks.flatMap(({ endpoints }) => endpoints).at(0)?.port;
}

const labelsOf = (installation: string, { ref }: TrafficEntry): Record<string, string> => ({
  ...refLabels(installation, ref),
  [mark.role]: roleOfRoutes,
});

/** One for each port and path: all of its hosts lead to the same rules. */
export function httpRoutesOf(order: RouteOrder): HTTPRoute[] {
  const { entry, gateway, installation } = order;
  return entry.ports.flatMap((port) => {
    const number = numberOf(port);
    if (port.protocol !== "http" || number === undefined) return [];
    const byPath = Map.groupBy(port.hosts, ({ path }) => path);
    return [...byPath].map(([path, hosts]) => {
      const route: HTTPRoute = {
        apiVersion: apiVersionOf("HTTPRoute"),
        kind: "HTTPRoute",
        metadata: {
          namespace: namespaceOf(entry.ref),
          name: `${entry.ref.component}--${port.name}${path === "/" ? "" : `-${digest(path).slice(0, 8)}`}`,
          labels: labelsOf(installation, entry),
        },
        spec: {
          parentRefs: [
            {
              namespace: gateway.namespace,
              name: gateway.name,
              ...(gateway.section === undefined ? {} : { sectionName: gateway.section }),
            },
          ],
          hostnames: hosts.map(({ host }) => host).toSorted(),
          rules: rulesOf(order, port, number, path),
        },
      };
      return withOverlay(route, { ref: entry.ref, kubernetes: entry.kubernetes });
    });
  });
}

function rulesOf(order: RouteOrder, port: TrafficPort, number: number, path: string): Rule[] {
  const { entry } = order;
  const at = { path: { type: "PathPrefix", value: path } };
  const pinned = hashesOf(entry).flatMap((hash): Rule[] => {
    const release = order.releaseOf(hash);
    if (release === undefined) return [];
    return [
      {
        matches: [{ ...at, headers: [{ type: "Exact", name: probeHeader, value: order.pinOf(hash) }] }],
        filters: [
          { type: "RequestHeaderModifier", requestHeaderModifier: { remove: [probeHeader] } },
          { type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: releaseHeader, value: hash }] } },
        ],
        backendRefs: [{ name: releaseService(entry, release), port: number }],
      },
    ];
  });
  const tracks = new Set(port.tracks.map(({ name }) => name));
  const matched = entry.rules
    .filter(({ track }) => tracks.has(track))
    .map(({ conditions, track }): Rule => ({
      matches: [{ ...at, headers: conditions.map(headerMatch) }],
      backendRefs: [{ name: trackService(order, track), port: number }],
    }));
  const weighted = port.tracks.map(({ name, weight }) => ({ name: trackService(order, name), port: number, weight }));
  return [...pinned, ...matched, { matches: [at], backendRefs: weighted.length === 0 ? [{ name: order.stable, port: number }] : weighted }];
}

/** A cookie is part of a header. */
function headerMatch({ in: place, name, match, value }: MatchCondition): object {
  if (place === "header") {
    if (match === "exact") return { type: "Exact", name, value };
    return { type: "RegularExpression", name, value: match === "present" ? ".*" : match === "prefix" ? `${escaped(value)}.*` : value };
  }
  const wanted = match === "exact" ? escaped(value) : match === "prefix" ? `${escaped(value)}[^;]*` : match === "present" ? "[^;]*" : value;
  return { type: "RegularExpression", name: "cookie", value: `(.*; *)?${escaped(name)}=${wanted}(;.*)?` };
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
