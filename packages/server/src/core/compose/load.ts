// From the caller's files to one merged tree: finds the Compose files, interpolates, includes, extends and merges them. Asks for what is missing.
import type { Findings } from "./findings.ts";
import { applyExtends } from "./extends.ts";
import { applyIncludes } from "./include.ts";
import { Environment, Files, readDotenvs, type ComposeInput } from "./input.ts";
import { interpolate, newBudget, type Budget } from "./interpolate.ts";
import { mergeMappings, newMergeBudget, withoutTags, type MergeBudget } from "./merge.ts";
import { parseYaml } from "./parse.ts";
import { folderOf, join, outside, rebase } from "./paths.ts";
import { get, mapScalars, mapping, nowhere, type Mapping, type Position, type Scalar } from "./tree.ts";

/** In the order in which Compose prefers them. */
export const composeNames = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"] as const;
export const overrideNames = ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"] as const;
const mostServices = 500;
const mostFiles = 100;

/** What all files of one project share while they are read. */
export interface Loading {
  readonly findings: Findings;
  readonly files: Files;
  readonly characters: Budget;
  readonly entries: MergeBudget;
  /** Compose files read so far, so that includes end. */
  opened: number;
}
export interface Loaded { readonly tree: Mapping; readonly environment: Environment; readonly files: Files; readonly projectDir: string; readonly composeFiles: readonly string[] }

/** undefined = findings say what is missing or wrong. */
export function loadProject(input: ComposeInput, findings: Findings): Loaded | undefined {
  const loading: Loading = { findings, files: new Files(input, findings), characters: newBudget(), entries: newMergeBudget(), opened: 0 };
  const shell = new Environment(input.variables, findings);
  const projectDir = input.composeFiles[0] === undefined ? "." : folderOf(input.composeFiles[0]);
  const dotenv = loading.files.open(join(projectDir, ".env"));
  const values = dotenv.state === "there" ? readDotenvs([{ path: join(projectDir, ".env"), text: dotenv.text }], (name) => shell.lookup(name), findings) : new Map<string, string>();
  const environment = shell.with(values);
  const chosen = chooseFiles(input, loading, environment);
  if (chosen === undefined) return undefined;
  const dir = folderOf(chosen[0] ?? "");
  const tree = loadModel(chosen, dir, environment, [], loading);
  return tree === undefined ? undefined : { tree, environment, files: loading.files, projectDir: dir, composeFiles: chosen };
}

function chooseFiles(input: ComposeInput, loading: Loading, environment: Environment): string[] | undefined {
  if (input.composeFiles.length > 0) return input.composeFiles.map((path) => (outside(path) === undefined ? join(".", path) : path));
  const named = environment.lookup("COMPOSE_FILE");
  if (named !== undefined && named !== "") return named.split(environment.lookup("COMPOSE_PATH_SEPARATOR") || ":").filter((path) => path !== "").map((path) => (outside(path) === undefined ? join(".", path) : path));
  const base = composeNames.filter((name) => loading.files.open(name).state === "there");
  const overrides = overrideNames.filter((name) => loading.files.open(name).state === "there");
  if (base[0] !== undefined) return overrides[0] === undefined ? [base[0]] : [base[0], overrides[0]];
  loading.findings.invalid({ ...nowhere, file: composeNames[0] }, { key: "", reason: "there is no Compose file here", hint: `Write a ${composeNames[0]}, or name one with --file.` });
  return undefined;
}

/** Files that belong together (the first and its overrides), merged; relative paths are meant from `dir`. */
export function loadModel(paths: readonly string[], dir: string, environment: Environment, chain: readonly string[], loading: Loading): Mapping | undefined {
  let merged = mapping([], { ...nowhere, file: paths[0] ?? "" });
  let complete = true;
  for (const path of paths) {
    const documents = openDocuments(path, { ...nowhere, file: path }, environment, dir, loading);
    if (documents === undefined) complete = false;
    for (const document of documents ?? []) {
      const included = applyIncludes(document, environment, [...chain, path], loading);
      const extended = applyExtends(included, path, environment, loading);
      merged = mergeMappings(merged, extended, [], { findings: loading.findings, budget: loading.entries, keepTags: false });
    }
  }
  const result = withoutTags(merged);
  return complete && result.type === "mapping" ? result : undefined;
}

/** The documents of one file, interpolated and with paths from the project's folder. `from` is where the file is named. */
export function openDocuments(path: string, from: Position, environment: Environment, dir: string, loading: Loading): Mapping[] | undefined {
  const { findings } = loading;
  const leaves = outside(path);
  if (leaves !== undefined) {
    findings.refused(from, { key: path, reason: leaves, hint: "Copy the file into the project." });
    return undefined;
  }
  const file = loading.files.open(path);
  if (file.state === "asked") return undefined;
  if (file.state === "absent") {
    findings.invalid(from, { key: path, reason: `there is no file ${path}`, hint: "Check the name; it is meant from the project's folder." });
    return undefined;
  }
  loading.opened += 1;
  if (loading.opened > mostFiles) {
    findings.invalid(from, { key: path, reason: `more than ${mostFiles} files are included or extended`, hint: "" });
    return undefined;
  }
  const documents = parseYaml(path, file.text, findings);
  return documents?.map((document) => rebase(limited(interpolateDocument(document, environment, loading), findings), dir));
}

function limited(document: Mapping, findings: Findings): Mapping {
  const services = get(document, "services");
  if (services?.type !== "mapping" || services.entries.size <= mostServices) return document;
  findings.invalid(services.at, { key: "services", reason: `there are more than ${mostServices} services`, hint: "Split them into several stacks." });
  return { ...document, entries: new Map([...document.entries].filter(([key]) => key !== "services")) };
}

function interpolateDocument(document: Mapping, environment: Environment, loading: Loading): Mapping {
  const nameScalar = get(document, "name");
  const projectName = nameScalar?.type === "scalar" && !nameScalar.text.includes("$") ? nameScalar.text : undefined;
  const change = (scalar: Scalar): Scalar => {
    if (typeof scalar.value !== "string" || !scalar.value.includes("$")) return scalar;
    let uncertain = false;
    const result = interpolate(scalar.value, (name, bare) => {
      const value = environment.lookup(name) ?? (name === "COMPOSE_PROJECT_NAME" ? projectName : undefined);
      if (!environment.knows(name)) uncertain = true;
      else if (value === undefined && bare === true) loading.findings.note("compose_variable_unset", scalar.at, "", { variable: name });
      return value;
    }, loading.characters);
    if (result.ok) return { ...scalar, value: result.text, text: result.text, uncertain };
    if (!uncertain) loading.findings.invalid(scalar.at, { key: "", reason: result.reason, hint: result.hint });
    return { ...scalar, uncertain };
  };
  const changed = mapScalars(document, change);
  return changed.type === "mapping" ? changed : document;
}
