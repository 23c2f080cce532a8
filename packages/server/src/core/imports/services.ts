// The Services that lead to a Deployment: which of its ports they lead to, so that they can go on leading to whatever release serves. Pure.
import { matches, note, podsOf, type Foreign, type ForeignDeployment, type ForeignService, type ImportNote } from "./foreign.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { namePattern } from "@berth/contract/names.ts";
import type { Tree } from "../overlay/merge.ts";

/** A Service whose pods are chosen by Berth from now on. */
export interface ServiceChange {
  readonly name: string;
  readonly uid: string;
  /** Its owner's choice of pods. */
  readonly selector: Readonly<Record<string, string>>;
  /** The Service's port -> the number that it leads to, which a release keeps. */
  readonly ports: Readonly<Record<string, number>>;
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

export function portsOf(deployment: ForeignDeployment, container: Tree, path: string, foreign: Foreign): ImportedPorts {
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
    const ports: Record<string, number> = {};
    for (const { port, protocol = "TCP", targetPort = port } of spec.ports ?? []) {
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
        ports[String(port)] = number;
      }
    }
    changes.push({ name: metadata.name, uid: metadata.uid ?? "", selector: spec.selector ?? {}, ports });
  }
  return {
    ports: named([...numbers], (number) => isHttp(number, container, services)),
    services: changes,
    refusals,
    remarks: foreign.doors
      .filter((door) => door.services.some((name) => changes.some((change) => change.name === name)))
      .map(({ kind, name }) => note("import_door_left", { kind, name, component: deployment.metadata.name })),
  };
}

function named(numbers: readonly (readonly [number, string | undefined])[], http: (number: number) => boolean): ComponentSpec["ports"] {
  const names = new Set<string>();
  return numbers.map(([number, declared]) => {
    const isFree = declared !== undefined && new RegExp(namePattern).test(declared) && declared.length <= 15 && !names.has(declared);
    const name = isFree ? declared : `p-${String(number)}`;
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
