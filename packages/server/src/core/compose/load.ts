// From the caller's files to one merged tree: finds the Compose files, interpolates, includes, extends and merges them. Asks for what is missing.
import type { Findings } from "./findings.ts";
import { applyExtends } from "./extends.ts";
import { openDocuments, type Loading } from "./documents.ts";
import { applyIncludes } from "./include.ts";
import { Environment, Files, readDotenvs, type ComposeInput } from "./input.ts";
import { newBudget } from "./interpolate.ts";
import { mergeMappings, newMergeBudget, withoutTags } from "./merge.ts";
import { folderOf, join, outside } from "./paths.ts";
import { mapping, nowhere, type Mapping } from "./tree.ts";

/** In the order in which Compose prefers them. */
export const composeNames = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"] as const;
export const overrideNames = ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"] as const;

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
function loadModel(paths: readonly string[], dir: string, environment: Environment, chain: readonly string[], loading: Loading): Mapping | undefined {
  let merged = mapping([], { ...nowhere, file: paths[0] ?? "" });
  let complete = true;
  for (const path of paths) {
    const documents = openDocuments(path, { ...nowhere, file: path }, environment, dir, loading);
    if (documents === undefined) complete = false;
    for (const document of documents ?? []) {
      const included = applyIncludes(document, environment, [...chain, path], loading, loadModel);
      const extended = applyExtends(included, path, environment, loading);
      merged = mergeMappings(merged, extended, [], { findings: loading.findings, budget: loading.entries, keepTags: false });
    }
  }
  const result = withoutTags(merged);
  return complete && result.type === "mapping" ? result : undefined;
}
