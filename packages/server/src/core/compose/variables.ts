// `environment` and `env_file` of a service: the component's variables.
import type { Environment, Files } from "./input.ts";
import { parseDotenv, parseRawEnv, type EnvFile } from "./dotenv.ts";
import { newBudget } from "./interpolate.ts";
import { keyed } from "./merge.ts";
import { outside, normalise } from "./paths.ts";
import { get, isNull, type Mapping, type Position, type Tree } from "./tree.ts";
import { checkKeys, complain, flagOf, mappingOf, refuse, textOf, type Place } from "./values.ts";
import { toVariable } from "./names.ts";

export interface VariablesPlace extends Place {
  readonly environment: Environment;
  readonly files: Files;
}
export interface Variable {
  readonly value: string;
  readonly at: Position;
}

const validName = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;
const longest = 131_072;

/** env_files in order, the later over the earlier; `environment` over all of them. */
export function readVariables(place: VariablesPlace, service: Mapping): Map<string, Variable> {
  const own = readEnvironment(place, get(service, "environment"));
  const variables = new Map<string, Variable>();
  for (const item of envFiles(place, get(service, "env_file"))) {
    for (const [name, value] of readEnvFile(place, item, own)) variables.set(name, { value, at: item.at });
  }
  for (const [name, variable] of own) if (variable !== undefined) variables.set(name, variable);
  for (const [name, { value, at }] of variables) {
    if (!validName.test(name))
      complain(
        place,
        at,
        "environment",
        `\`${name.slice(0, 60)}\` is not the name of an environment variable`,
        `Letters, digits and _ only: ${toVariable(name.slice(0, 60))}.`,
      );
    if (value.length > longest)
      complain(
        place,
        at,
        "environment",
        `the value of ${name.slice(0, 60)} is longer than ${longest} characters`,
        "Pass it as a file in the build, or fetch it at the start.",
      );
  }
  return variables;
}

/** undefined = taken from the caller's shell, but not set there: then the component does not get it. */
function readEnvironment(place: VariablesPlace, tree: Tree | undefined): Map<string, Variable | undefined> {
  const map = tree === undefined ? undefined : mappingOf(place, keyed(tree), "environment");
  const found = new Map<string, Variable | undefined>();
  for (const entry of map?.entries.values() ?? []) {
    const inherited = isNull(entry.value) ? place.environment.lookup(entry.key) : undefined;
    const value = isNull(entry.value) ? inherited : textOf(place, entry.value, entry.key);
    found.set(entry.key, value === undefined ? undefined : { value, at: entry.keyAt });
  }
  return found;
}

interface EnvFileItem {
  readonly path: string;
  readonly required: boolean;
  readonly raw: boolean;
  readonly at: Position;
}

function envFiles(place: Place, tree: Tree | undefined): EnvFileItem[] {
  const items = tree === undefined ? [] : tree.type === "sequence" ? tree.items : [tree];
  const found = new Map<string, EnvFileItem>();
  for (const item of items) {
    if (item.type === "mapping") checkKeys(place, "envFile", item);
    const pathTree = item.type === "mapping" ? get(item, "path") : item;
    const path = textOf(place, pathTree, "env_file");
    const format = item.type === "mapping" ? textOf(place, get(item, "format"), "format") : undefined;
    if (format !== undefined && format !== "raw")
      complain(place, item.at, "env_file.format", `\`${format}\` is not a format`, "Write `raw`, or leave it out.");
    if (path === undefined || path === "") complain(place, item.at, "env_file", "this names no file", "Write `env_file: [a.env]`.");
    else if (pathTree?.type !== "scalar" || pathTree.uncertain !== true)
      found.set(path, {
        path,
        required: (item.type === "mapping" ? flagOf(place, get(item, "required"), "required") : undefined) ?? true,
        raw: format === "raw",
        at: item.at,
      });
  }
  return [...found.values()];
}

function readEnvFile(
  place: VariablesPlace,
  item: EnvFileItem,
  own: ReadonlyMap<string, Variable | undefined>,
): ReadonlyMap<string, string> {
  const leaves = outside(item.path);
  if (leaves !== undefined) {
    refuse(place, item.at, "env_file", `${item.path}: ${leaves}`, "Copy the file into the project.");
    return new Map();
  }
  const path = normalise(item.path);
  const file = place.files.open(path);
  if (file.state !== "there") {
    if (file.state === "absent" && item.required)
      complain(place, item.at, "env_file", `there is no file ${path}`, "Write it, or say `{ path: ..., required: false }`.");
    return new Map();
  }
  const lookup = (name: string) => place.environment.lookup(name) ?? own.get(name)?.value;
  const parsed: EnvFile = item.raw ? parseRawEnv(file.text, lookup) : parseDotenv(file.text, lookup, new Map(), newBudget());
  if (parsed.ok) return parsed.values;
  complain(place, { file: path, line: parsed.line, column: 1 }, "env_file", parsed.reason, parsed.hint);
  return new Map();
}
