// For tests: a project as a caller has it, that answers what reading asks for as the CLI does.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { ComposeProblem } from "./findings.ts";
import type { ComposeInput } from "./input.ts";
import { readCompose, type ComposeResult, type StackDefinition } from "./read.ts";

export interface Project {
  readonly files: Readonly<Record<string, string>>;
  readonly shell?: Readonly<Record<string, string>>;
  readonly profiles?: readonly string[];
  readonly composeFiles?: readonly string[];
  readonly engine?: ComposeInput["engine"]["kind"];
}

export const yaml = (text: string): Project => ({ files: { "compose.yaml": text } });
/** One service `a` that is built, with these lines below it. */
export const service = (lines: string): Project =>
  yaml(
    `services:\n  a:\n    build: .\n${lines
      .split("\n")
      .map((line) => `    ${line}`)
      .join("\n")}\n`,
  );

/** Asks and answers until there is a result; fails when something is asked for twice. */
export function readProject(project: Project): Exclude<ComposeResult, { kind: "needs" }> & { rounds: number } {
  const files: Record<string, string> = {};
  const absent: string[] = [];
  const variables: Record<string, string | null> = {};
  for (let rounds = 1; rounds <= 12; rounds += 1) {
    const result = readCompose({
      files,
      absent,
      variables,
      composeFiles: project.composeFiles ?? [],
      profiles: project.profiles ?? [],
      engine: { kind: project.engine ?? "docker" },
    });
    if (result.ok || result.kind === "problems") return { ...result, rounds };
    const again = [
      ...result.files.filter((path) => Object.hasOwn(files, path) || absent.includes(path)),
      ...result.variables.filter((name) => Object.hasOwn(variables, name)),
    ];
    if (again.length > 0 || result.files.length + result.variables.length === 0) throw new Error(`asked in vain: ${again.join(", ")}`);
    for (const path of result.files) {
      const text = Object.hasOwn(project.files, path) ? project.files[path] : undefined;
      if (text === undefined) absent.push(path);
      else files[path] = text;
    }
    for (const name of result.variables)
      variables[name] = (project.shell !== undefined && Object.hasOwn(project.shell, name) ? project.shell[name] : undefined) ?? null;
  }
  throw new Error("asked more than twelve times");
}

export function definitionOf(project: Project): StackDefinition {
  const result = readProject(project);
  if (!result.ok) throw new Error(result.problems.map(line).join("\n"));
  return result.definition;
}

export function specOf(project: Project, name = "a"): ComponentSpec {
  const spec = definitionOf(project).components[name];
  if (spec === undefined) throw new Error(`there is no component ${name}`);
  return spec;
}

export function problemsOf(project: Project): ComposeProblem[] {
  const result = readProject(project);
  return result.ok ? [] : result.problems;
}

/** `compose.yaml:3:5 compose_refused a pid: reason (hint)` */
export function line({ code, params }: ComposeProblem): string {
  return `${params.file}${params.at} ${code} ${params.component} ${params.key}: ${params.reason} (${params.hint})`;
}

export const notesOf = (project: Project) => definitionOf(project).notes;
export const noteCodes = (project: Project) => notesOf(project).map((note) => note.code);
