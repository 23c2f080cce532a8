// `include:`: other Compose files, read with their own folder and `.env`, whose parts come in below those of the file that includes them.
import { get, mapping, type Mapping, type Scalar, type Tree } from "./tree.ts";
import { readDotenvs, type Environment } from "./input.ts";
import type { Loading } from "./documents.ts";
import { mergeMappings } from "./merge.ts";
import { folderOf, outside } from "./paths.ts";

const imported = ["services", "volumes", "networks", "secrets", "configs", "models"] as const;

/** Reads files that belong together into one tree; an include is read as a project is. */
export type LoadModel = (
  paths: readonly string[],
  dir: string,
  environment: Environment,
  chain: readonly string[],
  loading: Loading,
) => Mapping | undefined;

/** The file with everything that it includes; `chain` holds the files that are being read, to find circles. */
export function applyIncludes(
  file: Mapping,
  environment: Environment,
  chain: readonly string[],
  loading: Loading,
  loadModel: LoadModel,
): Mapping {
  const include = get(file, "include");
  if (include === undefined) return file;
  if (include.type !== "sequence") {
    loading.findings.invalid(include.at, { key: "include", reason: "`include` is a list", hint: "Write `include: [other.yaml]`." });
    return file;
  }
  const rest: Mapping = { ...file, entries: new Map([...file.entries].filter(([key]) => key !== "include")) };
  let base = mapping([], file.at);
  for (const item of include.items) {
    const model = includeOne(item, environment, chain, loading, loadModel);
    if (model === undefined) continue;
    const parts: Mapping = { ...model, entries: new Map([...model.entries].filter(([key]) => imported.some((name) => name === key))) };
    base = mergeMappings(base, parts, [], { findings: loading.findings, budget: loading.entries, keepTags: false });
  }
  return mergeMappings(base, rest, [], { findings: loading.findings, budget: loading.entries, keepTags: true });
}

function includeOne(
  item: Tree,
  environment: Environment,
  chain: readonly string[],
  loading: Loading,
  loadModel: LoadModel,
): Mapping | undefined {
  const { findings } = loading;
  if (item.type === "mapping") {
    for (const entry of item.entries.values()) {
      if (!["path", "env_file", "project_directory"].includes(entry.key))
        findings.invalid(entry.keyAt, {
          key: entry.key,
          reason: `\`${entry.key}\` is not known in \`include\``,
          hint: "An include has path, env_file and project_directory.",
        });
    }
  }
  const paths = item.type === "mapping" ? scalars(get(item, "path")) : scalars(item);
  const [main] = paths;
  if (main === undefined) {
    findings.invalid(item.at, { key: "include", reason: "this include names no file", hint: "Write `- path: other.yaml`." });
    return undefined;
  }
  if (paths.some((path) => path.uncertain === true)) return undefined;
  const refusal = paths.find((path) => outside(path.text) !== undefined);
  if (refusal !== undefined) {
    findings.refused(refusal.at, { key: "include", reason: outside(refusal.text) ?? "", hint: "Copy the file into the project." });
    return undefined;
  }
  if (chain.includes(main.text)) {
    findings.invalid(main.at, {
      key: "include",
      reason: `the files include each other in a circle: ${[...chain, main.text].join(" -> ")}`,
      hint: "Take one of these includes out.",
    });
    return undefined;
  }
  const missing = paths.find((path) => loading.files.open(path.text).state === "absent");
  if (missing !== undefined) {
    findings.invalid(missing.at, {
      key: "include",
      reason: `there is no file ${missing.text}`,
      hint: "Check the name; it is meant from this file's folder.",
    });
    return undefined;
  }
  const directory = get(item, "project_directory");
  const dir = directory?.type === "scalar" ? directory.text : folderOf(main.text);
  const below = includeEnvironment(item, dir, environment, loading);
  return loadModel(
    paths.map((path) => path.text),
    dir,
    below,
    chain,
    loading,
  );
}

function includeEnvironment(item: Tree, dir: string, environment: Environment, loading: Loading): Environment {
  const named = scalars(get(item, "env_file")).filter((path) => path.text !== "/dev/null" && path.uncertain !== true);
  const standard = dir === "." ? ".env" : `${dir}/.env`;
  const wanted =
    get(item, "env_file") === undefined ? [{ path: standard, at: undefined }] : named.map((path) => ({ path: path.text, at: path.at }));
  const texts: { path: string; text: string }[] = [];
  for (const { path, at } of wanted) {
    const leaves = outside(path);
    const file = leaves === undefined ? loading.files.open(path) : undefined;
    if (file?.state === "there") texts.push({ path, text: file.text });
    else if (leaves !== undefined && at !== undefined)
      loading.findings.refused(at, { key: "env_file", reason: leaves, hint: "Copy the file into the project." });
    else if (file?.state === "absent" && at !== undefined)
      loading.findings.invalid(at, { key: "env_file", reason: `there is no file ${path}`, hint: "Check the name." });
  }
  return environment.with(readDotenvs(texts, (name) => environment.lookup(name), loading.findings));
}

function scalars(tree: Tree | undefined): Scalar[] {
  if (tree === undefined) return [];
  if (tree.type === "scalar") return [tree];
  return tree.type === "sequence" ? tree.items.filter((item) => item.type === "scalar") : [];
}
