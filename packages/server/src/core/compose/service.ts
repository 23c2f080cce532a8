// One merged service as the specification of a component. Reads every part, so that all problems are found at once.
import { ComponentSpec, defaultSpec, type Command, type Port } from "@berth/contract/spec.ts";
import { Value } from "typebox/value";
import { autoscaleProblem } from "../autoscale.ts";
import { numbersOf, placementProblem } from "../placement.ts";
import { readBuild } from "./build.ts";
import { commandFromWords, splitLine } from "./command.ts";
import { readDeploy } from "./deploy.ts";
import { readDependencies, type Siblings } from "./depends.ts";
import { probesOf, readHealthcheck, type Healthcheck } from "./healthcheck.ts";
import type { ComposeInput, Environment, Files } from "./input.ts";
import { imageName, inferKind, stores } from "./kind.ts";
import { readMounts } from "./mounts.ts";
import { normalise, outside } from "./paths.ts";
import { componentPorts, isTcpOnly, readExpose, readPorts, type DeclaredPort } from "./ports.ts";
import { adoptFileVariables, readGrants, type TopConfigs } from "./secrets.ts";
import { isFollowed } from "../image/reference.ts";
import { get, type Mapping, type Tree } from "./tree.ts";
import { checkKeys, complain, durationOf, itemsOf, refuse, textOf, textsOf, type Place } from "./values.ts";
import { readVariables, type Variable } from "./variables.ts";
import { readXBerth, saidProtocols, type XBerth } from "./xberth.ts";

export interface ServicePlace extends Place {
  readonly environment: Environment;
  readonly files: Files;
  readonly engine: ComposeInput["engine"]["kind"];
  readonly siblings: Siblings;
  /** Another one waits until this one has completed. */
  readonly awaited: boolean;
  readonly volumes: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, string>;
  readonly configs: TopConfigs;
}

/** The component; what is wrong with it is in the findings, and then it is not to be used. */
export function readService(place: ServicePlace, service: Mapping): ComponentSpec {
  checkKeys(place, "service", service);
  const own = readXBerth(place, get(service, "x-berth"));
  const build = readBuild(place, get(service, "build"));
  const image = readImage(place, service, build !== undefined);
  const command = own?.command ?? readCommand(place, get(service, "command"), "command");
  const entrypoint = own?.entrypoint ?? readCommand(place, get(service, "entrypoint"), "entrypoint");
  const variables = readVariables(place, service);
  const secrets = readSecretVariables(place, service, variables, own);
  addConfigs(place, service, variables);
  const volumes = readMounts(place, get(service, "volumes"), place.volumes);
  const check = readHealthcheck(place, get(service, "healthcheck"));
  const declared = declaredPorts(place, service, image);
  const kind = inferKind({
    said: own?.kind,
    name: place.component,
    process: own?.process,
    image,
    builds: build !== undefined,
    hasCommand: command !== undefined || entrypoint !== undefined,
    hasSchedule: own?.schedule !== undefined,
    hasDomains: (own?.domains ?? []).length > 0,
    isPublished: declared.some((port) => port.published !== undefined),
    tcpOnly: isTcpOnly(declared, saidProtocols(own)),
    hasVolume: volumes.length > 0,
  });
  const base = defaultSpec(kind);
  const deploy = readDeploy(place, service);
  const ports = portsOf(place, kind, declared, own, check, variables);
  const workdir = readWorkdir(place, get(service, "working_dir"));
  const spec: ComponentSpec = {
    ...base,
    ...(build === undefined ? {} : { build }),
    ...(image === undefined ? {} : { image }),
    ...(own?.follow === undefined ? {} : { follow: own.follow }),
    ...(own?.process === undefined ? {} : { process: own.process }),
    ...(command === undefined ? {} : { command }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(workdir === undefined ? {} : { workdir }),
    env: Object.fromEntries([...variables].map(([name, { value }]) => [name, value])),
    secrets,
    ports,
    domains: own?.domains ?? [],
    volumes,
    dependsOn: readDependencies(place, service, place.siblings),
    resources: deploy.resources,
    probes: { ...(check === undefined ? {} : probesOf(check, ports[0]?.port)), ...own?.probes },
    strategy: own?.strategy ?? deploy.strategy ?? (kind === "stateful" ? { type: "recreate" } : base.strategy),
    ...(own?.schedule === undefined ? {} : { schedule: own.schedule }),
    replicas: placedReplicas(own?.placement) ?? deploy.replicas ?? own?.autoscale?.min ?? base.replicas,
    ...(own?.autoscale === undefined ? {} : { autoscale: own.autoscale }),
    ...(own?.placement === undefined ? {} : { placement: own.placement }),
    gracePeriod: own?.gracePeriod ?? durationOf(place, get(service, "stop_grace_period"), "stop_grace_period") ?? base.gracePeriod,
    drainTimeout: own?.drainTimeout ?? base.drainTimeout,
    ...(own?.maxBody === undefined ? {} : { maxBody: own.maxBody }),
    ...(own?.maxConnections === undefined ? {} : { maxConnections: own.maxConnections }),
    restart: deploy.restart ?? (place.awaited ? "never" : base.restart),
    securityProfile: own?.securityProfile ?? (image !== undefined || build?.dockerfile !== undefined ? "baseline" : base.securityProfile),
    ...(own?.kubernetes === undefined ? {} : { kubernetes: own.kubernetes }),
  };
  checkWhole(place, service, spec);
  return spec;
}

/** All instances, where each cluster says how many it has. */
function placedReplicas(placement: ComponentSpec["placement"]): number | undefined {
  const numbers = placement === undefined ? undefined : numbersOf(placement);
  return numbers?.reduce((all, number) => all + number, 0);
}

function readImage(place: ServicePlace, service: Mapping, builds: boolean): string | undefined {
  const tree = get(service, "image");
  const image = textOf(place, tree, "image")?.trim();
  if (image === undefined || image === "" || tree === undefined) {
    if (!builds && get(service, "provider") === undefined)
      complain(place, service.at, "image", "it has neither `build` nor `image`", "Add `build: .` with the folder to build.");
    return undefined;
  }
  if (builds) {
    place.findings.note("compose_image_name", tree.at, place.component, { image });
    return undefined;
  }
  if (/\s/.test(image)) return complain(place, tree.at, "image", `\`${image}\` is not the name of an image`, "Write it as `nginx:1.29`.");
  // The same sentence as the cause image_needs_container_engine, said before anything starts.
  if (place.engine === "local")
    return refuse(
      place,
      tree.at,
      "image",
      `the local engine runs what Berth builds, not images such as ${image}`,
      `Give it \`build:\` with its source instead${stores.has(imageName(image)) ? ", run the database apart and pass its address in `environment`" : ""}, or deploy to a Docker or Kubernetes cluster.`,
    );
  return image;
}

function readCommand(place: Place, tree: Tree | undefined, key: string): Command | undefined {
  if (tree === undefined) return undefined;
  if (tree.type !== "scalar") {
    const words = textsOf(place, tree, key);
    return commandFromWords(words);
  }
  const split = splitLine(textOf(place, tree, key) ?? "");
  if (!split.ok)
    return complain(
      place,
      tree.at,
      key,
      `the line cannot be split into words: ${split.reason}`,
      'Write a list: `["program", "argument"]`.',
    );
  if (split.shell) place.findings.note("compose_command_shell", tree.at, place.component, { key });
  return split.command;
}

function readSecretVariables(
  place: ServicePlace,
  service: Mapping,
  variables: Map<string, Variable>,
  own: XBerth | undefined,
): Record<string, string> {
  const grants = adoptFileVariables(place, readGrants(place, "secrets", get(service, "secrets"), [...place.secrets.keys()]), variables);
  const explicit = own?.secrets ?? {};
  const secrets = new Map<string, string>();
  for (const { source, variable, at } of grants) {
    const name = place.secrets.get(source);
    if (name === undefined) continue;
    secrets.set(variable, name);
    place.findings.note("compose_secret_variable", at, place.component, { secret: source, variable });
  }
  for (const [variable, name] of Object.entries(explicit)) secrets.set(variable, name);
  for (const variable of secrets.keys()) {
    const set = variables.get(variable);
    if (set !== undefined)
      complain(place, set.at, "environment", `${variable} is set here and is also given by a secret`, "Take it out of `environment`.");
  }
  return Object.fromEntries(secrets);
}

function addConfigs(place: ServicePlace, service: Mapping, variables: Map<string, Variable>): void {
  for (const { source, variable, at } of readGrants(place, "configs", get(service, "configs"), [...place.configs.keys()])) {
    place.findings.note("compose_config_variable", at, place.component, { config: source, variable });
    if (!variables.has(variable)) variables.set(variable, { value: place.configs.get(source)?.content ?? "", at });
  }
}

function declaredPorts(place: Place, service: Mapping, image: string | undefined): DeclaredPort[] {
  const ports = readPorts(place, get(service, "ports"));
  const exposed = readExpose(place, get(service, "expose")).filter((port) => ports.every((other) => other.target !== port.target));
  const declared = [...ports, ...exposed];
  const usual = image === undefined ? undefined : stores.get(imageName(image));
  // In Compose siblings reach any port; here a port has to be known, and a known database's is.
  return declared.length > 0 || usual === undefined
    ? declared
    : [{ target: usual, protocol: "tcp", published: undefined, loopback: false, name: undefined, at: service.at }];
}

function portsOf(
  place: Place,
  kind: ComponentSpec["kind"],
  declared: readonly DeclaredPort[],
  own: XBerth | undefined,
  check: Healthcheck | undefined,
  variables: Map<string, Variable>,
): Port[] {
  if (Array.isArray(own?.ports)) return withoutPortVariable(place, own.ports, variables);
  if (kind === "cron") {
    if (declared[0] !== undefined)
      place.findings.note("compose_key_ignored", declared[0].at, place.component, {
        key: "ports",
        instead: "what runs by schedule takes no traffic",
      });
    return [];
  }
  const ports = componentPorts(
    place,
    declared,
    kind === "web" || (kind === "stateful" && (own?.domains ?? []).length > 0),
    saidProtocols(own),
  );
  if (ports.length > 0 || (kind !== "web" && check?.asks === undefined)) return withoutPortVariable(place, ports, variables);
  if (kind !== "web" && check?.asks !== undefined)
    return withoutPortVariable(
      place,
      [{ name: check.asks.type, protocol: check.asks.type, ...(check.asks.port === undefined ? {} : { port: check.asks.port }) }],
      variables,
    );
  const told = /^[0-9]{1,5}$/.exec(variables.get("PORT")?.value ?? "")?.[0];
  const port = told === undefined ? check?.asks?.port : Number(told);
  return withoutPortVariable(
    place,
    [{ name: "http", protocol: "http", ...(port === undefined || port < 1 || port > 65_535 ? {} : { port }) }],
    variables,
  );
}

/** `PORT` is the engine's to set: on the local engine every instance has another one. */
function withoutPortVariable(place: Place, ports: readonly Port[], variables: Map<string, Variable>): Port[] {
  const set = ports.length === 0 ? undefined : variables.get("PORT");
  if (set !== undefined) {
    place.findings.note("compose_port_variable", set.at, place.component, {});
    variables.delete("PORT");
  }
  return [...ports];
}

function readWorkdir(place: ServicePlace, tree: Tree | undefined): string | undefined {
  const text = textOf(place, tree, "working_dir");
  if (text === undefined || text === "" || tree === undefined) return undefined;
  if (!text.startsWith("/"))
    return outside(text) === undefined
      ? normalise(text)
      : refuse(place, tree.at, "working_dir", `${text}: ${outside(text) ?? ""}`, "Name a folder of the build.");
  if (place.engine !== "local") return text;
  place.findings.note("compose_workdir_absolute", tree.at, place.component, { path: text });
  return undefined;
}

/** What no single key can show. */
function checkWhole(place: ServicePlace, service: Mapping, spec: ComponentSpec): void {
  if (spec.kind === "cron" && spec.schedule === undefined)
    complain(
      place,
      service.at,
      "x-berth.kind",
      "a component of the kind cron needs a schedule",
      'Add `x-berth: { schedule: "30 3 * * *" }`.',
    );
  if (spec.kind !== "cron" && spec.schedule !== undefined)
    complain(
      place,
      service.at,
      "x-berth.schedule",
      `a component of the kind ${spec.kind} has no schedule`,
      "Leave `kind` out, or make it `cron`.",
    );
  if (spec.follow === true && !isFollowed(spec.image))
    complain(
      place,
      service.at,
      "x-berth.follow",
      spec.image === undefined ? "what is built here has no tag to follow" : `\`${spec.image}\` says which image it is and never moves`,
      "Name an `image` with a tag, or leave `follow` out.",
    );
  const unplaced = placementProblem(spec, undefined);
  if (unplaced !== undefined) complain(place, service.at, "x-berth.placement", unplaced.reason, unplaced.way);
  const unscalable = autoscaleProblem(spec);
  if (unscalable !== undefined) complain(place, service.at, "x-berth.autoscale", unscalable.reason, unscalable.way);
  if (spec.domains.length > 0 && (spec.kind === "worker" || spec.kind === "cron"))
    complain(
      place,
      service.at,
      "x-berth.domains",
      `a component of the kind ${spec.kind} is not reached from outside, so it has no domains`,
      "Leave `kind` out, or make it `web`.",
    );
  else if (spec.domains.length > 0 && !spec.ports.some((port) => port.protocol === "http"))
    complain(
      place,
      service.at,
      "x-berth.domains",
      "it has domains, but no HTTP port that they could lead to",
      'Add `ports: ["8080:3000"]` with the port of the program.',
    );
  const names = spec.ports.map((port) => port.name);
  if (new Set(names).size < names.length) complain(place, service.at, "x-berth.ports", "two ports have one name", "Name them apart.");
  for (const error of itemsOf(place, get(service, "profiles"), "profiles")) textOf(place, error, "profiles");
  if (Value.Check(ComponentSpec, spec)) return;
  const [first] = Value.Errors(ComponentSpec, spec);
  complain(
    place,
    service.at,
    first?.instancePath.slice(1).replaceAll("/", ".") ?? "",
    `\`${first?.instancePath.slice(1).replaceAll("/", ".") ?? "it"}\` ${first?.message ?? "is not possible"}`,
    "",
  );
}
