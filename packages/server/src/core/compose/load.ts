// From the caller's files to one merged tree: finds the Compose files, interpolates, includes, extends and merges them. Asks for what is missing.
import { composeNames, filesNamed, overrideNames } from "@berth/contract/compose.ts";
import { Findings } from "./findings.ts";
import { applyExtends } from "./extends.ts";
import { openDocuments, type Loading } from "./documents.ts";
import { applyIncludes } from "./include.ts";
import { Environment, Files, readDotenvs, type ComposeInput } from "./input.ts";
import { newBudget } from "./interpolate.ts";
import { mergeMappings, newMergeBudget, withoutTags } from "./merge.ts";
import { folderOf, join, outside } from "./paths.ts";
import { mapping, nowhere, type Mapping } from "./tree.ts";

export interface Loaded {
  readonly tree: Mapping;
  readonly environment: Environment;
  readonly files: Files;
  readonly projectDir: string;
  readonly composeFiles: readonly string[];
}

export type Found = { readonly status: "found" | "none" } | { readonly status: "needs"; readonly files: string[] };

/**
 * Whether the project has a Compose file at all: one that was named, by `composeFiles` or by COMPOSE_FILE, or one that lies where Compose looks. Asks for
 * the latter only: a caller that sends neither COMPOSE_FILE nor a `.env` has none.
 */
export function lookForCompose(input: ComposeInput): Found {
  const findings = new Findings();
  const absent = input.files[".env"] === undefined ? [...input.absent, ".env"] : input.absent;
  const environment = environmentOf(input, new Files({ ...input, absent }, findings), findings);
  if (input.composeFiles.length > 0 || filesNamed((name) => environment.lookup(name)).length > 0) return { status: "found" };
  const files = new Files(input, new Findings());
  const states = composeNames.map((name) => [name, files.open(name).state] as const);
  if (states.some(([, state]) => state === "there")) return { status: "found" };
  const asked = states.filter(([, state]) => state === "asked").map(([name]) => name);
  return asked.length > 0 ? { status: "needs", files: asked } : { status: "none" };
}

/** undefined = findings say what is missing or wrong. */
export function loadProject(input: ComposeInput, findings: Findings): Loaded | undefined {
  const loading: Loading = {
    findings,
    files: new Files(input, findings),
    characters: newBudget(),
    entries: newMergeBudget(),
    opened: 0,
    read: 0,
  };
  const environment = environmentOf(input, loading.files, findings);
  const chosen = chooseFiles(input, loading.files, environment);
  if (chosen.length === 0) {
    findings.invalid(
      { ...nowhere, file: composeNames[0] },
      { key: "", reason: "there is no Compose file here", hint: `Write a ${composeNames[0]}, or name one with --file.` },
    );
    return undefined;
  }
  const dir = folderOf(chosen[0] ?? "");
  const tree = loadModel(chosen, dir, environment, [], loading);
  return tree === undefined ? undefined : { tree, environment, files: loading.files, projectDir: dir, composeFiles: chosen };
}

/** The caller's shell over the `.env` beside the first file. */
function environmentOf(input: ComposeInput, files: Files, findings: Findings): Environment {
  const shell = new Environment(input.variables, findings);
  const path = join(input.composeFiles[0] === undefined ? "." : folderOf(input.composeFiles[0]), ".env");
  const dotenv = files.open(path);
  return shell.with(
    dotenv.state === "there" ? readDotenvs([{ path, text: dotenv.text }], (name) => shell.lookup(name), findings) : new Map(),
  );
}

/** In override order; none when there is none, or when that is not known yet. */
function chooseFiles(input: ComposeInput, files: Files, environment: Environment): string[] {
  const named = input.composeFiles.length > 0 ? input.composeFiles : filesNamed((name) => environment.lookup(name));
  if (named.length > 0) return named.map((path) => (outside(path) === undefined ? join(".", path) : path));
  const base = composeNames.filter((name) => files.open(name).state === "there");
  const overrides = overrideNames.filter((name) => files.open(name).state === "there");
  return base[0] === undefined ? [] : overrides[0] === undefined ? [base[0]] : [base[0], overrides[0]];
}

/** Files that belong together (the first and its overrides), merged; relative paths are meant from `dir`. */
function loadModel(
  paths: readonly string[],
  dir: string,
  environment: Environment,
  chain: readonly string[],
  loading: Loading,
): Mapping | undefined {
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
