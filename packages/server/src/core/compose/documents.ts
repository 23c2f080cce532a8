// One file of a project as documents: opened, parsed, interpolated, with paths meant from the project's folder.
import type { Findings } from "./findings.ts";
import type { Environment, Files } from "./input.ts";
import { interpolate, type Budget } from "./interpolate.ts";
import type { MergeBudget } from "./merge.ts";
import { mostCharacters, parseYaml } from "./parse.ts";
import { outside, rebase } from "./paths.ts";
import { get, mapScalars, type Mapping, type Position, type Scalar } from "./tree.ts";

const mostServices = 500;
const mostFiles = 100;

/** What all files of one project share while they are read. */
export interface Loading {
  readonly findings: Findings;
  readonly files: Files;
  readonly characters: Budget;
  readonly entries: MergeBudget;
  /** Compose files read so far, so that includes end, and their characters. */
  opened: number;
  read: number;
}

/** The documents of one file, interpolated and with paths from the project's folder. `from` is where the file is named. */
export function openDocuments(
  path: string,
  from: Position,
  environment: Environment,
  dir: string,
  loading: Loading,
): Mapping[] | undefined {
  const { findings } = loading;
  const leaves = outside(path);
  if (leaves !== undefined) {
    findings.refused(from, { key: path, reason: leaves, hint: "Copy the file into the project." });
    return undefined;
  }
  const file = loading.files.open(path);
  if (file.state === "asked") return undefined;
  if (file.state === "absent") {
    findings.invalid(from, {
      key: path,
      reason: `there is no file ${path}`,
      hint: "Check the name; it is meant from the project's folder.",
    });
    return undefined;
  }
  loading.opened += 1;
  if (loading.opened > mostFiles) {
    findings.invalid(from, { key: path, reason: `more than ${mostFiles} files are included or extended`, hint: "" });
    return undefined;
  }
  loading.read += file.text.length;
  if (loading.read > mostCharacters) {
    const what = loading.opened === 1 ? "it has" : "with the files read before it, it has";
    findings.invalid(
      { file: path, line: 1, column: 1 },
      { key: "", reason: `${what} more than ${mostCharacters} characters`, hint: "Split it into several stacks." },
    );
    return undefined;
  }
  const documents = parseYaml(path, file.text, findings);
  return documents?.map((document) => rebase(limited(interpolateDocument(document, environment, loading), findings), dir));
}

function limited(document: Mapping, findings: Findings): Mapping {
  const services = get(document, "services");
  if (services?.type !== "mapping" || services.entries.size <= mostServices) return document;
  findings.invalid(services.at, {
    key: "services",
    reason: `there are more than ${mostServices} services`,
    hint: "Split them into several stacks.",
  });
  return { ...document, entries: new Map([...document.entries].filter(([key]) => key !== "services")) };
}

function interpolateDocument(document: Mapping, environment: Environment, loading: Loading): Mapping {
  const nameScalar = get(document, "name");
  const projectName = nameScalar?.type === "scalar" && !nameScalar.text.includes("$") ? nameScalar.text : undefined;
  const change = (scalar: Scalar): Scalar => {
    if (typeof scalar.value !== "string" || !scalar.value.includes("$")) return scalar;
    let uncertain = false;
    const result = interpolate(
      scalar.value,
      (name, bare) => {
        const value = environment.lookup(name) ?? (name === "COMPOSE_PROJECT_NAME" ? projectName : undefined);
        if (!environment.knows(name)) uncertain = true;
        else if (value === undefined && bare === true) loading.findings.note("compose_variable_unset", scalar.at, "", { variable: name });
        return value;
      },
      loading.characters,
    );
    if (result.ok) return { ...scalar, value: result.text, text: result.text, uncertain };
    if (!uncertain) loading.findings.invalid(scalar.at, { key: "", reason: result.reason, hint: result.hint });
    return { ...scalar, uncertain };
  };
  const changed = mapScalars(document, change);
  return changed.type === "mapping" ? changed : document;
}
