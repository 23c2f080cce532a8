// The real import graph of TypeScript files: who imports whom, and what else a rule has to know about a file. Parses, never guesses by pattern.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { parseSync } from "rolldown/utils";

export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** Path of the imported file relative to the root; undefined for packages and `node:` modules. */
  readonly target?: string;
  /** Only types: nothing is loaded at run time. */
  readonly typeOnly: boolean;
  /** What is taken from it, `*` for all of it. */
  readonly names: readonly string[];
  readonly line: number;
}

export interface SourceFile {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly imports: readonly Import[];
  /** Lines on which process.env is read. */
  readonly envReads: readonly number[];
  /** Lines on which the clock, a timer or chance is read. */
  readonly clockReads: readonly number[];
  /** `export ... from` and nothing else: a barrel. */
  readonly onlyReexports: boolean;
}

/** Node of the parser's ESTree, as far as this file looks into it. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly [key: string]: unknown;
}

/** Reads every `.ts` file below the folders (relative to root); fixtures are left out. */
export function readSources(root: string, folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) => walk(join(root, folder))).map((file) => readSource(root, file));
}

function walk(folder: string): string[] {
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return entry.name === "node_modules" || entry.name === "dist" || entry.name.endsWith("fixtures") ? [] : walk(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

function readSource(root: string, file: string): SourceFile {
  const text = readFileSync(file, "utf8");
  const path = relative(root, file).replaceAll("\\", "/");
  return parseSource(path, text);
}

/** `path` is relative to the root. Throws when the text is not TypeScript. */
export function parseSource(path: string, text: string): SourceFile {
  const parsed = parseSync(path, text);
  if (parsed.errors.length > 0) throw new Error(`${path}: ${parsed.errors[0]?.message ?? "cannot be parsed"}`);
  const lineAt = lines(text);
  const imports: Import[] = [];
  const envReads: number[] = [];
  const clockReads: number[] = [];
  const add = (source: unknown, start: number, typeOnly: boolean, names: readonly string[] = ["*"]): void => {
    const specifier = literal(source);
    if (specifier === undefined) return;
    const target = resolve(path, specifier);
    imports.push({ specifier, ...(target === undefined ? {} : { target }), typeOnly, names, line: lineAt(start) });
  };
  const program = parsed.program as unknown as Node;
  visit(program, (node) => {
    switch (node.type) {
      case "ImportDeclaration":
        add(node["source"], node.start, node["importKind"] === "type" || allTypes(node["specifiers"]), importedNames(node["specifiers"]));
        break;
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
        add(node["source"], node.start, node["exportKind"] === "type");
        break;
      case "ImportExpression":
        add(node["source"], node.start, false);
        break;
      case "TSImportType":
        add(node["source"] ?? node["argument"], node.start, true);
        break;
      case "MemberExpression":
        if (isMember(node, "process", "env")) envReads.push(lineAt(node.start));
        if (isMember(node, "Date", "now") || isMember(node, "Math", "random") || isMember(node, "performance", "now"))
          clockReads.push(lineAt(node.start));
        break;
      case "NewExpression":
        if (name(node["callee"]) === "Date" && Array.isArray(node["arguments"]) && node["arguments"].length === 0)
          clockReads.push(lineAt(node.start));
        break;
      case "CallExpression":
        if (["setTimeout", "setInterval", "setImmediate", "fetch"].includes(name(node["callee"]) ?? ""))
          clockReads.push(lineAt(node.start));
        break;
    }
  });
  const body = Array.isArray(program["body"]) ? (program["body"] as Node[]) : [];
  const onlyReexports =
    body.length > 0 &&
    body.every((node) => node.type === "ExportAllDeclaration" || (node.type === "ExportNamedDeclaration" && node["source"] != null));
  return { path, imports, envReads, clockReads, onlyReexports };
}

/** A relative specifier, or one of a workspace package by its folder; anything else is no file of ours. */
function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return posix.normalize(posix.join(dirname(from), specifier));
  const own = /^@berth\/([a-z]+)\/(.+)$/.exec(specifier);
  return own === null ? undefined : `packages/${own[1]}/src/${own[2]}`;
}

function visit(node: Node, enter: (node: Node) => void): void {
  enter(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) if (isNode(child)) visit(child, enter);
  }
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
const name = (value: unknown): string | undefined =>
  isNode(value) && value.type === "Identifier" && typeof value["name"] === "string" ? value["name"] : undefined;

const specifiersOf = (value: unknown): Node[] => (Array.isArray(value) ? (value as unknown[]).filter(isNode) : []);

/** `import { type A, type B } from` loads nothing either. */
function allTypes(value: unknown): boolean {
  const specifiers = specifiersOf(value);
  return specifiers.length > 0 && specifiers.every((specifier) => specifier["importKind"] === "type");
}

function importedNames(value: unknown): string[] {
  return specifiersOf(value).map((specifier) => (specifier.type === "ImportSpecifier" ? (name(specifier["imported"]) ?? "*") : "*"));
}

function literal(value: unknown): string | undefined {
  if (!isNode(value)) return undefined;
  if (value.type === "TSLiteralType") return literal(value["literal"]);
  return typeof value["value"] === "string" ? value["value"] : undefined;
}

function isMember(node: Node, object: string, property: string): boolean {
  return name(node["object"]) === object && name(node["property"]) === property;
}

function lines(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => starts.findLastIndex((start) => start <= offset) + 1;
}
