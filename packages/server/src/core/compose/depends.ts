// `depends_on` and `links`: what has to be there before a component, checked for names, profiles and circles.
import type { Dependency } from "@berth/contract/spec.ts";
import { nearest } from "../nearest.ts";
import { named } from "./merge.ts";
import { get, mapping, type Mapping, type Position, type Tree } from "./tree.ts";
import { checkKeys, complain, flagOf, itemsOf, mappingOf, textOf, type Place } from "./values.ts";

export interface Siblings {
  readonly active: ReadonlySet<string>;
  /** Left out by their profiles. */ readonly inactive: ReadonlyMap<string, readonly string[]>;
}

const conditions = { service_started: "started", service_healthy: "ready", service_completed_successfully: "completed" } as const;

export function readDependencies(place: Place, service: Mapping, siblings: Siblings): Dependency[] {
  const found = new Map<string, Dependency>();
  for (const { name, at, tree } of wanted(place, get(service, "depends_on"))) {
    if (tree !== undefined) checkKeys(place, "dependency", tree);
    const required = flagOf(place, get(tree, "required"), "required") ?? true;
    const condition = conditionOf(place, get(tree, "condition"));
    if (isThere(place, name, at, required, siblings)) found.set(name, { component: name, condition });
  }
  for (const item of itemsOf(place, get(service, "links"), "links")) {
    const [name = "", alias] = (textOf(place, item, "links") ?? "").split(":");
    if (alias !== undefined && alias !== name)
      place.findings.note("compose_link_alias", item.at, place.component, { service: name, alias });
    if (isThere(place, name, item.at, true, siblings) && !found.has(name)) found.set(name, { component: name, condition: "started" });
  }
  return [...found.values()];
}

function wanted(place: Place, tree: Tree | undefined): { name: string; at: Position; tree: Mapping | undefined }[] {
  const map =
    tree === undefined
      ? undefined
      : mappingOf(
          place,
          named(tree, (at) => mapping([], at)),
          "depends_on",
        );
  return [...(map?.entries.values() ?? [])].map((entry) => ({
    name: entry.key,
    at: entry.keyAt,
    tree: mappingOf(place, entry.value, entry.key),
  }));
}

function conditionOf(place: Place, tree: Tree | undefined): Dependency["condition"] {
  const text = textOf(place, tree, "condition") ?? "service_started";
  if (Object.hasOwn(conditions, text)) return conditions[text as keyof typeof conditions];
  if (tree !== undefined)
    complain(place, tree.at, "condition", `\`${text}\` is not a condition`, `Write one of ${Object.keys(conditions).join(", ")}.`);
  return "started";
}

function isThere(place: Place, name: string, at: Position, required: boolean, siblings: Siblings): boolean {
  if (name === place.component) {
    complain(place, at, "depends_on", "it depends on itself", "Take it out.");
    return false;
  }
  if (siblings.active.has(name)) return true;
  const profiles = siblings.inactive.get(name);
  if (profiles !== undefined) {
    if (required)
      complain(
        place,
        at,
        "depends_on",
        `${name} is left out, because none of its profiles (${profiles.join(", ")}) is active`,
        `Run it with \`--profile ${profiles[0] ?? ""}\`, or say \`required: false\`.`,
      );
    return false;
  }
  const close = nearest(name, [...siblings.active]);
  complain(place, at, "depends_on", `there is no service ${name}`, close === undefined ? "" : `Did you mean ${close}?`);
  return false;
}

/** One circle of dependencies, in order, its first again at its end; undefined when there is none. */
export function dependencyCircle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  for (const start of graph.keys()) {
    const trail: string[] = [];
    const stack = [{ name: start, next: 0 }];
    while (stack.length > 0) {
      const top = stack.at(-1);
      if (top === undefined) break;
      if (top.next === 0) {
        if (trail.includes(top.name)) return [...trail.slice(trail.indexOf(top.name)), top.name];
        trail.push(top.name);
      }
      const child = done.has(top.name) ? undefined : graph.get(top.name)?.[top.next];
      top.next += 1;
      if (child !== undefined) stack.push({ name: child, next: 0 });
      else {
        done.add(top.name);
        trail.pop();
        stack.pop();
      }
    }
  }
  return undefined;
}
