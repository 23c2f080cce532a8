// Secrets and configs: at the top where their values come from, in a service under which variable it gets them. Values of secrets stay apart from everything that is shown or compared.
import type { Environment, Files } from "./input.ts";
import { nearest } from "../nearest.ts";
import { mendName, toVariable } from "./names.ts";
import { normalise, outside } from "./paths.ts";
import { get, type Mapping, type Position, type Tree } from "./tree.ts";
import { checkKeys, complain, flagOf, itemsOf, mappingOf, refuse, textOf, type Place } from "./values.ts";
import type { Variable } from "./variables.ts";

export type SecretSource =
  | { readonly type: "file"; readonly path: string }
  | { readonly type: "environment"; readonly variable: string }
  | { readonly type: "external" };
export interface TopSecrets {
  readonly names: ReadonlyMap<string, string>;
  readonly sources: ReadonlyMap<string, SecretSource>;
  readonly values: ReadonlyMap<string, string>;
}
/** Config key in the file -> its name and text. */
export type TopConfigs = ReadonlyMap<string, { readonly name: string; readonly content: string }>;
export interface SourcePlace {
  readonly findings: Place["findings"];
  readonly environment: Environment;
  readonly files: Files;
}

export function readSecrets(place: SourcePlace, tree: Tree | undefined): TopSecrets {
  const names = new Map<string, string>();
  const sources = new Map<string, SecretSource>();
  const values = new Map<string, string>();
  for (const entry of mappingOf({ ...place, component: "the stack" }, tree, "secrets")?.entries.values() ?? []) {
    const here = { ...place, component: `secret ${entry.key}` };
    const secret = mappingOf(here, entry.value, entry.key);
    if (secret !== undefined) checkKeys(here, "secret", secret);
    const external = isExternal(here, get(secret, "external"));
    const name = mendName(
      here,
      "secret",
      (external ? textOf(here, get(secret, "name"), "name") : undefined) ?? entry.key,
      entry.keyAt,
      names,
    );
    names.set(entry.key, name);
    if (external) {
      sources.set(name, { type: "external" });
      continue;
    }
    const found = secret === undefined ? undefined : valueOf(here, secret);
    if (found === undefined) {
      if (secret === undefined || (get(secret, "file") === undefined && get(secret, "environment") === undefined))
        complain(
          here,
          entry.keyAt,
          entry.key,
          "nothing says where its value comes from",
          "Give it `file:` or `environment:`, or `external: true` and `berth secrets set`.",
        );
      continue;
    }
    sources.set(name, found.source);
    // A file ends with a line break that no password has.
    values.set(name, found.source.type === "file" ? found.value.replace(/\r?\n$/, "") : found.value);
  }
  return { names, sources, values };
}

export function readConfigs(place: SourcePlace, tree: Tree | undefined): TopConfigs {
  const configs = new Map<string, { name: string; content: string }>();
  for (const entry of mappingOf({ ...place, component: "the stack" }, tree, "configs")?.entries.values() ?? []) {
    const here = { ...place, component: `config ${entry.key}` };
    const config = mappingOf(here, entry.value, entry.key);
    if (config !== undefined) checkKeys(here, "config", config);
    const name = mendName(here, "config", entry.key, entry.keyAt, new Map([...configs].map(([key, { name: known }]) => [key, known])));
    const content =
      config === undefined
        ? undefined
        : get(config, "content") === undefined
          ? valueOf(here, config)?.value
          : textOf(here, get(config, "content"), "content");
    if (
      content === undefined &&
      (config === undefined || ["content", "file", "environment", "external"].every((key) => get(config, key) === undefined))
    )
      complain(here, entry.keyAt, entry.key, "nothing says where its text comes from", "Give it `content:`, `file:` or `environment:`.");
    configs.set(entry.key, { name, content: content ?? "" });
  }
  return configs;
}

function isExternal(place: Place, tree: Tree | undefined): boolean {
  return tree?.type === "mapping" || flagOf(place, tree, "external") === true;
}

function valueOf(
  place: SourcePlace & Place,
  tree: Mapping,
): { source: SecretSource & { type: "file" | "environment" }; value: string } | undefined {
  const path = get(tree, "file");
  const variable = textOf(place, get(tree, "environment"), "environment");
  if (path !== undefined) {
    const text = textOf(place, path, "file") ?? "";
    const leaves = outside(text);
    if (leaves !== undefined)
      return refuse(place, path.at, "file", `${text}: ${leaves}`, "Copy the file into the project, or use `berth secrets set`.");
    if (path.type === "scalar" && path.uncertain === true) return undefined;
    const file = place.files.open(normalise(text));
    if (file.state === "there") return { source: { type: "file", path: normalise(text) }, value: file.text };
    return file.state === "asked"
      ? undefined
      : complain(
          place,
          path.at,
          "file",
          `there is no file ${normalise(text)}`,
          "Write it, or use `external: true` and `berth secrets set`.",
        );
  }
  if (variable === undefined) return undefined;
  const value = place.environment.lookup(variable);
  if (value !== undefined || !place.environment.knows(variable)) return { source: { type: "environment", variable }, value: value ?? "" };
  return complain(
    place,
    get(tree, "environment")?.at ?? tree.at,
    "environment",
    `the variable ${variable} is not set`,
    `Set it in your shell or in .env: \`${variable}=...\`.`,
  );
}

export interface Granted {
  readonly source: string;
  readonly variable: string;
  /** Its name below /run/secrets. */
  readonly file: string;
  readonly at: Position;
}

/** Which secrets or configs a service asks for, and the variable that it gets each in. */
export function readGrants(place: Place, key: "secrets" | "configs", tree: Tree | undefined, known: readonly string[]): Granted[] {
  const grants = new Map<string, Granted>();
  for (const item of itemsOf(place, tree, key)) {
    if (item.type === "mapping") checkKeys(place, "grant", item);
    const source = textOf(place, item.type === "mapping" ? get(item, "source") : item, key);
    const target = item.type === "mapping" ? textOf(place, get(item, "target"), "target") : undefined;
    if (source === undefined || source === "") {
      complain(place, item.at, key, "this names no source", "Write its name as it is at the top of the file.");
      continue;
    }
    if (!known.includes(source)) {
      const close = nearest(source, known);
      complain(
        place,
        item.at,
        key,
        `there is no ${source} under \`${key}\` at the top of the file`,
        close === undefined ? `Add it there, or name it in \`x-berth: { secrets: { NAME: ${source} } }\`.` : `Did you mean ${close}?`,
      );
      continue;
    }
    const file = /^\/run\/secrets\/([^/]+)$/.exec(target ?? "")?.[1] ?? target;
    if (file?.includes("/") === true) {
      refuse(
        place,
        item.at,
        `${key}.target`,
        "an instance gets them as environment variables, not as files at a path of their own",
        key === "configs" ? "Put the file into the build, or read the variable in the program." : "Read the variable in the program.",
      );
      continue;
    }
    const variable = toVariable(file ?? source);
    grants.set(variable, { source, variable, file: file ?? source, at: item.at });
  }
  return [...grants.values()];
}

/** Official images read `NAME_FILE` for a file that holds NAME; such a file is a granted secret here, so NAME gets the secret. Takes the variable out of `variables`. */
export function adoptFileVariables(place: Place, grants: readonly Granted[], variables: Map<string, Variable>): Granted[] {
  return grants.flatMap((grant) => {
    const readers = [...variables].filter(
      ([name, { value }]) =>
        name.endsWith("_FILE") &&
        name.length > 5 &&
        value.startsWith("/run/secrets/") &&
        toVariable(value.slice("/run/secrets/".length)) === grant.variable,
    );
    if (readers.length === 0) return [grant];
    return readers.map(([name]) => {
      variables.delete(name);
      return { ...grant, variable: name.slice(0, -"_FILE".length) };
    });
  });
}
