// `ports` and `expose` of a service: what it listens on, how it is spoken to, and what of that the outside reaches.
import { isName } from "./names.ts";
import type { Port } from "@berth/contract/spec.ts";
import { get, type Position, type Tree } from "./tree.ts";
import { checkKeys, complain, itemsOf, numberOf, refuse, textOf, type Place } from "./values.ts";

export type Protocol = "http" | "tcp";
export interface DeclaredPort {
  readonly target: number;
  /** Said by `/tcp` after a short form, or by `app_protocol`. */
  readonly protocol: Protocol | undefined;
  /** Said by `app_protocol`: HTTP/2 without TLS. */
  readonly appProtocol?: Port["appProtocol"];
  /** The port that Compose would open on the machine; 0 = any free one. */
  readonly published: number | undefined;
  readonly loopback: boolean;
  readonly name: string | undefined;
  readonly at: Position;
}

const mostPorts = 32;
/** Ports at which nobody expects HTTP. */
const tcpPorts: ReadonlySet<number> = new Set([
  21, 22, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1433, 1521, 1883, 2181, 3306, 4222, 5432, 5671, 5672, 6379, 6380, 8883, 9042,
  9092, 11211, 27017, 33060,
]);
const httpProtocols: ReadonlySet<string> = new Set(["http", "http1", "http/1.1", "ws"]);
/** Without TLS and without a word of HTTP/1.1 before; the names are those of Kubernetes and of those who followed it. */
const http2Protocols: ReadonlyMap<string, "h2c" | "grpc"> = new Map([
  ["h2c", "h2c"],
  ["http2", "h2c"],
  ["kubernetes.io/h2c", "h2c"],
  ["grpc", "grpc"],
]);

/** Long and short forms, ranges written out; a later entry for the same port wins. */
export function readPorts(place: Place, tree: Tree | undefined): DeclaredPort[] {
  const found = new Map<string, DeclaredPort>();
  for (const item of itemsOf(place, tree, "ports")) {
    for (const port of item.type === "mapping" ? longPort(place, item) : shortPort(place, item))
      found.set(`${port.target}:${port.published ?? ""}`, port);
  }
  return limited(place, tree, "ports", [...found.values()]);
}

export function readExpose(place: Place, tree: Tree | undefined): DeclaredPort[] {
  const found = itemsOf(place, tree, "expose").flatMap((item) => {
    const text = textOf(place, item, "expose") ?? "";
    const parsed = splitTarget(text);
    if (parsed === undefined) {
      complain(place, item.at, "expose", `\`${text}\` is not a port`, "Write a number, or a range as `3000-3005`.");
      return [];
    }
    if (parsed.transport !== "" && parsed.transport !== "tcp") {
      refuseTransport(place, item.at, "expose", parsed.transport);
      return [];
    }
    return range(parsed.from, parsed.to).map((target): DeclaredPort => ({
      target,
      protocol: parsed.transport === "tcp" ? "tcp" : undefined,
      published: undefined,
      loopback: false,
      name: undefined,
      at: item.at,
    }));
  });
  return limited(place, tree, "expose", found);
}

function limited(place: Place, tree: Tree | undefined, key: string, ports: DeclaredPort[]): DeclaredPort[] {
  if (ports.length <= mostPorts || tree === undefined) return ports;
  complain(place, tree.at, key, `a component has at most ${mostPorts} ports`, "Split it into several components.");
  return ports.slice(0, mostPorts);
}

/** `[[IP:]PUBLISHED:]TARGET[/TRANSPORT]`, each port maybe a range. */
function shortPort(place: Place, item: Tree): DeclaredPort[] {
  const text = textOf(place, item, "ports");
  if (text === undefined) return [];
  const parts = text.split(":");
  const target = splitTarget(parts.at(-1) ?? "");
  const hostText = parts.length > 1 ? (parts.at(-2) ?? "") : "";
  const ip = parts
    .slice(0, -2)
    .join(":")
    .replace(/^\[|\]$/g, "");
  const host = hostText === "" ? undefined : splitTarget(hostText);
  const wrong = target === undefined || (hostText !== "" && (host === undefined || host.transport !== "")) || (ip !== "" && !isAddress(ip));
  if (wrong) {
    complain(place, item.at, "ports", `\`${text}\` is not a port`, "Write `8080:3000`, with the public port first.");
    return [];
  }
  if (target.transport !== "" && target.transport !== "tcp") {
    refuseTransport(place, item.at, "ports", target.transport);
    return [];
  }
  const width = target.to - target.from;
  if (host !== undefined && width > 0 && host.to - host.from !== width) {
    complain(place, item.at, "ports", `the two ranges in \`${text}\` are not of one length`, "");
    return [];
  }
  return range(target.from, target.to).map((port, index) => ({
    target: port,
    protocol: target.transport === "tcp" ? "tcp" : undefined,
    published: host === undefined ? 0 : host.from + index,
    loopback: isLoopback(ip),
    name: undefined,
    at: item.at,
  }));
}

function longPort(place: Place, item: Tree): DeclaredPort[] {
  if (item.type !== "mapping") return [];
  checkKeys(place, "port", item);
  const target = numberOf(place, get(item, "target"), "target", { min: 1, max: 65_535, whole: true });
  if (get(item, "target") === undefined)
    complain(place, item.at, "ports", "this port has no `target`", "Add `target: 3000`, the port on which the program listens.");
  const transport = textOf(place, get(item, "protocol"), "protocol")?.toLowerCase() ?? "tcp";
  if (transport !== "tcp") {
    refuseTransport(place, get(item, "protocol")?.at ?? item.at, "ports", transport);
    return [];
  }
  const publishedText = textOf(place, get(item, "published"), "published");
  const published = publishedText === undefined || publishedText === "" ? undefined : splitTarget(publishedText);
  if (publishedText !== undefined && publishedText !== "" && published === undefined)
    complain(place, get(item, "published")?.at ?? item.at, "published", `\`${publishedText}\` is not a port`, "");
  const said = textOf(place, get(item, "app_protocol"), "app_protocol")?.toLowerCase();
  const appProtocol = http2Protocols.get(said ?? "");
  const name = textOf(place, get(item, "name"), "name");
  if (target === undefined) return [];
  return [
    {
      target,
      protocol: said === undefined ? undefined : httpProtocols.has(said) || appProtocol !== undefined ? "http" : "tcp",
      ...(appProtocol === undefined ? {} : { appProtocol }),
      published: published?.from ?? (publishedText === undefined || publishedText === "" ? 0 : undefined),
      loopback: isLoopback(textOf(place, get(item, "host_ip"), "host_ip") ?? ""),
      name,
      at: item.at,
    },
  ];
}

function splitTarget(text: string): { from: number; to: number; transport: string } | undefined {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/([A-Za-z]+))?$/.exec(text.trim());
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match === null || from < 1 || to < from || to > 65_535) return undefined;
  return { from, to, transport: match[3]?.toLowerCase() ?? "" };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.min(to - from, mostPorts) + 1 }, (_, index) => from + index);
}

function isAddress(ip: string): boolean {
  return (
    /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$/.test(ip) || (/^[0-9a-fA-F:]{2,39}$/.test(ip) && (ip.includes("::") || ip.split(":").length === 8))
  );
}

function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

function refuseTransport(place: Place, at: Position, key: string, transport: string): void {
  refuse(
    place,
    at,
    key,
    `the router leads HTTP and TCP, not ${transport.toUpperCase()}`,
    "Remove the port; what runs beside it stays as it is.",
  );
}

/** How a port is spoken to when nobody says so: HTTP, but TCP at the ports that are known for something else. */
export function protocolOf(port: DeclaredPort, said: ReadonlyMap<number, Protocol>): Protocol {
  return said.get(port.target) ?? port.protocol ?? (tcpPorts.has(port.target) ? "tcp" : "http");
}

export function isTcpOnly(ports: readonly DeclaredPort[], said: ReadonlyMap<number, Protocol>): boolean {
  return ports.length > 0 && ports.every((port) => protocolOf(port, said) === "tcp");
}

/** The component's ports. `routed`: the router leads to it by host name, so the public number of an HTTP port is noted. A TCP port keeps its number, unless Compose would open it on a loopback address only. */
export function componentPorts(
  place: Place,
  declared: readonly DeclaredPort[],
  routed: boolean,
  said: ReadonlyMap<number, Protocol>,
): Port[] {
  const ports = new Map<number, Port>();
  for (const port of declared) {
    const protocol = protocolOf(port, said);
    const known = ports.get(port.target);
    const appProtocol = protocol === "http" ? (port.appProtocol ?? known?.appProtocol) : undefined;
    const published = known?.published ?? publicPort(place, port, protocol, routed);
    ports.set(port.target, {
      name: known?.name ?? portName(place, port, protocol, [...ports.values()]),
      protocol,
      ...(appProtocol === undefined ? {} : { appProtocol }),
      port: port.target,
      ...(published === undefined ? {} : { published }),
    });
  }
  return [...ports.values()];
}

function publicPort(place: Place, port: DeclaredPort, protocol: Protocol, routed: boolean): number | undefined {
  if (port.published === undefined) return undefined;
  if (protocol === "http" && routed) {
    if (port.published !== 0)
      place.findings.note("compose_port_routed", port.at, place.component, {
        port: String(port.target),
        published: String(port.published),
      });
    return undefined;
  }
  if (protocol === "tcp" && port.published !== 0 && !port.loopback) return port.published;
  place.findings.note("compose_port_internal", port.at, place.component, { port: String(port.target) });
  return undefined;
}

function portName(place: Place, port: DeclaredPort, protocol: Protocol, others: readonly Port[]): string {
  const free = (name: string) => others.every((other) => other.name !== name);
  if (port.name !== undefined && isName(port.name) && free(port.name)) return port.name;
  if (port.name !== undefined && port.name !== "")
    place.findings.note("compose_key_ignored", port.at, place.component, {
      key: "ports.name",
      instead: "the port is named by its protocol",
    });
  return free(protocol) ? protocol : `${protocol}-${port.target}`;
}
