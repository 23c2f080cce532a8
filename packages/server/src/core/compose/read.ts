// A project's Compose files as the definition of a stack. Pure: it asks for files and variables by name, reports all problems at once, and never throws for what a user wrote.
import type { StackDrift } from "@berth/contract/resources/drift.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { dependencyCircle } from "./depends.ts";
import { Findings, type ComposeNote, type ComposeProblem } from "./findings.ts";
import type { ComposeInput } from "./input.ts";
import { loadProject, type Loaded } from "./load.ts";
import { readTopVolumes } from "./mounts.ts";
import { isName, toName } from "./names.ts";
import { readConfigs, readSecrets, type SecretSource } from "./secrets.ts";
import { readService, type ServicePlace } from "./service.ts";
import { get, isNull, mapping, type Entry, type Mapping, type Tree } from "./tree.ts";
import { checkKeys, complain, mappingOf, textOf, textsOf } from "./values.ts";
import { readXBerthStack } from "./xberth.ts";

export interface StackDefinition {
  /** From `x-berth: { stack: ... }` or `name:`. */
  readonly name?: string;
  readonly components: Readonly<Record<string, ComponentSpec>>;
  readonly volumes: Readonly<Record<string, { readonly external: boolean }>>;
  /** Texts that services may be given; those that are have them in their `env` already. */
  readonly configs: Readonly<Record<string, { readonly content: string }>>;
  /** Where values come from; the values themselves are not part of a definition, so that nothing that stores, shows or compares it can leak them. */
  readonly secrets: Readonly<Record<string, { readonly source: SecretSource }>>;
  readonly runEnv?: string;
  /** What is done about changes by hand in the cluster; absent: the stack keeps its choice. */ readonly drift?: StackDrift;
  readonly notes: readonly ComposeNote[];
}

export type ComposeResult =
  /** `secretValues`: secret name -> value, for those that the file gives one. Never logged or stored unencrypted. */
  | { readonly ok: true; readonly definition: StackDefinition; readonly secretValues: Readonly<Record<string, string>> }
  /** Ask the caller again with these as well: file contents (or that they are absent), values of variables (or null). */
  | { readonly ok: false; readonly kind: "needs"; readonly files: string[]; readonly variables: string[] }
  | { readonly ok: false; readonly kind: "problems"; readonly problems: ComposeProblem[] };

/** Values of all services together, aliases and `extends` written out. */
const mostValues = 300_000;

export function readCompose(input: ComposeInput): ComposeResult {
  const findings = new Findings();
  const loaded = loadProject(input, findings);
  const read = loaded === undefined ? undefined : readStack(input, loaded, findings);
  if (findings.needsMore)
    return { ok: false, kind: "needs", files: [...findings.neededFiles].sort(), variables: [...findings.neededVariables].sort() };
  const { problems } = findings;
  if (problems.length > 0 || read === undefined) return { ok: false, kind: "problems", problems };
  return { ok: true, definition: { ...read.definition, notes: findings.notes }, secretValues: read.secretValues };
}

function readStack(
  input: ComposeInput,
  loaded: Loaded,
  findings: Findings,
): { definition: Omit<StackDefinition, "notes">; secretValues: Record<string, string> } | undefined {
  const { tree } = loaded;
  const place = { findings, component: "the stack" };
  checkKeys(place, "top", tree);
  const services = mappingOf(place, get(tree, "services"), "services") ?? mapping([], tree.at);
  if (services.entries.size === 0 && findings.problems.length === 0)
    complain(place, tree.at, "services", "it has no services", "Add `services:` with at least one below it.");
  if (!fits(services, mostValues))
    return complain(
      place,
      services.at,
      "services",
      `its services have more than ${mostValues} values together`,
      "Split them into several stacks.",
    );
  const source = { findings, environment: loaded.environment, files: loaded.files };
  const volumes = readTopVolumes(findings, get(tree, "volumes"));
  const secrets = readSecrets(source, get(tree, "secrets"));
  const configs = readConfigs(source, get(tree, "configs"));
  const own = readXBerthStack(place, get(tree, "x-berth"));
  const { active, inactive } = byProfile(input, loaded, services, findings);
  const awaited = awaitedServices(active);
  const components = active.map((entry): [string, ComponentSpec] => {
    const here: ServicePlace = {
      ...source,
      component: entry.key,
      engine: input.engine.kind,
      siblings: { active: new Set(active.map((other) => other.key)), inactive },
      awaited: awaited.has(entry.key),
      volumes: volumes.names,
      secrets: secrets.names,
      configs,
    };
    return [entry.key, readService(here, serviceMapping(here, entry))];
  });
  reportCircle(components, services, findings);
  const name = own.stack ?? readName(place, tree);
  return {
    definition: {
      ...(name === undefined ? {} : { name }),
      components: Object.fromEntries(components),
      volumes: Object.fromEntries(volumes.volumes),
      configs: Object.fromEntries([...configs.values()].map((config) => [config.name, { content: config.content }])),
      secrets: Object.fromEntries([...secrets.sources].map(([key, value]) => [key, { source: value }])),
      ...(own.runEnv === undefined ? {} : { runEnv: own.runEnv }),
      ...(own.drift === undefined ? {} : { drift: own.drift }),
    },
    secretValues: Object.fromEntries(secrets.values),
  };
}

function fits(tree: Tree, most: number): boolean {
  let left = most;
  const stack: Tree[] = [tree];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if ((left -= 1) < 0) return false;
    if (next.type === "sequence") stack.push(...next.items);
    if (next.type === "mapping") for (const entry of next.entries.values()) stack.push(entry.value);
  }
  return true;
}

/** Services whose profiles are not active are left out whole. */
function byProfile(
  input: ComposeInput,
  loaded: Loaded,
  services: Mapping,
  findings: Findings,
): { active: Entry[]; inactive: Map<string, readonly string[]> } {
  const fromShell = input.profiles.length > 0 ? undefined : loaded.environment.lookup("COMPOSE_PROFILES");
  const wanted = new Set(
    fromShell === undefined
      ? input.profiles
      : fromShell
          .split(",")
          .map((profile) => profile.trim())
          .filter((profile) => profile !== ""),
  );
  const inactive = new Map<string, readonly string[]>();
  const active = [...services.entries.values()].filter((entry) => {
    const profiles = textsOf({ findings, component: entry.key }, get(entry.value, "profiles"), "profiles");
    if (profiles.length === 0 || wanted.has("*") || profiles.some((profile) => wanted.has(profile))) return true;
    inactive.set(entry.key, profiles);
    findings.note("compose_profile_inactive", entry.keyAt, entry.key, { profiles: profiles.join(", ") });
    return false;
  });
  return { active, inactive };
}

function serviceMapping(place: ServicePlace, entry: Entry): Mapping {
  if (!isName(entry.key))
    complain(
      place,
      entry.keyAt,
      entry.key,
      `\`${entry.key.slice(0, 80)}\` is not a name: lower-case letters, digits and single dashes, starting with a letter, 40 at most`,
      `Call it \`${toName(entry.key)}\`, here and wherever it is named.`,
    );
  return (isNull(entry.value) ? undefined : mappingOf(place, entry.value, entry.key)) ?? mapping([], entry.keyAt);
}

/** Services on whose completion another one waits: they are meant to end. */
function awaitedServices(services: readonly Entry[]): Set<string> {
  const awaited = new Set<string>();
  for (const { value } of services) {
    const dependsOn = get(value, "depends_on");
    if (dependsOn?.type !== "mapping") continue;
    for (const entry of dependsOn.entries.values()) {
      const condition = get(entry.value, "condition");
      if (condition?.type === "scalar" && condition.text === "service_completed_successfully") awaited.add(entry.key);
    }
  }
  return awaited;
}

function reportCircle(components: readonly (readonly [string, ComponentSpec])[], services: Mapping, findings: Findings): void {
  const circle = dependencyCircle(
    new Map(components.map(([name, spec]) => [name, spec.dependsOn.map((dependency) => dependency.component)])),
  );
  const first = circle?.[0];
  if (circle === undefined || first === undefined) return;
  const at = get(services.entries.get(first)?.value, "depends_on")?.at ?? services.entries.get(first)?.keyAt ?? services.at;
  findings.invalid(at, {
    key: "depends_on",
    component: first,
    reason: `components wait for each other in a circle: ${circle.join(" -> ")}`,
    hint: "Take one of these dependencies out.",
  });
}

function readName(place: { findings: Findings; component: string }, tree: Mapping): string | undefined {
  const value = get(tree, "name");
  const name = textOf(place, value, "name");
  if (name === undefined || name === "" || value === undefined) return undefined;
  if (isName(name)) return name;
  place.findings.note("compose_name_changed", value.at, "", { what: "stack", from: name, to: toName(name) });
  return toName(name);
}
