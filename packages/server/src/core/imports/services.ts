// The Services that lead to a Deployment: which of its ports they lead to, and what of them has to be said otherwise so that they go on leading to whatever release serves. Pure.
import { matches, note, podsOf, type Foreign, type ForeignDeployment, type ForeignService, type ImportNote } from "./foreign.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { namePattern } from "@berth/contract/names.ts";
import type { Tree } from "../overlay/merge.ts";

/** A Service whose pods are chosen by Berth from now on. */
export interface ServiceChange {
  readonly name: string;
  readonly uid: string;
  /** In the order of the Service's own: named, so that others may stand beside them, and leading to a number, which a release keeps. */
  readonly ports: readonly { readonly name: string; readonly targetPort: number }[];
}

export interface ImportedPorts {
  readonly ports: ComponentSpec["ports"];
  readonly services: readonly ServiceChange[];
  readonly refusals: readonly ImportNote[];
  readonly remarks: readonly ImportNote[];
}

interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol?: string;
  readonly hostPort?: number;
}

/** The Services that choose pods of it; those that an import that was broken off has got to already, too. */
const servicesOf = ({ metadata, spec: { template } }: ForeignDeployment, { services }: Foreign): readonly ForeignService[] =>
  services.filter(
    ({ spec: { selector = {} } }) => selector["berth.component"] === metadata.name || matches(selector, template.metadata?.labels),
  );

export function portsOf(deployment: ForeignDeployment, component: string, container: Tree, path: string, foreign: Foreign): ImportedPorts {
  const refusals: ImportNote[] = [];
  const refuse = (code: string, params: Record<string, string>): void => void refusals.push(note(code, params));
  const declared = (container["ports"] ?? []) as readonly ContainerPort[];
  for (const { containerPort, protocol = "TCP", hostPort } of declared) {
    const where = `${path}.ports[${String(containerPort)}]`;
    if (protocol !== "TCP") refuse("import_field", { path: `${where}.protocol`, reason: `Berth has no ports of ${protocol}` });
    if (hostPort !== undefined) refuse("import_field", { path: `${where}.hostPort`, reason: "it would take a port of its node" });
  }
  const mine = new Set(podsOf(deployment, foreign.pods).map(({ metadata }) => metadata.name));
  const services = servicesOf(deployment, foreign);
  const numbers = new Map<number, string | undefined>(declared.map((port) => [port.containerPort, port.name]));
  const changes: ServiceChange[] = [];
  for (const { metadata, spec } of services) {
    const strangers = foreign.pods.filter(
      ({ metadata: pod }) => pod.deletionTimestamp === undefined && matches(spec.selector ?? {}, pod.labels) && !mine.has(pod.name),
    );
    if (strangers.length > 0)
      refuse("import_service_shared", { service: metadata.name, name: deployment.metadata.name, pod: strangers[0]?.metadata.name ?? "" });
    const ports: { name: string; targetPort: number }[] = [];
    for (const { name, port, protocol = "TCP", targetPort = port } of spec.ports ?? []) {
      const number = typeof targetPort === "number" ? targetPort : declared.find((one) => one.name === targetPort)?.containerPort;
      const where = `Service ${metadata.name} spec.ports[${String(port)}]`;
      if (protocol !== "TCP") refuse("import_field", { path: `${where}.protocol`, reason: `Berth has no ports of ${protocol}` });
      else if (number === undefined)
        refuse("import_field", {
          path: `${where}.targetPort`,
          reason: `the container ${String(container["name"])} has no port ${String(targetPort)}`,
        });
      else {
        if (!numbers.has(number)) numbers.set(number, undefined);
        // Berth's own ports come beside them in the one that has the component's name, and of several each needs a name.
        const added = metadata.name === component ? `port-${String(port)}` : "";
        ports.push({ name: name ?? added, targetPort: number });
      }
    }
    changes.push({ name: metadata.name, uid: metadata.uid ?? "", ports });
  }
  const own = services.find(({ metadata }) => metadata.name === component);
  const taken = foreign.services.find(({ metadata }) => metadata.name === component);
  if (own === undefined && taken !== undefined && numbers.size > 0) refuse("import_name_taken", { kind: "Service", name: component });
  for (const number of numbers.keys()) {
    const same = own?.spec.ports?.find(({ port }) => port === number);
    const target = same?.targetPort ?? same?.port;
    if (same !== undefined && target !== number && declared.find((one) => one.name === target)?.containerPort !== number)
      refuse("import_field", {
        path: `Service ${component} spec.ports[${String(number)}].targetPort`,
        reason: `siblings reach ${component} at the number that its program listens on, and this one leads elsewhere`,
      });
  }
  return {
    ports: named([...numbers], own, (number) => isHttp(number, container, services)),
    services: changes,
    refusals,
    remarks: foreign.doors
      .filter((door) => door.services.some((name) => changes.some((change) => change.name === name)))
      .map(({ kind, name }) => note("import_door_left", { kind, name, component })),
  };
}

/** Names that stand beside those of the Service that is called as the component is: one number has one name there. */
function named(
  numbers: readonly (readonly [number, string | undefined])[],
  own: ForeignService | undefined,
  http: (number: number) => boolean,
): ComponentSpec["ports"] {
  const names = new Set<string>();
  return numbers.map(([number, declared]) => {
    const same = own?.spec.ports?.find(({ port }) => port === number)?.name;
    const others = new Set((own?.spec.ports ?? []).flatMap(({ name, port }) => (port === number ? [] : [name])));
    const free = (name: string | undefined): name is string =>
      name !== undefined && new RegExp(namePattern).test(name) && name.length <= 15 && !names.has(name) && !others.has(name);
    const name = [same, declared].find(free) ?? `p-${String(number)}`;
    names.add(name);
    return { name, protocol: http(number) ? "http" : "tcp", port: number };
  });
}

function isHttp(number: number, container: Tree, services: readonly ForeignService[]): boolean {
  const declared = ((container["ports"] ?? []) as readonly ContainerPort[]).find(({ containerPort }) => containerPort === number);
  const targeted = services.flatMap(({ spec }) =>
    (spec.ports ?? []).filter(
      ({ port, targetPort = port }) => targetPort === number || (declared?.name !== undefined && targetPort === declared.name),
    ),
  );
  const words = [declared?.name, ...targeted.flatMap(({ name, appProtocol }) => [name, appProtocol])];
  const probed = ["readinessProbe", "livenessProbe", "startupProbe"].some((key) => {
    const asked = (container[key] as { readonly httpGet?: { readonly port?: unknown; readonly scheme?: string } } | undefined)?.httpGet;
    return asked !== undefined && asked.scheme !== "HTTPS" && (asked.port === number || asked.port === declared?.name);
  });
  return probed || words.some((word) => /^(?:http|web)(?:-|$)/.test(word ?? ""));
}
